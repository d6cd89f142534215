//! The disk work of one session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use socklab_core::file::Form;

use super::checksums::is_settled;
use super::open::{Opened, open, read, read_failure};
use super::prefix::{Prefix, Step};
use super::{Access, CHUNK, Pool, SLICE, Shared, lock};
use crate::net::SessionWaker;
use crate::sys::file::Version;

/// Number of bytes of one file that are read ahead of what is sent.
const WINDOW: u64 = 4 << 20;

/// Number of bytes that all sessions together read ahead, as long as each one gets at least a [`CHUNK`].
const TOTAL_WINDOW: u64 = 256 << 20;

/// The disk work of one session: opening a file, reading it ahead and computing its checksum.
pub(in crate::file) struct Job {
    name: Box<[u8]>,
    form: Form,
    waker: SessionWaker,
    /// Clone of the pool's counter: its reference count is the number of jobs.
    counter: Arc<()>,
    state: Mutex<State>,
    /// State of the worker that runs the job. At most one does at a time.
    reading: Mutex<Reading>,
    /// The session has ended. Set before the job is removed from the queue and from its prefix.
    pub(super) abandoned: AtomicBool,
}

/// State that the engine and the worker share. It is never locked during an access to the disk.
#[derive(Default)]
struct State {
    /// The job is in the pool's queue, or a worker runs it.
    queued: bool,
    opened: Option<Result<Opened, String>>,
    /// Offset up to which the body has been sent.
    sent: u64,
    /// Offset up to which the body has been read.
    read: u64,
    /// The checksum of the bytes before the offset is still missing.
    needs_prefix: bool,
    prefix: Option<Arc<Mutex<Prefix>>>,
    crc: Option<u32>,
    failure: Option<String>,
}

/// Progress of a job, for the engine.
#[derive(Clone, Debug)]
pub(in crate::file) struct JobProgress {
    /// Offset up to which the body has been read, so that it may be sent.
    pub(in crate::file) read: u64,
    /// Checksum of the whole file, once it is known.
    pub(in crate::file) crc: Option<u32>,
    /// Reason why the file cannot be read any further.
    pub(in crate::file) failure: Option<String>,
}

#[derive(Default)]
struct Reading {
    opened: Option<Opened>,
    /// Version of the file, if a later change will change it.
    key: Option<Version>,
    /// The checksum is needed and not known yet.
    needs_crc: bool,
    /// Checksum of the bytes before the offset, once it is known.
    prefix_crc: Option<crc32fast::Hasher>,
    body_crc: crc32fast::Hasher,
    /// Offset up to which `body_crc` covers the body. Bytes that are read a second time do not enter it again.
    hashed: u64,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("form", &self.form).finish_non_exhaustive()
    }
}

impl State {
    /// Returns whether there is work for a worker.
    fn has_work(&self, window: u64) -> bool {
        match &self.opened {
            _ if self.failure.is_some() => false,
            None => true,
            Some(Err(_)) => false,
            Some(Ok(Opened { size, .. })) => {
                self.read < (*size).min(self.sent.saturating_add(window)) || self.needs_prefix
            }
        }
    }
}

impl Job {
    /// Queues a new job that opens the file `name` and starts to read it.
    pub(in crate::file) fn start(
        pool: &Pool,
        name: &[u8],
        form: Form,
        waker: SessionWaker,
    ) -> Arc<Self> {
        let offset = form.offset();
        let state = State { queued: true, sent: offset, read: offset, ..State::default() };
        let job = Arc::new(Self {
            name: name.into(),
            form,
            waker,
            counter: Arc::clone(&pool.0.job_counter),
            state: Mutex::new(state),
            reading: Mutex::default(),
            abandoned: AtomicBool::new(false),
        });
        pool.push(Arc::clone(&job));
        job
    }

    /// Returns the opened file, or the reason for the refusal; `None` until a worker has looked the name up.
    pub(in crate::file) fn opened(&self) -> Option<Result<Opened, String>> {
        lock(&self.state).opened.clone()
    }

    /// Records the offset up to which the body has been sent. Returns the progress of the job.
    pub(in crate::file) fn set_sent(self: &Arc<Self>, pool: &Pool, sent: u64) -> JobProgress {
        let mut state = lock(&self.state);
        state.sent = sent;
        let progress =
            JobProgress { read: state.read, crc: state.crc, failure: state.failure.clone() };
        if !state.queued && state.has_work(self.window()) {
            state.queued = true;
            drop(state);
            pool.push(Arc::clone(self));
        }
        progress
    }

    /// Has the bytes from `at` read again, because they are no longer in the page cache.
    pub(in crate::file) fn read_again(self: &Arc<Self>, pool: &Pool, at: u64) {
        let mut state = lock(&self.state);
        state.read = state.read.min(at);
        if !state.queued && state.has_work(self.window()) {
            state.queued = true;
            drop(state);
            pool.push(Arc::clone(self));
        }
    }

    /// Returns the number of bytes to read ahead.
    pub(super) fn window(&self) -> u64 {
        // The pool holds one reference itself.
        let jobs = Arc::strong_count(&self.counter).saturating_sub(1).max(1);
        (TOTAL_WINDOW / jobs as u64).clamp(CHUNK as u64, WINDOW)
    }

