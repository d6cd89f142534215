//! Checksum of a file while it is being written.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::sys::read::read_at;

/// Number of bytes that are read at a time. They fit into the cache of a processor core.
const CHUNK: usize = 128 << 10;

/// CRC-32 of a file.
pub(super) enum Checksum {
    /// Computed from the bytes before they are written.
    Inline(crc32fast::Hasher),
    /// Computed by a thread that reads the file back while more is written. The bytes need not pass through this
    /// process, and the checksum covers those that an earlier transfer stored.
    Background(BackgroundCrc),
}

impl Checksum {
    /// Records the current length of the file.
    pub(super) fn set_length(&mut self, length: u64) {
        if let Self::Background(background) = self {
            background.update(|target| target.length = length);
        }
    }

    /// Adds bytes that are about to be written.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if let Self::Inline(hasher) = self {
            hasher.update(bytes);
        }
    }

    /// Returns the checksum of the complete file.
    pub(super) fn finish(self) -> io::Result<u32> {
        match self {
            Self::Inline(hasher) => Ok(hasher.finalize()),
            Self::Background(mut background) => {
                background.update(|target| target.ended = true);
                match background.thread.take().map(thread::JoinHandle::join) {
                    Some(Ok(crc)) => crc,
                    _ => Err(io::Error::other("the checksum thread failed")),
                }
            }
        }
    }
}

/// A thread that computes the checksum of a growing file.
pub(super) struct BackgroundCrc {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<io::Result<u32>>>,
}

#[derive(Default)]
struct Shared {
    target: Mutex<Target>,
    changed: Condvar,
}

/// How far the thread may read.
#[derive(Clone, Copy, Default)]
struct Target {
    /// Current length of the file.
    length: u64,
    /// The file will not grow any more.
    ended: bool,
    /// The result is no longer needed.
    cancelled: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BackgroundCrc {
    /// Starts the thread for a file that has `length` bytes now.
    pub(super) fn start(file: File, length: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.lock().length = length;
        let for_thread = Arc::clone(&shared);
        let builder = thread::Builder::new().name("checksum".into());
        let thread = builder.spawn(move || follow(&file, &for_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn update(&self, change: impl FnOnce(&mut Target)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_one();
    }
}

impl Drop for BackgroundCrc {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.update(|target| target.cancelled = true);
            let _ = thread.join();
        }
    }
}

fn follow(file: &File, shared: &Shared) -> io::Result<u32> {
    let (mut hasher, mut at, mut chunk) = (crc32fast::Hasher::new(), 0, vec![0; CHUNK]);
    loop {
        let mut target = shared.lock();
        while target.length == at && !target.ended && !target.cancelled {
            target = shared.changed.wait(target).unwrap_or_else(PoisonError::into_inner);
        }
        let Target { length, ended, cancelled } = *target;
        drop(target);
        if cancelled || (ended && at == length) {
            return Ok(hasher.finalize());
        }
        let want = usize::try_from(length - at).unwrap_or(usize::MAX).min(CHUNK);
        let n = read_at(file, &mut chunk[..want], at)?;
        hasher.update(&chunk[..n]);
        at += n as u64;
    }
}
