//! A server's disk: a small pool of threads looks names up, opens, reads and sums up, so that the
//! engine's thread waits for no disk.
//!
//! Each session has a [`Job`]. It goes through the pool's queue one slice of work at a time, so that a
//! large file delays small ones by a slice. What the engine sends next has been read by a worker just
//! before, a window of it: `sendfile` then finds it in the page cache. If the system has dropped it from
//! there, which Linux can tell, the worker reads it again. The windows of all sessions together have a
//! limit, so that many slow clients do not drop each other's. The bytes before the offset of a
//! resumed transfer are only summed up; both parts have a checksum of their own, combined at the end, so
//! that the body need not wait for that and nothing is read twice. All jobs of the same file share one
//! [`Prefix`], so that many clients that resume it at once cost one read of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Advice, OFlags};
use socklab_core::file::Form;

use crate::net::{self, SessionWaker};

/// Threads at most: enough that a few slow files do not keep the others waiting.
const THREADS: usize = 8;

/// What a worker reads before it looks at the next job.
const SLICE: u64 = 512 << 10;

/// How far a worker reads ahead of what is sent: what one session may hold of the page cache.
const WINDOW: u64 = 4 << 20;

/// What all sessions together may hold of it, as long as each has a [`CHUNK`].
const WINDOWS: u64 = 256 << 20;

/// Bytes that are read at a time to be summed up: it stays in a processor's own cache.
const CHUNK: usize = 128 << 10;

/// Jobs that wait for a thread. Each session has one at most, and takes it out when it ends: only a server
/// of more clients than the default can come to this.
const QUEUE: usize = net::DEFAULT_CLIENTS;

/// A page of the page cache is not smaller.
const PAGE: usize = 4096;

/// Checksums that are remembered.
const CACHE: usize = 1024;

/// A file that was changed more recently may change again without another time: file systems have
/// coarse clocks.
const SETTLED: Duration = Duration::from_secs(2);

/// One access of a worker to the disk.
// Hidden: only tests need it, to play a disk that is slow or hangs, and they are in another crate.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access<'a> {
    /// Looks a name up and opens the file.
    Open(&'a [u8]),
    /// Reads bytes.
    Read {
        /// The first one.
        at: u64,
        /// How many.
        bytes: usize,
    },
}

