//! The selected mailbox as the client numbers it (RFC 3501 §2.3.1.2).

use super::ask::FlagRow;
use super::facts::{MailboxId, Selected};
use super::types::{Flag, Messages, SequenceSet, UidSet};
use std::collections::HashMap;

/// What the client has been told of its mailbox.
pub struct View {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its name.
    pub name: String,
    /// EXAMINE, or a mailbox that cannot be changed.
    pub read_only: bool,
    /// The state that the client knows.
    pub modseq: u64,
    /// Whether something may have happened since.
    pub dirty: bool,
    keywords: Vec<String>,
    uids: Vec<u32>,
    /// Flags that the client was told of at this modseq since the last look, or asked not to hear of.
    told: HashMap<u32, u64>,
}

impl View {
    /// The mailbox just opened.
    pub fn new(name: String, selected: Selected, read_only: bool) -> View {
        View {
            mailbox: selected.mailbox,
            name,
            read_only: read_only || selected.read_only,
            modseq: selected.highest_modseq,
            dirty: false,
            keywords: selected.keywords,
            uids: selected.uids,
            told: HashMap::new(),
        }
    }

    /// Messages in it.
    pub fn len(&self) -> u32 {
        u32::try_from(self.uids.len()).unwrap_or(u32::MAX)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// The keywords told of.
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }

    /// A message's number.
    pub fn number(&self, uid: u32) -> Option<u32> {
        self.uids.binary_search(&uid).ok().and_then(|at| u32::try_from(at + 1).ok())
    }

    /// The UIDs of those messages that are there, ascending. `None`: numbers that name none.
    pub fn uids(&self, messages: &Messages) -> Option<Vec<u32>> {
        let set = if messages.uid { self.resolve(&messages.set) } else { self.resolve_numbers(&messages.set)? };
        let mut found = Vec::new();
        for (low, high) in set.ranges() {
            let from = self.uids.partition_point(|uid| uid < low);
            found.extend(self.uids[from..].iter().take_while(|uid| *uid <= high));
        }
        Some(found)
    }

    /// The same as ranges of UIDs; numbers past the last message name none.
    pub fn set(&self, messages: &Messages) -> UidSet {
        if messages.uid {
            return self.resolve(&messages.set);
        }
        let last = self.len();
        let inside = |pair: &&(Option<u32>, Option<u32>)| ordered(**pair, last).0 <= last;
        let clip = |number: Option<u32>| number.map(|number| number.min(last));
        let set = messages.set.0.iter().filter(inside).map(|(from, to)| (clip(*from), clip(*to))).collect();
        self.resolve_numbers(&SequenceSet(set)).unwrap_or_default()
    }

    fn resolve(&self, set: &SequenceSet) -> UidSet {
        let last = self.uids.last().copied().unwrap_or(0);
        UidSet::new(set.0.iter().map(|pair| ordered(*pair, last)).collect())
    }

    fn resolve_numbers(&self, set: &SequenceSet) -> Option<UidSet> {
        let last = self.len();
        let mut ranges = Vec::with_capacity(set.0.len());
        for pair in &set.0 {
            let (low, high) = ordered(*pair, last);
            // RFC 3501 §9: a number larger than the mailbox is an error; `*` in an empty one names nothing.
            let has_star = pair.0.is_none() || pair.1.is_none();
            if high > last && !has_star {
                return None;
            }
            let uid = |number: u32| self.uids.get(number.wrapping_sub(1) as usize).copied();
            if let (Some(low), Some(high)) = (uid(low), uid(high.min(last))) {
                ranges.push((low, high));
            }
        }
        Some(UidSet::new(ranges))
    }

    /// The client hears of these flags in this answer, or does not want to.
    pub fn tell(&mut self, uid: u32, modseq: u64) {
        self.told.insert(uid, modseq);
    }

    /// Whether a message changed, at this modseq, in a way that the client has not heard of.
    pub fn is_news(&self, uid: u32, modseq: u64) -> bool {
        modseq > self.modseq && self.told.get(&uid) != Some(&modseq)
    }

    /// A mailbox has another name now.
    pub fn renamed(&mut self, from: &str, to: &str) {
        let below = self.name.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(rest) = below.filter(|_| from != "INBOX") {
            self.name = format!("{to}{rest}");
        }
    }

