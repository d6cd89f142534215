//! The disk of a server: a small pool of threads that look up, open and read files and compute their checksums, so
//! that the thread of the engine never waits for a disk.
//!
//! - Each session has a [`Job`]. The queue of the pool runs it one slice at a time, so a large file delays a small one
//!   by one slice only.
//! - A worker reads the window that the engine will send next, so `sendfile` finds it in the page cache. If the system
//!   has evicted it, which only Linux can report, the worker reads it again. The windows of all sessions together are
//!   limited, so that many slow clients do not evict each other's.
//! - A resumed transfer also needs the checksum of the bytes before its offset. Both parts have their own checksum, and
//!   the two are combined at the end. So the body does not wait for the first part, and nothing is read twice. All jobs of
//!   the same file share one [`Prefix`], so many clients that resume it at once cost one read.

mod checksums;
mod job;
mod open;
mod prefix;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::{io, thread};

use cap_std::fs::Dir;

use self::checksums::Checksums;
pub(super) use self::job::{Job, JobProgress};
pub(super) use self::open::{Opened, is_cached, read_failure};
use self::prefix::Prefix;
use crate::net;
use crate::sys::file::Version;

/// Largest number of threads: enough that a few slow files do not block the others.
const THREADS: usize = 8;

/// Number of bytes that a worker reads before it takes the next job.
const SLICE: u64 = 512 << 10;

/// Number of bytes that are read at a time for a checksum. They fit into the cache of a processor core.
const CHUNK: usize = 128 << 10;

/// Largest number of jobs that wait for a thread. A session has at most one, and removes it when it ends. So only a
/// server that allows more clients than the default can reach the limit.
const QUEUE: usize = net::DEFAULT_CLIENTS;

/// One access of a worker to the disk.
// Hidden: only tests use it, to simulate a disk that is slow or hangs, and they are in another crate.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access<'a> {
    /// Looks a name up and opens the file.
    Open(&'a [u8]),
    /// Reads bytes.
    Read {
        /// Offset of the first byte.
        at: u64,
        /// Number of bytes.
        bytes: usize,
    },
}