pub(super) type Hook = Arc<dyn Fn(Access<'_>) + Send + Sync>;

/// The threads, and what they share. Dropped, it ends them.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    root: Dir,
    queue: Mutex<Queue>,
    changed: Condvar,
    cache: Mutex<Cache>,
    prefixes: Mutex<HashMap<Key, Weak<Mutex<Prefix>>>>,
    /// Each job has one too: so they are counted.
    token: Arc<()>,
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
            cache: Mutex::default(),
            prefixes: Mutex::default(),
            token: Arc::default(),
            hook,
        }))
    }

    /// The same with this called before every access.
    pub(super) fn hooked(self, hook: Hook) -> io::Result<Self> {
        Ok(Self::new(self.0.root.try_clone()?, Some(hook)))
    }

    /// Queues a job. A thread is started if all are busy and there may be more.
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
                    // No one would ever look at it.
                    for job in queue.jobs.drain(..) {
                        job.fail(format!("no thread to read it: {}", net::reason(&e)));
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
        // Not joined: one may hang in a disk that does.
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// A thread of the pool.
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
            let goes_on = job.slice(self, &mut chunk);
            queue = lock(&self.queue);
            // Looked at under the lock: a session that ends sets it, and then removes its job.
            if goes_on && !queue.closed && !job.abandoned.load(Ordering::Relaxed) {
                queue.jobs.push_back(job);
                // The job that this thread takes next may take long.
                if queue.jobs.len() > 1 && queue.idle > 0 {
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Queues jobs again that have waited for another one.
    fn requeue(&self, jobs: Vec<Arc<Job>>) {
        if jobs.is_empty() {
            return;
        }
        let mut queue = lock(&self.queue);
        if !queue.closed {
            let stay = |job: &Arc<Job>| !job.abandoned.load(Ordering::Relaxed);
            queue.jobs.extend(jobs.into_iter().filter(stay));
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// The prefix of a file that can still reach this offset. A file without a key shares it with none.
    fn prefix(&self, key: Option<&Key>, offset: u64) -> Arc<Mutex<Prefix>> {
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

/// The checksum of the first bytes of a file, computed once for all jobs that need it.
///
/// Any of these jobs reads the next slice. The others wait here for it, and not in a worker.
#[derive(Default)]
struct Prefix {
    /// The bytes before this one are summed up.
    at: u64,
    crc: crc32fast::Hasher,
    /// A worker reads the bytes before this one; equal to `at` while none does.
    next: u64,
    /// The offsets where jobs begin to send: how many jobs, and the checksum up to there.
    offsets: BTreeMap<u64, (usize, Option<crc32fast::Hasher>)>,
    waiting: Vec<Arc<Job>>,
}

/// What a job that needs a prefix is to do.
enum Front {
    /// Nothing: here it is.
    Known(crc32fast::Hasher),
    /// Wait until another worker has read a slice.
    Busy,
    /// Read a slice.
    Read(u64, u64, crc32fast::Hasher),
}

impl Prefix {
    /// Registers an offset, unless the bytes before it are no longer to be had on their own.
    fn join(&mut self, offset: u64) -> bool {
        if let Some((jobs, _)) = self.offsets.get_mut(&offset) {
            *jobs += 1;
            return true;
        }
        let is_ahead = self.next <= offset;
        if is_ahead {
            let crc = (self.at == offset).then(|| self.crc.clone());
            self.offsets.insert(offset, (1, crc));
        }
        is_ahead
    }

    /// The opposite of `join`.
    fn leave(&mut self, offset: u64, job: &Arc<Job>) {
        self.waiting.retain(|waiting| !Arc::ptr_eq(waiting, job));
        if let Some((jobs, _)) = self.offsets.get_mut(&offset) {
            *jobs -= 1;
            if *jobs == 0 {
                self.offsets.remove(&offset);
            }
        }
    }

    /// What is to be done for an offset.
    fn front(&mut self, offset: u64, job: &Arc<Job>) -> Front {
        if let Some((_, Some(crc))) = self.offsets.get(&offset) {
            return Front::Known(crc.clone());
        }
        if self.next > self.at {
            // Looked at here: a job that leaves sets it, and then removes itself.
            if !job.abandoned.load(Ordering::Relaxed) {
                self.waiting.push(Arc::clone(job));
            }
            return Front::Busy;
        }
        let stop = self.offsets.range(self.at.saturating_add(1)..).next().map(|(stop, _)| *stop);
        self.next = stop.unwrap_or(offset).min(self.at.saturating_add(SLICE));
        Front::Read(self.at, self.next, self.crc.clone())
    }

    /// A slice has been read, or not. Who has waited for it.
    fn done(&mut self, crc: Option<&crc32fast::Hasher>) -> Vec<Arc<Job>> {
        match crc {
            None => self.next = self.at,
            Some(crc) => {
                (self.at, self.crc) = (self.next, crc.clone());
                if let Some((_, known)) = self.offsets.get_mut(&self.at) {
                    *known = Some(crc.clone());
                }
            }
        }
        std::mem::take(&mut self.waiting)
    }
}

/// The disk's part of one session.
pub(super) struct Job {
    name: Box<[u8]>,
    form: Form,
    waker: SessionWaker,
    token: Arc<()>,
    state: Mutex<State>,
    /// Of the one worker that has it in hand.
    reading: Mutex<Reading>,
    abandoned: AtomicBool,
}

/// What engine and worker tell each other. Never locked while anything is read.
#[derive(Default)]
struct State {
    /// In the pool's queue, or in a worker's hands.
    queued: bool,
    opened: Option<Result<Opened, String>>,
    /// The body is sent up to here.
    sent: u64,
    /// The body has been read up to here.
    warm: u64,
    /// The bytes before the offset are still to be summed up.
    sums_front: bool,
    /// Where they are.
    prefix: Option<Arc<Mutex<Prefix>>>,
    crc: Option<u32>,
    failure: Option<String>,
}

/// A file that is open.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) file: Arc<File>,
    pub(super) size: u64,
}

/// How far it has got, for the engine.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    /// The body may be sent up to here.
    pub(super) warm: u64,
    /// The checksum of the whole file.
    pub(super) crc: Option<u32>,
    /// Why it cannot be read on.
    pub(super) failure: Option<String>,
}

#[derive(Default)]
struct Reading {
    opened: Option<Opened>,
    key: Option<Key>,
    /// Whether the checksum is wanted and not known yet.
    sums: bool,
    /// The checksum of what stands before the offset, when it is known.
    front: Option<crc32fast::Hasher>,
    body_crc: crc32fast::Hasher,
    /// The body is summed up to here: what is read again is not.
    summed: u64,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("form", &self.form).finish_non_exhaustive()
    }
}

impl State {
    /// Whether a worker has something to do.
    fn has_work(&self, window: u64) -> bool {
        match &self.opened {
            _ if self.failure.is_some() => false,
            None => true,
            Some(Err(_)) => false,
            Some(Ok(Opened { size, .. })) => {
                self.warm < (*size).min(self.sent.saturating_add(window)) || self.sums_front
            }
        }
    }
}

impl Job {
    /// Has a file looked up, opened and read.
    pub(super) fn start(pool: &Pool, name: &[u8], form: Form, waker: SessionWaker) -> Arc<Self> {
        let offset = form.offset();
        let state = State { queued: true, sent: offset, warm: offset, ..State::default() };
        let job = Arc::new(Self {
            name: name.into(),
            form,
            waker,
            token: Arc::clone(&pool.0.token),
            state: Mutex::new(state),
            reading: Mutex::default(),
            abandoned: AtomicBool::new(false),
        });
        pool.push(Arc::clone(&job));
        job
    }

    /// The file, or why it is not to be had; `None` while nothing is known.
    pub(super) fn opened(&self) -> Option<Result<Opened, String>> {
        lock(&self.state).opened.clone()
    }

    /// Says that the body is sent up to here. How far it has been read.
    pub(super) fn advance(self: &Arc<Self>, pool: &Pool, sent: u64) -> Reached {
        let mut state = lock(&self.state);
        state.sent = sent;
        let reached = Reached { warm: state.warm, crc: state.crc, failure: state.failure.clone() };
        if !state.queued && state.has_work(self.window()) {
            state.queued = true;
            drop(state);
            pool.push(Arc::clone(self));
        }
        reached
    }

    /// Says that the bytes from here on are to be read again: they are not in the page cache any more.
    pub(super) fn read_again(self: &Arc<Self>, pool: &Pool, at: u64) {
        let mut state = lock(&self.state);
        state.warm = state.warm.min(at);
        if !state.queued && state.has_work(self.window()) {
            state.queued = true;
            drop(state);
            pool.push(Arc::clone(self));
        }
    }

    /// How far to read ahead.
    fn window(&self) -> u64 {
        // The pool has one.
        let jobs = Arc::strong_count(&self.token).saturating_sub(1).max(1);
        (WINDOWS / jobs as u64).clamp(CHUNK as u64, WINDOW)
    }

    /// The session is over: nothing waits for a worker any more, which may never come.
    pub(super) fn abandon(self: &Arc<Self>, pool: &Pool) {
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

    fn fail(&self, why: String) {
        let mut state = lock(&self.state);
        state.queued = false;
        match &state.opened {
            None => state.opened = Some(Err(why)),
            Some(_) => state.failure = Some(why),
        }
        drop(state);
        self.waker.wake();
    }

    /// Does a slice of the work. Whether there is more.
    fn slice(self: &Arc<Self>, shared: &Shared, chunk: &mut [u8]) -> bool {
        if self.abandoned.load(Ordering::Relaxed) {
            return false;
        }
        let mut reading = lock(&self.reading);
        let Some(Opened { file, size }) = reading.opened.clone() else {
            self.open(shared, &mut reading);
            return self.goes_on();
        };
        let (sent, warm, prefix) = {
            let state = lock(&self.state);
            (state.sent, state.warm, state.prefix.clone())
        };
        let offset = self.form.offset();
        // Another job may have summed up the same file by now.
        let mut crc = match &reading.key {
            Some(key) if reading.sums => lock(&shared.cache).sums.get(key).copied(),
            _ => None,
        };
        reading.sums &= crc.is_none();
        let mut is_busy = false;
        let until = size.min(sent.saturating_add(self.window())).min(warm.saturating_add(SLICE));
        let until = if warm < reading.summed { until.min(reading.summed) } else { until };
        let read = if warm < until {
            let is_new = reading.sums && warm == reading.summed;
            if is_new {
                reading.summed = until;
            }
            let hasher = is_new.then_some(&mut reading.body_crc);
            read(shared, &file, warm, until, hasher, chunk)
        } else if reading.sums
            && reading.front.is_none()
            && let Some(prefix) = prefix
        {
            let front = lock(&prefix).front(offset, self);
            match front {
                Front::Known(crc) => {
                    reading.front = Some(crc);
                    Ok(())
                }
                Front::Busy => {
                    is_busy = true;
                    Ok(())
                }
                Front::Read(from, until, mut crc) => {
                    let read = read(shared, &file, from, until, Some(&mut crc), chunk);
                    let waiting = lock(&prefix).done(read.is_ok().then_some(&crc));
                    shared.requeue(waiting);
                    read
                }
            }
        } else {
            Ok(())
        };
        if let Err(e) = read {
            self.fail(unreadable(&e));
            return false;
        }
        // It is queued again by the worker that it waits for, which may have done so already.
        if is_busy {
            return false;
        }
        if reading.sums
            && reading.summed == size
            && let Some(mut hasher) = reading.front.clone()
        {
            reading.sums = false;
            hasher.combine(&reading.body_crc);
            let sum = hasher.finalize();
            if let Some(key) = &reading.key
                && file.metadata().is_ok_and(|found| Key::of(&found) == *key)
            {
                lock(&shared.cache).insert(key.clone(), sum);
            }
            crc = Some(sum);
        }
        let mut state = lock(&self.state);
        let moved = until > warm || crc.is_some();
        // Unless the engine has said meanwhile that it is to be read again.
        if state.warm == warm {
            state.warm = warm.max(until);
        }
        state.sums_front = reading.sums && reading.front.is_none();
        state.crc = state.crc.or(crc);
        drop(state);
        if moved {
            self.waker.wake();
        }
        self.goes_on()
    }

    fn goes_on(&self) -> bool {
        let mut state = lock(&self.state);
        state.queued = state.has_work(self.window());
        state.queued
    }

    fn open(&self, shared: &Shared, reading: &mut Reading) {
        shared.access(Access::Open(&self.name));
        let opened = open(&shared.root, &self.name);
        let mut state = lock(&self.state);
        state.opened = Some(opened.map(|(opened, found)| {
            reading.opened = Some(opened.clone());
            reading.summed = self.form.offset();
            if self.form != Form::Plain && self.form.offset() <= opened.size {
                let key = Key::of(&found);
                state.crc = lock(&shared.cache).sums.get(&key).copied();
                reading.sums = state.crc.is_none();
                reading.key = key.is_settled().then_some(key);
                state.sums_front = reading.sums && self.form.offset() > 0;
                match self.form.offset() {
                    0 => reading.front = Some(crc32fast::Hasher::new()),
                    // A session that is over has left its prefix, and would not leave this one.
                    offset if state.sums_front && !self.abandoned.load(Ordering::Relaxed) => {
                        state.prefix = Some(shared.prefix(reading.key.as_ref(), offset));
                    }
                    _ => {}
                }
                // There is nothing to be read.
                if opened.size == 0 {
                    reading.sums = false;
                    state.crc = Some(0);
                }
            }
            opened
        }));
        drop(state);
        self.waker.wake();
    }
}

/// Reads a part of a file, to sum it up, or only so that it is in the page cache.
fn read(
    shared: &Shared,
    file: &File,
    from: u64,
    until: u64,
    mut hasher: Option<&mut crc32fast::Hasher>,
    chunk: &mut [u8],
) -> io::Result<()> {
    let mut at = from;
    while at < until {
        let want = usize::try_from(until - at).unwrap_or(usize::MAX).min(chunk.len());
        shared.access(Access::Read { at, bytes: want });
        let n = match &mut hasher {
            Some(hasher) => {
                let n = read_at(file, &mut chunk[..want], at)?;
                hasher.update(&chunk[..n]);
                n
            }
            // A byte of each page is enough, and a tenth of the work.
            None => {
                for page in (0..want).step_by(PAGE) {
                    read_at(file, &mut chunk[..1], at + page as u64)?;
                }
                read_at(file, &mut chunk[..1], at + want as u64 - 1)?;
                want
            }
        };
        at += n as u64;
    }
    Ok(())
}

/// Whether these bytes, at least one, are in the page cache, as far as the system reports: to send them would not
/// wait for the disk. Only the first and the last one are looked at.
pub(super) fn is_cached(file: &File, from: u64, until: u64) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};
        let is_here = |at| {
            let mut byte = [0];
            let room = &mut [io::IoSliceMut::new(&mut byte)];
            // Not every file system can tell; and any other error is one of sending too.
            preadv2(file, room, at, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
        };
        is_here(from) && is_here(until.saturating_sub(1))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, from, until);
        true
    }
}

/// Why a file that is being sent cannot be read on.
pub(super) fn unreadable(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the file became shorter while it was sent".to_owned(),
        _ => format!("cannot read the file: {}", net::reason(e)),
    }
}

