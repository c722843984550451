//! Work on many things at once, with the results in the order of the things, whatever the number of processors.

use std::cmp::Ordering;
use std::sync::Mutex;
use std::sync::atomic::{self, AtomicUsize};
use std::thread;

/// Fewer things than this are not worth a thread.
const FEWEST: usize = 8;
/// Fewer things than this for each thread are sorted by one.
const FEWEST_SORTED: usize = 1024;

/// What `work` makes of each thing, in their order.
pub fn map<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(things.len().div_ceil(FEWEST));
    if threads < 2 {
        return things.iter().map(work).collect();
    }
    each(things, threads, work)
}

/// The same for things that are each worth a thread.
pub fn heavy<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(things.len());
    if threads < 2 {
        return things.iter().map(work).collect();
    }
    each(things, threads, work)
}

/// Sorts, equal things in their order.
pub fn sort<T: Send>(things: &mut [T], order: impl Fn(&T, &T) -> Ordering + Copy + Send) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let each = things.len().div_ceil(threads);
    if threads > 1 && each >= FEWEST_SORTED {
        thread::scope(|scope| {
            for part in things.chunks_mut(each) {
                scope.spawn(move || part.sort_by(order));
            }
        });
    }
    // Sorted runs are found and merged.
    things.sort_by(order);
}

fn each<T: Sync, R: Send>(things: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(things.len()));
    let run = || {
        let mut own = Vec::new();
        loop {
            let at = next.fetch_add(1, atomic::Ordering::Relaxed);
            let Some(thing) = things.get(at) else { break };
            own.push((at, work(thing)));
        }
        if let Ok(mut done) = done.lock() {
            done.append(&mut own);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_things() {
        let things: Vec<usize> = (0..1000).collect();
        assert_eq!(map(&things, |n| n * 2), things.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(heavy(&[1, 2], |n| n + 1), [2, 3]);
        assert!(map(&[] as &[u8], |n| *n).is_empty());
    }
}