    /// Takes in what has changed: rows to tell of messages known before, and whether new ones came.
    pub fn take(&mut self, rows: Vec<FlagRow>, modseq: u64) -> (Vec<FlagRow>, bool) {
        let before = self.uids.len();
        let last = self.uids.last().copied().unwrap_or(0);
        let mut changed = Vec::new();
        for row in rows {
            if row.uid > last {
                self.uids.push(row.uid);
            } else if self.told.get(&row.uid) != Some(&row.modseq) && self.number(row.uid).is_some() {
                changed.push(row);
            }
        }
        self.told.clear();
        self.modseq = self.modseq.max(modseq);
        self.dirty = false;
        (changed, self.uids.len() > before)
    }

    /// Removes messages: the numbers to tell, the highest first, so that none changes another.
    pub fn remove(&mut self, uids: &[u32]) -> Vec<u32> {
        let mut numbers: Vec<u32> = uids.iter().filter_map(|uid| self.number(*uid)).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.dedup();
        let gone: std::collections::HashSet<u32> = uids.iter().copied().collect();
        self.uids.retain(|uid| !gone.contains(uid));
        numbers
    }

    /// Whether these flags bring keywords that the client has not heard of.
    pub fn learn(&mut self, flags: &[Flag]) -> bool {
        let before = self.keywords.len();
        for flag in flags {
            if let Flag::Keyword(keyword) = flag
                && self.keywords.len() < super::MAX_KEYWORDS
                && !self.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword))
            {
                self.keywords.push(keyword.clone());
            }
        }
        self.keywords.len() > before
    }
}

fn ordered((from, to): (Option<u32>, Option<u32>), last: u32) -> (u32, u32) {
    let (from, to) = (from.unwrap_or(last), to.unwrap_or(last));
    (from.min(to), from.max(to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn view(uids: &[u32]) -> View {
        let selected = Selected {
            mailbox: MailboxId(1),
            uid_validity: 1,
            uid_next: 100,
            highest_modseq: 1,
            uids: uids.to_vec(),
            first_unseen: None,
            keywords: Vec::new(),
            read_only: false,
        };
        View::new("INBOX".to_owned(), selected, false)
    }

    fn set(uid: bool, pairs: &[(u32, u32)]) -> Messages {
        let star = |number: u32| (number > 0).then_some(number);
        Messages { uid, set: SequenceSet(pairs.iter().map(|(a, b)| (star(*a), star(*b))).collect()) }
    }

    #[test]
    fn sets_name_messages() {
        let view = view(&[3, 5, 9, 12]);
        assert_eq!(view.uids(&set(false, &[(2, 3)])).unwrap(), [5, 9]);
        assert_eq!(view.uids(&set(false, &[(0, 0)])).unwrap(), [12]);
        assert_eq!(view.uids(&set(false, &[(9, 0)])).unwrap(), [12]);
        assert_eq!(view.uids(&set(false, &[(5, 5)])), None);
        assert_eq!(view.uids(&set(true, &[(4, 10), (9, 9)])).unwrap(), [5, 9]);
        assert_eq!(view.uids(&set(true, &[(50, 0)])).unwrap(), [12]);
        assert!(super::tests::view(&[]).uids(&set(false, &[(1, 0)])).unwrap().is_empty());
    }

    #[test]
    fn a_search_is_of_what_is_there() {
        let view = view(&[3, 5, 9]);
        for (pairs, want) in
            [(&[(1, 1), (9, 9)][..], &[3][..]), (&[(2, 9)], &[5, 9]), (&[(9, 0)], &[9]), (&[(7, 8)], &[])]
        {
            let found = view.set(&set(false, pairs));
            let inside: Vec<u32> = [3, 5, 9].into_iter().filter(|uid| found.contains(*uid)).collect();
            assert_eq!(inside, want, "{pairs:?}");
        }
    }

    #[test]
    fn removal_tells_the_highest_number_first() {
        let mut view = view(&[3, 5, 9, 12]);
        assert_eq!(view.remove(&[3, 9, 77]), [3, 1]);
        assert_eq!(view.number(12), Some(2));
    }

    #[test]
    fn own_changes_are_not_told_twice() {
        let mut view = view(&[3, 5]);
        view.tell(3, 7);
        let row = |uid, modseq| FlagRow { uid, flags: Vec::new(), modseq };
        let (changed, more) = view.take(vec![row(3, 7), row(5, 8), row(6, 9)], 9);
        assert_eq!((changed.len(), changed[0].uid, more, view.len()), (1, 5, true, 3));
    }
}
