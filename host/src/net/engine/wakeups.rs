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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::net::SocketAddr;
    use std::ops::ControlFlow;
    use std::time::Duration;

    use mio::Events;
    use mio::net::TcpStream;

    use super::*;
    use crate::file::{Client, Local, Options, Service};
    use crate::net::system::{Event, MioListener, Os, System};
    use crate::net::{Server, listen};

    /// The system, with each event of the waker twice. Windows gives one for each call of the waker.
    struct Twice(Os);

    impl System for Twice {
        type Stream = TcpStream;
        type Listener = MioListener;
        type Events = Events;

        const EDGE_TRIGGERED: bool = Os::EDGE_TRIGGERED;

        fn events(&self) -> Events {
            self.0.events()
        }

        fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
            self.0.wait(events, timeout)
        }

        fn iter(events: &Events) -> impl Iterator<Item = Event> {
            let number = |event: &Event| if *event == Event::Waker { 2 } else { 1 };
            Os::iter(events).flat_map(move |event| std::iter::repeat_n(event, number(&event)))
        }

        fn now(&mut self) -> Duration {
            self.0.now()
        }

        fn set_tick(&mut self, on: bool) -> bool {
            self.0.set_tick(on)
        }

        fn take_tick(&mut self) {
            self.0.take_tick();
        }

        fn register(&mut self, stream: &mut TcpStream, key: usize, w: bool) -> io::Result<()> {
            self.0.register(stream, key, w)
        }

        fn reregister(&mut self, stream: &mut TcpStream, key: usize, w: bool) -> io::Result<()> {
            self.0.reregister(stream, key, w)
        }

        fn has_read_all(&mut self, stream: &TcpStream) -> bool {
            self.0.has_read_all(stream)
        }

        fn unacknowledged(&mut self, stream: &TcpStream, peer: SocketAddr) -> Option<u32> {
            self.0.unacknowledged(stream, peer)
        }

        fn outstanding(&mut self, stream: &TcpStream, peer: SocketAddr) -> Option<u32> {
            self.0.outstanding(stream, peer)
        }
    }

    #[test]
    fn a_session_is_woken_although_the_waker_has_two_events() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "four score").unwrap();
        let listener = listen("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (system, waker) = Os::new().unwrap();
        let listener = system.listen(listener).unwrap();
        let service = Service::new(folder.path()).unwrap();
        let waker = waker_of(Arc::new(waker));
        let server = Server::over(Twice(system), listener, addr, waker, service).start().unwrap();

        // Each session waits for a thread that opens and reads the file. Both may wake it before the engine looks.
        for n in 0..50 {
            let mut copy = Local::open(&folder.path().join(n.to_string()), false).unwrap();
            let client = Client::connect(addr).unwrap();
            let progress = |_| ControlFlow::Continue(());
            let fetched = client.fetch(b"notes.txt", &mut copy, Options::default(), progress);
            assert_eq!(fetched.unwrap().size, 10);
        }
        server.stop().unwrap();
    }
}