/// At least one byte.
fn read_at(file: &File, room: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(room, at) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Opens a file, or says why not.
fn open(root: &Dir, name: &[u8]) -> Result<(Opened, Metadata), String> {
    let path = Path::new(OsStr::from_bytes(name));
    let refuse = |e: io::Error| match e.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "no such file".to_owned(),
        // The capability's own no, not the system's.
        ErrorKind::PermissionDenied if e.raw_os_error().is_none() => {
            "path is outside the served folder".to_owned()
        }
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => net::reason(&e),
    };
    let regular = |is_file: bool, is_dir: bool| match (is_file, is_dir) {
        (true, _) => Ok(()),
        (_, true) => Err("is a folder".to_owned()),
        _ => Err("not a regular file".to_owned()),
    };
    // Before it is opened: to open a device is to do something with it. And after that, since
    // by then it may be another one; a pipe must not make us wait.
    let found = root.metadata(path).map_err(refuse)?;
    regular(found.is_file(), found.is_dir())?;
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = root.open_with(path, &options).map_err(refuse)?.into_std();
    let found = file.metadata().map_err(refuse)?;
    regular(found.is_file(), found.is_dir())?;
    if is_pseudo(&file, &found) {
        return Err("a pseudo-file, which has no size".to_owned());
    }
    #[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
    Ok((Opened { file: Arc::new(file), size: found.len() }, found))
}