pub(super) type Hook = Arc<dyn Fn(Access<'_>) + Send + Sync>;

/// The thread pool. Dropping it stops the threads.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    root: Dir,
    queue: Mutex<Queue>,
    changed: Condvar,
    checksums: Mutex<Checksums>,
    prefixes: Mutex<HashMap<Version, Weak<Mutex<Prefix>>>>,
    /// Each job holds a clone, so the reference count gives the number of jobs.
    job_counter: Arc<()>,
    hook: Option<Hook>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Arc<Job>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(super) fn new(root: Dir, hook: Option<Hook>) -> Self {
        Self(Arc::new(Shared {
            root,
            queue: Mutex::default(),
            changed: Condvar::new(),
            checksums: Mutex::default(),
            prefixes: Mutex::default(),
            job_counter: Arc::default(),
            hook,
        }))
    }

    /// Returns a new pool for the same root that calls `hook` before every access to the disk.
    pub(super) fn with_hook(&self, hook: Hook) -> io::Result<Self> {
        Ok(Self::new(self.0.root.try_clone()?, Some(hook)))
    }

    /// Queues a job. Starts a thread if all are busy and the limit allows one more.
    fn push(&self, job: Arc<Job>) {
        let mut queue = lock(&self.0.queue);
        if queue.jobs.len() >= QUEUE {
            drop(queue);
            job.fail("too many files are waiting for the disk".to_owned());
            return;
        }
        queue.jobs.push_back(job);
        if queue.idle < queue.jobs.len() && queue.threads < THREADS {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("socklab disk".into());
            match thread.spawn(move || shared.run()) {
                Ok(_) => queue.threads += 1,
                Err(_) if queue.threads > 0 => {}
                Err(e) => {
                    // Without any thread the jobs would wait indefinitely.
                    for job in queue.jobs.drain(..) {
                        job.fail(format!(
                            "cannot start a thread to read the file: {}",
                            net::reason(&e)
                        ));
                    }
                }
            }
        }
        drop(queue);
        self.0.changed.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        // The threads are not joined: a disk that hangs would block this thread too.
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// Runs jobs until the pool is dropped: the main function of a worker thread.
    fn run(&self) {
        let mut chunk = vec![0; CHUNK];
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return;
            }
            let Some(job) = queue.jobs.pop_front() else {
                queue.idle += 1;
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
                continue;
            };
            drop(queue);
            let has_more = job.run_slice(self, &mut chunk);
            queue = lock(&self.queue);
            // Checked under the lock: a session that ends sets `abandoned` first and removes its job after that.
            if has_more && !queue.closed && !job.abandoned.load(Ordering::Relaxed) {
                queue.jobs.push_back(job);
                // The job that this thread takes next may take long, so another thread takes this one.
                if queue.jobs.len() > 1 && queue.idle > 0 {
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Queues jobs again that have waited for a slice of a [`Prefix`].
    fn requeue(&self, jobs: Vec<Arc<Job>>) {
        if jobs.is_empty() {
            return;
        }
        let mut queue = lock(&self.queue);
        if !queue.closed {
            let is_active = |job: &Arc<Job>| !job.abandoned.load(Ordering::Relaxed);
            queue.jobs.extend(jobs.into_iter().filter(is_active));
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// Returns a prefix of the file in which `offset` is registered. A file without a known version gets one of its own.
    fn prefix(&self, key: Option<&Version>, offset: u64) -> Arc<Mutex<Prefix>> {
        let mut prefixes = lock(&self.prefixes);
        let known = key.and_then(|key| prefixes.get(key)).and_then(Weak::upgrade);
        if let Some(known) = known
            && lock(&known).join(offset)
        {
            return known;
        }
        let mut new = Prefix::default();
        new.join(offset);
        let new = Arc::new(Mutex::new(new));
        if let Some(key) = key {
            prefixes.retain(|_, prefix| prefix.strong_count() > 0);
            prefixes.insert(key.clone(), Arc::downgrade(&new));
        }
        new
    }

    fn access(&self, access: Access<'_>) {
        if let Some(hook) = &self.hook {
            hook(access);
        }
    }
}

#[cfg(test)]
mod tests {
    use socklab_core::file::Form;

    use super::*;
    use crate::net::{SessionWaker, waker_of};

    #[test]
    fn a_session_that_ends_removes_its_job_from_the_queue_of_a_disk_that_hangs() {
        let gate = Arc::new(Mutex::new(()));
        let disk = lock(&gate);
        let hook = Arc::clone(&gate);
        let root = Dir::open_ambient_dir("/", cap_std::ambient_authority()).unwrap();
        let pool = Pool::new(root, Some(Arc::new(move |_| drop(lock(&hook)))));
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let waker = SessionWaker::new(0, waker_of(Arc::new(waker)));
        let start = || Job::start(&pool, b"no such file", Form::Plain, waker.clone());
        let jobs: Vec<_> = (0..100).map(|_| start()).collect();
        let queued = || lock(&pool.0.queue).jobs.len();
        while queued() > jobs.len() - THREADS {
            thread::yield_now();
        }
        for job in &jobs {
            job.abandon(&pool);
        }
        assert_eq!(queued(), 0);
        assert_eq!(jobs.iter().filter(|job| Arc::strong_count(job) > 1).count(), THREADS);
        // The queue is bounded.
        let jobs: Vec<_> = (0..=QUEUE).map(|_| start()).collect();
        assert_eq!(queued(), QUEUE);
        // Each of many jobs reads ahead less than a single one would.
        assert_eq!(jobs[0].window(), CHUNK as u64);
        assert!(jobs[QUEUE - 1].opened().is_none());
        assert!(
            matches!(jobs[QUEUE].opened(), Some(Err(why)) if why.starts_with("too many files"))
        );
        drop(disk);
    }
}