    /// Removes the job from the queue and from its prefix, because the session has ended.
    ///
    /// A worker would do so as well, but if the disk hangs no worker comes.
    pub(in crate::file) fn abandon(self: &Arc<Self>, pool: &Pool) {
        self.abandoned.store(true, Ordering::Relaxed);
        let (prefix, queued) = {
            let mut state = lock(&self.state);
            (state.prefix.take(), state.queued)
        };
        if let Some(prefix) = prefix {
            lock(&prefix).leave(self.form.offset(), self);
        }
        if queued {
            lock(&pool.0.queue).jobs.retain(|job| !Arc::ptr_eq(job, self));
        }
    }

    /// Records a failure and wakes the session.
    pub(super) fn fail(&self, reason: String) {
        let mut state = lock(&self.state);
        state.queued = false;
        match &state.opened {
            None => state.opened = Some(Err(reason)),
            Some(_) => state.failure = Some(reason),
        }
        drop(state);
        self.waker.wake();
    }

    /// Does one slice of the work. Returns whether the job must be queued again.
    pub(super) fn run_slice(self: &Arc<Self>, shared: &Shared, chunk: &mut [u8]) -> bool {
        if self.abandoned.load(Ordering::Relaxed) {
            return false;
        }
        let mut reading = lock(&self.reading);
        let Some(Opened { file, size }) = reading.opened.clone() else {
            self.open(shared, &mut reading);
            return self.update_queued();
        };
        let (sent, start, prefix) = {
            let state = lock(&self.state);
            (state.sent, state.read, state.prefix.clone())
        };
        let offset = self.form.offset();
        // Another job may have completed the checksum of the same file meanwhile.
        let mut crc = match &reading.key {
            Some(key) if reading.needs_crc => lock(&shared.checksums).get(key),
            _ => None,
        };
        reading.needs_crc &= crc.is_none();
        let mut waits_for_prefix = false;
        let end = size.min(sent.saturating_add(self.window())).min(start.saturating_add(SLICE));
        let end = if start < reading.hashed { end.min(reading.hashed) } else { end };
        let result = if start < end {
            let is_new = reading.needs_crc && start == reading.hashed;
            if is_new {
                reading.hashed = end;
            }
            let hasher = is_new.then_some(&mut reading.body_crc);
            read(shared, &file, start, end, hasher, chunk)
        } else if reading.needs_crc
            && reading.prefix_crc.is_none()
            && let Some(prefix) = prefix
        {
            let step = lock(&prefix).next_step(offset, self);
            match step {
                Step::Known(crc) => {
                    reading.prefix_crc = Some(crc);
                    Ok(())
                }
                Step::Wait => {
                    waits_for_prefix = true;
                    Ok(())
                }
                Step::Read(from, until, mut crc) => {
                    let result = read(shared, &file, from, until, Some(&mut crc), chunk);
                    let waiting = lock(&prefix).finish_slice(result.is_ok().then_some(&crc));
                    shared.requeue(waiting);
                    result
                }
            }
        } else {
            Ok(())
        };
        if let Err(e) = result {
            self.fail(read_failure(&e));
            return false;
        }
        // The worker that reads the slice queues this job again, and may have done so already.
        if waits_for_prefix {
            return false;
        }
        if reading.needs_crc
            && reading.hashed == size
            && let Some(mut hasher) = reading.prefix_crc.clone()
        {
            reading.needs_crc = false;
            hasher.combine(&reading.body_crc);
            let whole = hasher.finalize();
            if let Some(key) = &reading.key
                && file
                    .metadata()
                    .is_ok_and(|metadata| Version::of(&metadata).as_ref() == Some(key))
            {
                lock(&shared.checksums).insert(key.clone(), whole);
            }
            crc = Some(whole);
        }
        let mut state = lock(&self.state);
        let has_news = end > start || crc.is_some();
        // Unless the engine has asked meanwhile for bytes to be read again.
        if state.read == start {
            state.read = start.max(end);
        }
        state.needs_prefix = reading.needs_crc && reading.prefix_crc.is_none();
        state.crc = state.crc.or(crc);
        drop(state);
        if has_news {
            self.waker.wake();
        }
        self.update_queued()
    }

    /// Sets `queued` to whether there is more work, and returns it.
    fn update_queued(&self) -> bool {
        let mut state = lock(&self.state);
        state.queued = state.has_work(self.window());
        state.queued
    }

    fn open(&self, shared: &Shared, reading: &mut Reading) {
        shared.access(Access::Open(&self.name));
        let opened = open(&shared.root, &self.name);
        let mut state = lock(&self.state);
        state.opened = Some(opened.map(|(opened, metadata)| {
            reading.opened = Some(opened.clone());
            reading.hashed = self.form.offset();
            if self.form != Form::Plain && self.form.offset() <= opened.size {
                let key = Version::of(&metadata);
                state.crc = key.as_ref().and_then(|key| lock(&shared.checksums).get(key));
                reading.needs_crc = state.crc.is_none();
                reading.key = key.filter(|key| is_settled(key.changed()));
                state.needs_prefix = reading.needs_crc && self.form.offset() > 0;
                match self.form.offset() {
                    0 => reading.prefix_crc = Some(crc32fast::Hasher::new()),
                    // A job that is already abandoned would never leave a prefix that it joins now.
                    offset if state.needs_prefix && !self.abandoned.load(Ordering::Relaxed) => {
                        state.prefix = Some(shared.prefix(reading.key.as_ref(), offset));
                    }
                    _ => {}
                }
                // No read follows that could complete the checksum.
                if opened.size == 0 {
                    reading.needs_crc = false;
                    state.crc = Some(0);
                }
            }
            opened
        }));
        drop(state);
        self.waker.wake();
    }
}
