//! How other threads give a session a turn.

use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// The sessions that are to have a turn, and what wakes the engine for them.
pub(super) struct Wakeups {
    keys: Mutex<Vec<usize>>,
    waker: Arc<Waker>,
}

impl Wakeups {
    pub(super) const fn new(waker: Arc<Waker>) -> Self {
        Self { keys: Mutex::new(Vec::new()), waker }
    }

    /// The sessions that are to have a turn now.
    pub(super) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes one session of a server, from any thread: it gets a turn, and its service is asked for a
/// command and for [`work`](super::Service::work).
///
/// After the session has ended it wakes no one, or a later session, which has a turn without need.
#[derive(Clone)]
pub struct SessionWaker {
    pub(super) key: usize,
    pub(super) wakeups: Arc<Wakeups>,
}

impl SessionWaker {
    /// Without an engine.
    #[cfg(test)]
    pub(crate) fn new(key: usize, waker: Arc<Waker>) -> Self {
        Self { key, wakeups: Arc::new(Wakeups::new(waker)) }
    }

    /// Gives the session a turn soon.
    pub fn wake(&self) {
        let mut keys = self.wakeups.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(self.key);
        // The thread that finds the list empty wakes the engine, which takes all of it.
        let is_first = keys.len() == 1;
        drop(keys);
        if is_first {
            // A poll that is gone needs no waking.
            let _ = self.wakeups.waker.wake();
        }
    }
}

impl std::fmt::Debug for SessionWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionWaker").field("key", &self.key).finish_non_exhaustive()
    }
}
