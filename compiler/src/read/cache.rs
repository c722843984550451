//! Trees by what they were parsed from, so that a file that did not change is not parsed again.

use super::tree::{self, Tree};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Trees that may be needed again, by their whole text: two texts are never taken for one another. For what reads a
/// spec again and again, a language server or a watch; it holds what the last reading needed, and no more.
#[derive(Debug, Default)]
pub struct Cache {
    trees: Mutex<HashMap<Arc<str>, Held>>,
}

#[derive(Debug)]
struct Held {
    tree: Arc<Tree>,
    /// The last reading has asked for it.
    asked: bool,
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Cache {
        Cache::default()
    }

    /// The tree of a KDL text.
    pub fn tree(&self, text: Arc<str>) -> Arc<Tree> {
        if let Some(held) = self.held().get_mut(&text) {
            held.asked = true;
            return Arc::clone(&held.tree);
        }
        let tree = Arc::new(tree::parse(Arc::clone(&text)));
        self.held().insert(text, Held { tree: Arc::clone(&tree), asked: true });
        tree
    }

    /// How many trees there are.
    pub fn len(&self) -> usize {
        self.held().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what nobody has asked for since this was called last.
    pub(super) fn tidy(&self) {
        self.held().retain(|_, held| std::mem::take(&mut held.asked));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays() {
        let cache = Cache::new();
        let first = cache.tree("a".into());
        cache.tree("b".into());
        cache.tidy();
        assert!(Arc::ptr_eq(&first, &cache.tree("a".into())));
        cache.tidy();
        assert_eq!(cache.len(), 1);
    }
}
