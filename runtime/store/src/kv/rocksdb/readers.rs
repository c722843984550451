//! The threads on which reads may wait for the disk.

use super::shared::Shared;
use crate::error::{Cause, StoreError};
use ::rocksdb::DB;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use tokio::sync::{Semaphore, oneshot};

/// Reads that wait for the disk at once.
const THREADS: usize = 8;
/// The most reads that run or wait for a thread; more wait to be let in.
const READS_MOST: usize = 256;

type Job = Box<dyn FnOnce(Result<&DB, StoreError>) + Send>;

/// A bounded pool of reading threads.
pub(super) struct Readers {
    jobs: Option<mpsc::Sender<Job>>,
    room: Semaphore,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(db: &Arc<Shared>) -> io::Result<Readers> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let start = |_| {
            let (db, jobs) = (db.clone(), jobs.clone());
            thread::Builder::new().name("store-read".to_owned()).spawn(move || {
                // The lock is held while waiting, and released before the job runs.
                while let Ok(job) = { jobs.lock().unwrap_or_else(PoisonError::into_inner).recv() } {
                    job(db.lend().db());
                }
            })
        };
        let threads = (0..THREADS).map(start).collect::<io::Result<_>>()?;
        Ok(Readers { jobs: Some(sender), room: Semaphore::new(READS_MOST), threads })
    }

    /// Runs `read` on one of the threads.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(Result<&DB, StoreError>) -> T + Send + 'static,
    {
        let gone = || StoreError::Unavailable(Cause::new("the store's readers are gone"));
        let _room = self.room.acquire().await.map_err(|_| gone())?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |db| drop(answer.send(read(db))));
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}
