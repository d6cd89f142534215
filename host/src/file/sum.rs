//! The checksum of a file that is being written.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// So much is read at a time: it stays in a processor's own cache.
const CHUNK: usize = 128 << 10;

/// A file's CRC-32.
pub(super) enum Sum {
    /// Of bytes as they pass.
    Passing(crc32fast::Hasher),
    /// Of what stands in a file, read back in a thread of its own while more is written: the bytes
    /// need not pass through this process to be written, and it is the file that is checked.
    BackgroundCrc(BackgroundCrc),
}

impl Sum {
    /// So many bytes stand in the file now.
    pub(super) fn grew(&mut self, length: u64) {
        if let Self::BackgroundCrc(behind) = self {
            behind.set(|so_far| so_far.length = length);
        }
    }

    /// These bytes have passed.
    pub(super) fn passed(&mut self, bytes: &[u8]) {
        if let Self::Passing(hasher) = self {
            hasher.update(bytes);
        }
    }

    /// The checksum of all of it.
    pub(super) fn finish(self) -> io::Result<u32> {
        match self {
            Self::Passing(hasher) => Ok(hasher.finalize()),
            Self::BackgroundCrc(mut behind) => {
                behind.set(|so_far| so_far.ended = true);
                match behind.thread.take().map(thread::JoinHandle::join) {
                    Some(Ok(crc)) => crc,
                    _ => Err(io::Error::other("the checksum thread failed")),
                }
            }
        }
    }
}

/// The thread that reads a growing file.
pub(super) struct BackgroundCrc {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<io::Result<u32>>>,
}

#[derive(Default)]
struct Shared {
    so_far: Mutex<SoFar>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct SoFar {
    length: u64,
    ended: bool,
    dropped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BackgroundCrc {
    /// Sums up a file that has so many bytes now.
    pub(super) fn start(file: File, length: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.lock().length = length;
        let theirs = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("checksum".into()).spawn(move || follow(&file, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn set(&self, change: impl FnOnce(&mut SoFar)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_one();
    }
}

/// Nobody wants it any more.
impl Drop for BackgroundCrc {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.set(|so_far| so_far.dropped = true);
            let _ = thread.join();
        }
    }
}

fn follow(file: &File, shared: &Shared) -> io::Result<u32> {
    let (mut hasher, mut at, mut chunk) = (crc32fast::Hasher::new(), 0, vec![0; CHUNK]);
    loop {
        let mut so_far = shared.lock();
        while so_far.length == at && !so_far.ended && !so_far.dropped {
            so_far = shared.changed.wait(so_far).unwrap_or_else(PoisonError::into_inner);
        }
        let SoFar { length, ended, dropped } = *so_far;
        drop(so_far);
        if dropped || (ended && at == length) {
            return Ok(hasher.finalize());
        }
        let want = usize::try_from(length - at).unwrap_or(usize::MAX).min(CHUNK);
        match file.read_at(&mut chunk[..want], at) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                hasher.update(&chunk[..n]);
                at += n as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
