//! Wakeups of sessions by other threads.

use std::sync::{Arc, Mutex, PoisonError};

/// Wakes a poll from any thread. After the engine has ended it has no effect.
pub(crate) type Waker = dyn Fn() + Send + Sync;

/// Returns the waker of a poll.
pub(crate) fn waker_of(waker: Arc<mio::Waker>) -> Arc<Waker> {
    // An error means that the poll no longer exists.
    Arc::new(move || drop(waker.wake()))
}

/// Queue of the sessions to be given a turn, with the waker of the engine.
pub(super) struct Wakeups {
    keys: Mutex<Vec<usize>>,
    waker: Arc<Waker>,
}

impl Wakeups {
    pub(super) const fn new(waker: Arc<Waker>) -> Self {
        Self { keys: Mutex::new(Vec::new()), waker }
    }

    /// Takes the keys of all queued sessions.
    pub(super) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes one session of a server from any thread. The session gets a turn, in which its service is asked for a
/// command and for [`work`](super::Service::work).
///
/// After the session has ended, the waker has no effect, or gives a later session an unneeded turn.
#[derive(Clone)]
pub struct SessionWaker {
    pub(super) key: usize,
    pub(super) wakeups: Arc<Wakeups>,
}

impl SessionWaker {
    /// Creates a waker without an engine.
    #[cfg(test)]
    pub(crate) fn new(key: usize, waker: Arc<Waker>) -> Self {
        Self { key, wakeups: Arc::new(Wakeups::new(waker)) }
    }

    /// Gives the session a turn soon.
    pub fn wake(&self) {
        let mut keys = self.wakeups.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(self.key);
        // Only the first key needs a wakeup: the engine takes the whole list.
        let is_first = keys.len() == 1;
        drop(keys);
        if is_first {
            (self.wakeups.waker)();
        }
    }
}

impl std::fmt::Debug for SessionWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionWaker").field("key", &self.key).finish_non_exhaustive()
    }
}