/// Whether the system makes the file up when it is read: then its size says nothing.
fn is_pseudo(file: &File, found: &Metadata) -> bool {
    #[cfg(target_os = "linux")]
    {
        /// `SYSFS_MAGIC` of linux/magic.h.
        const SYSFS: i128 = 0x6265_6572;
        let kind = rustix::fs::fstatfs(file).map(|found| i128::from(found.f_type));
        let proc = i128::from(rustix::fs::PROC_SUPER_MAGIC);
        if kind.is_ok_and(|kind| kind == proc || kind == SYSFS) {
            return true;
        }
    }
    // Of others: bytes where there are none, or none to be had.
    found.len() == 0 && !matches!(file.read_at(&mut [0], 0), Ok(0))
}

/// What a checksum is remembered by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Set by every change, and by no program.
    changed: (i64, i64),
}

impl Key {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether a later change will have another time.
    fn is_settled(&self) -> bool {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
        let settled = i64::try_from(SETTLED.as_secs()).unwrap_or(0);
        now.is_some_and(|now| self.modified.0.max(self.changed.0) < now - settled)
    }
}

/// Checksums, as many as there is room for.
#[derive(Default)]
struct Cache {
    sums: HashMap<Key, u32>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Cache {
    fn insert(&mut self, key: Key, sum: u32) {
        if self.sums.insert(key.clone(), sum).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CACHE
            && let Some(oldest) = self.order.pop_front()
        {
            self.sums.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_forgets_the_oldest() {
        let mut cache = Cache::default();
        let key = |inode| Key { device: 1, inode, size: 3, modified: (1, 2), changed: (3, 4) };
        for inode in 0..CACHE as u64 + 10 {
            cache.insert(key(inode), 7);
            cache.insert(key(inode), 8);
        }
        assert_eq!((cache.sums.len(), cache.order.len()), (CACHE, CACHE));
        assert_eq!((cache.sums.get(&key(9)), cache.sums.get(&key(10))), (None, Some(&8)));
        assert!(key(1).is_settled());
    }

    #[test]
    fn jobs_of_sessions_that_have_ended_leave_the_queue_of_a_disk_that_hangs() {
        let held = Arc::new(Mutex::new(()));
        let disk = lock(&held);
        let hook = Arc::clone(&held);
        let root = Dir::open_ambient_dir("/", cap_std::ambient_authority()).unwrap();
        let pool = Pool::new(root, Some(Arc::new(move |_| drop(lock(&hook)))));
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let waker = SessionWaker::new(0, Arc::new(waker));
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
        // Of those that stay there are not more than it has room for.
        let jobs: Vec<_> = (0..=QUEUE).map(|_| start()).collect();
        assert_eq!(queued(), QUEUE);
        // Nor do all of them read ahead as far as one does.
        assert_eq!(jobs[0].window(), CHUNK as u64);
        assert!(jobs[QUEUE - 1].opened().is_none());
        assert!(
            matches!(jobs[QUEUE].opened(), Some(Err(why)) if why.starts_with("too many files"))
        );
        drop(disk);
    }
}
