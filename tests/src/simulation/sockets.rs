//! The simulated network as a system of the engine.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socklab::net::system::{Event, Incoming, Listening, Stream, System};

use super::script::pattern;
use super::world::{Accepted, Reported, World};

/// Address of the server.
pub(super) fn server() -> SocketAddr {
    SocketAddr::from(([10, 255, 255, 255], 8000))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The simulated system. `EDGE`: events are edges, as on Unix. Otherwise they are as mio has them on Windows.
pub(super) struct Simulated<const EDGE: bool>(pub(super) Rc<RefCell<World>>);

/// The server's listener.
pub(super) struct SimulatedListener(pub(super) Rc<RefCell<World>>);

/// The server's socket of a connection.
pub(super) struct SimulatedStream {
    world: Rc<RefCell<World>>,
    id: usize,
}

impl<const EDGE: bool> System for Simulated<EDGE> {
    type Stream = SimulatedStream;
    type Listener = SimulatedListener;
    type Events = Vec<Reported>;

    const EDGE_TRIGGERED: bool = EDGE;

    fn events(&self) -> Vec<Reported> {
        Vec::new()
    }

    fn wait(&mut self, events: &mut Vec<Reported>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        *events = self.0.borrow_mut().wait(timeout.map(micros))?;
        Ok(())
    }

    fn iter(events: &Vec<Reported>) -> impl Iterator<Item = Event> {
        events.iter().map(|event| match *event {
            Reported::Listener => Event::Listener,
            Reported::Waker => Event::Waker,
            Reported::Tick => Event::Tick,
            Reported::Connection { key, is_ended } => Event::Connection { key, is_ended },
        })
    }

    fn now(&mut self) -> Duration {
        let mut world = self.0.borrow_mut();
        Duration::from_micros(world.plan.clock + world.now())
    }

    fn set_tick(&mut self, on: bool) -> bool {
        self.0.borrow_mut().set_tick(on)
    }

    fn take_tick(&mut self) {}

    fn register(
        &mut self,
        stream: &mut SimulatedStream,
        key: usize,
        for_writing: bool,
    ) -> io::Result<()> {
        let is_registered = self.0.borrow_mut().register(stream.id, key, for_writing);
        if is_registered { Ok(()) } else { Err(ErrorKind::OutOfMemory.into()) }
    }

    fn reregister(
        &mut self,
        stream: &mut SimulatedStream,
        key: usize,
        for_writing: bool,
    ) -> io::Result<()> {
        self.register(stream, key, for_writing)
    }

    fn has_read_all(&mut self, stream: &SimulatedStream) -> bool {
        self.0.borrow_mut().has_read_all(stream.id)
    }

    fn unacknowledged(&mut self, stream: &SimulatedStream, _: SocketAddr) -> Option<u32> {
        self.0.borrow_mut().outstanding(stream.id).map(|(unacknowledged, _)| unacknowledged)
    }

    fn outstanding(&mut self, stream: &SimulatedStream, _: SocketAddr) -> Option<u32> {
        self.0.borrow_mut().probe(stream.id)
    }
}

impl Listening for SimulatedListener {
    type Stream = SimulatedStream;

    fn accept(&self) -> Incoming<SimulatedStream> {
        let accepted = self.0.borrow_mut().accept();
        match accepted {
            Accepted::Client(id, addr) => {
                Incoming::Client(SimulatedStream { world: Rc::clone(&self.0), id }, addr)
            }
            Accepted::None => Incoming::None,
            Accepted::Gone => Incoming::Gone(ErrorKind::ConnectionAborted.into()),
            Accepted::Starved => Incoming::Starved(ErrorKind::OutOfMemory.into()),
        }
    }

    fn has_client(&self) -> bool {
        self.0.borrow().has_client()
    }

    fn rearm(&mut self) -> bool {
        self.0.borrow_mut().rearm_listener()
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        self.0.borrow_mut().close_listener();
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.world.borrow_mut().close(self.id);
    }
}

impl Read for SimulatedStream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        Ok(self.world.borrow_mut().read(self.id, to)?)
    }
}

impl Write for SimulatedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.world.borrow_mut().write(self.id, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SimulatedStream {
    fn close_sending(&self) -> io::Result<()> {
        Ok(self.world.borrow_mut().close_sending(self.id)?)
    }

    fn set_reset_on_close(&self, resets: bool) {
        self.world.borrow_mut().set_reset_on_close(self.id, resets);
    }

    fn resets_on_close(&self) -> bool {
        self.world.borrow_mut().resets_on_close(self.id)
    }

    fn take_error(&self) -> Option<io::Error> {
        self.world.borrow_mut().take_error(self.id).map(io::Error::from)
    }

    fn peek(&self) -> io::Result<usize> {
        Ok(self.world.borrow_mut().peek(self.id)?)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(server())
    }

    fn send_file(&self, _: &File, at: u64, most: u64) -> io::Result<Option<u64>> {
        if self.id.is_multiple_of(2) {
            return Ok(None);
        }
        // What the file contains.
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = (0..most.min(10_000) as usize).map(|i| pattern(start + i)).collect();
        Ok(Some(self.world.borrow_mut().write(self.id, &bytes)? as u64))
    }
}
