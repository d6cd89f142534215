//! Captures of connections for Wireshark and tcpdump.
//!
//! The program sees bytes, not packets. The packets are made up: each read or write in segments of maximum size, followed
//! by an acknowledgement. In the capture of a proxy, the client has connected to the server itself. A datagram is one packet,
//! without fragments.
//!
//! A capture loses nothing. If the disk is slower than the network, a client waits for it, while a server and a proxy stop
//! reading until it has caught up: their other work continues.

mod packets;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use socklab_core::datagram::Datagram;

use self::packets::Writer;
use super::messages::flow;
use crate::net::{self, Direction, reason};
use crate::proxy::{self, Connection, Event, Flow, Side};

/// Number of bytes that may wait to be written. Then their source waits, so that nothing is missing in the capture.
const QUEUE: usize = 8 * 1024 * 1024;
/// Number of waiting bytes below which the source continues.
const RESUME: usize = QUEUE / 2;
/// Approximate size of a record without its payload.
const RECORD: usize = 128;

/// A capture: a file, and the thread that writes it.
#[derive(Debug)]
pub(crate) struct Capture {
    recorder: Recorder,
    /// Number of observers so far.
    sources: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// Result of writing the file.
#[derive(Debug)]
struct Outcome {
    /// Sends the result when everything is written.
    thread: Receiver<Result<(), String>>,
    result: Option<Result<(), String>>,
}

/// Sender of records to the thread that writes the file.
#[derive(Clone, Debug)]
struct Recorder {
    /// `None` ends the capture.
    records: Sender<Option<Box<Record>>>,
    queue: Arc<Queue>,
    source: u64,
}

/// State of the records that wait to be written.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    has_space: Condvar,
}

#[derive(Default)]
struct State {
    bytes: usize,
    /// Whether a source waits for space.
    is_awaited: bool,
    has_failed: bool,
    resume: Option<Box<dyn Fn() + Send>>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// Number of an observer, and of a connection that it observes.
type Key = (u64, u64);

/// An event with its time.
struct Record {
    time: SystemTime,
    key: Key,
    /// Addresses of the client and of the server.
    addrs: [SocketAddr; 2],
    event: Owned,
}

enum Owned {
    Opened,
    Connected,
    Moved(Flow, Vec<u8>),
    Closed(Flow),
    Datagram(Flow, Vec<u8>),
    /// The connection has ended, with a reset by this side, or without.
    Ended(Option<Side>),
}

impl Capture {
    /// Creates the file, and starts the thread that writes it.
    ///
    /// # Errors
    ///
    /// When the file or the thread cannot be created, or the start of the file cannot be written.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut writer = Writer::new(BufWriter::with_capacity(1 << 16, File::create(path)?))?;
        writer.flush()?;
        let (records, received) = mpsc::channel();
        let (done, outcome) = mpsc::channel();
        let queue = Arc::<Queue>::default();
        let shared = Arc::clone(&queue);
        let path = path.display().to_string();
        thread::Builder::new().name("capture".into()).spawn(move || {
            let result = write(&mut writer, &received, &shared).map_err(|e| {
                let reason = reason(&e);
                log::warn!("cannot write {path}: {reason}; the capture ends here");
                // What waits is dropped, and its source must not wait.
                shared.fail();
                reason
            });
            // An error means that the program ends.
            let _ = done.send(result);
        })?;
        let outcome = Mutex::new(Outcome { thread: outcome, result: None });
        let recorder = Recorder { records, queue, source: 0 };
        Ok(Self { recorder, sources: AtomicU64::new(0), outcome })
    }

    /// Sets the function that is called when a server or a proxy can continue: see [`net::Observer::is_ready`].
    pub(crate) fn on_ready(&self, resume: impl Fn() + Send + 'static) {
        self.recorder.queue.lock().resume = Some(Box::new(resume));
    }

    /// Returns an observer for a proxy.
    pub(crate) fn proxy(&self) -> impl proxy::Observer + use<> {
        ProxyCapture(self.recorder())
    }

    /// Returns an observer for a proxy for datagrams.
    pub(crate) fn datagram_proxy(&self) -> impl proxy::datagrams::Observer + use<> {
        DatagramCapture(self.recorder())
    }

    /// Returns an observer for a server with many clients, which it never blocks.
    pub(crate) fn server(&self) -> impl net::Observer + use<> {
        self.observer(Side::Server, false)
    }

    /// Returns an observer for one connection of which this program is that side. It blocks while the queue is full.
    pub(crate) fn connection(&self, local: Side) -> impl net::Observer + use<> {
        self.observer(local, true)
    }

    fn observer(&self, local: Side, blocks: bool) -> NetCapture {
        NetCapture { recorder: self.recorder(), local, blocks, addrs: HashMap::new() }
    }

    fn recorder(&self) -> Recorder {
        let source = self.sources.fetch_add(1, Ordering::Relaxed);
        Recorder { source, ..self.recorder.clone() }
    }

    /// Ends the capture, and waits until everything is written.
    ///
    /// # Errors
    ///
    /// The reason why the file could not be written.
    pub(crate) fn finish(&self) -> Result<(), String> {
        // The thread may have ended after an error.
        let _ = self.recorder.records.send(None);
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let Outcome { thread, result } = &mut *outcome;
        let panicked = |_| Err("the thread has panicked".to_owned());
        result.get_or_insert_with(|| thread.recv().unwrap_or_else(panicked)).clone()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that have been written.
    fn written(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes -= bytes;
        if state.bytes < RESUME && std::mem::take(&mut state.is_awaited) {
            self.resume(&state);
        }
    }

    fn fail(&self) {
        let mut state = self.lock();
        state.has_failed = true;
        self.resume(&state);
    }

    fn resume(&self, state: &State) {
        self.has_space.notify_all();
        if let Some(resume) = &state.resume {
            resume();
        }
    }
}

impl State {
    fn is_full(&mut self) -> bool {
        let is_full = self.bytes >= QUEUE && !self.has_failed;
        self.is_awaited |= is_full;
        is_full
    }
}

impl Recorder {
    fn record(&self, number: u64, addrs: [SocketAddr; 2], event: Owned) {
        let key = (self.source, number);
        let record = Record { time: SystemTime::now(), key, addrs, event };
        {
            let mut state = self.queue.lock();
            if state.has_failed {
                return;
            }
            state.bytes += record.size();
        }
        let _ = self.records.send(Some(Box::new(record)));
    }

    fn is_ready(&self) -> bool {
        !self.queue.lock().is_full()
    }

    /// Waits until there is space in the queue.
    fn wait(&self) {
        let state = self.queue.lock();
        drop(self.queue.has_space.wait_while(state, State::is_full));
    }
}

/// Observer of a proxy.
struct ProxyCapture(Recorder);

impl proxy::Observer for ProxyCapture {
    fn observe(&mut self, connection: &Connection, event: &Event<'_>) {
        let event = match event {
            Event::Opened => Owned::Opened,
            Event::Connected => Owned::Connected,
            Event::Moved(flow, bytes) => Owned::Moved(*flow, bytes.to_vec()),
            Event::Closed(flow) => Owned::Closed(*flow),
            Event::Retried(..)
            | Event::Stalled(_)
            | Event::Flipped(..)
            | Event::Unflipped(..)
            | Event::Undelivered(..) => return,
            Event::Ended(ended) => Owned::Ended(ended.reset()),
        };
        self.0.record(connection.number, [connection.client, connection.server], event);
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }
}

/// Observer of a proxy for datagrams. It captures what has been sent, as if the server had received it from the client.
struct DatagramCapture(Recorder);

impl proxy::datagrams::Observer for DatagramCapture {
    fn observe(&mut self, client: &proxy::datagrams::Client, event: &proxy::datagrams::Event<'_>) {
        if let proxy::datagrams::Event::Sent(flow, bytes, _) = event {
            let event = Owned::Datagram(*flow, bytes.to_vec());
            self.0.record(client.number, [client.client, client.server], event);
        }
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }
}

/// Observer of a client or a server.
struct NetCapture {
    recorder: Recorder,
    /// The side that this program is.
    local: Side,
    /// Whether it waits while the queue is full.
    blocks: bool,
    /// Addresses of the client and of the server of each connection.
    addrs: HashMap<usize, [SocketAddr; 2]>,
}

impl NetCapture {
    fn record(&self, connection: usize, event: Owned) {
        let Some(addrs) = self.addrs.get(&connection) else { return };
        self.recorder.record(connection as u64, *addrs, event);
    }
}

impl net::Observer for NetCapture {
    fn opened(&mut self, connection: usize, local: SocketAddr, peer: SocketAddr) {
        let addrs = match self.local {
            Side::Client => [local, peer],
            Side::Server => [peer, local],
        };
        self.addrs.insert(connection, addrs);
        self.record(connection, Owned::Opened);
        self.record(connection, Owned::Connected);
    }

    fn moved(&mut self, connection: usize, _: SocketAddr, direction: Direction, bytes: &[u8]) {
        let flow = flow(self.local, direction);
        if bytes.is_empty() {
            self.record(connection, Owned::Closed(flow));
            return;
        }
        self.record(connection, Owned::Moved(flow, bytes.to_vec()));
        if self.blocks {
            self.recorder.wait();
        }
    }

    fn datagram(
        &mut self,
        connection: usize,
        local: SocketAddr,
        peer: SocketAddr,
        direction: Direction,
        datagram: Datagram<'_>,
    ) {
        let addrs = match self.local {
            Side::Client => [local, peer],
            Side::Server => [peer, local],
        };
        let event = Owned::Datagram(flow(self.local, direction), datagram.bytes.to_vec());
        self.recorder.record(connection as u64, addrs, event);
        if self.blocks {
            self.recorder.wait();
        }
    }

    fn ended(&mut self, connection: usize, _: SocketAddr, reset: Option<Direction>) {
        let side = reset.map(|direction| flow(self.local, direction).from());
        self.record(connection, Owned::Ended(side));
        self.addrs.remove(&connection);
    }

    fn is_ready(&self) -> bool {
        self.recorder.is_ready()
    }
}

impl Record {
    fn size(&self) -> usize {
        RECORD
            + match &self.event {
                Owned::Moved(_, bytes) | Owned::Datagram(_, bytes) => bytes.len(),
                _ => 0,
            }
    }
}

/// Writes records until the end of the capture.
fn write(
    writer: &mut Writer<impl Write>,
    records: &Receiver<Option<Box<Record>>>,
    queue: &Queue,
) -> io::Result<()> {
    // An error means that the program ends.
    while let Ok(Some(mut record)) = records.recv() {
        let is_end = loop {
            writer.record(&record)?;
            queue.written(record.size());
            match records.try_recv() {
                Ok(Some(next)) => record = next,
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        // So that the file can be read while the program runs.
        writer.flush()?;
        if is_end {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Observer as _;
    use crate::proxy::Observer as _;

    type Records = Receiver<Option<Box<Record>>>;

    const ADDRS: [&str; 2] = ["127.0.0.1:5", "127.0.0.1:80"];

    fn capture() -> (Recorder, Records) {
        let (records, received) = mpsc::channel();
        (Recorder { records, queue: Arc::default(), source: 0 }, received)
    }

    #[test]
    fn the_proxy_waits_while_the_queue_is_full_and_continues_when_it_is_not() {
        let (recorder, received) = capture();
        let queue = Arc::clone(&recorder.queue);
        let (resumed, resumes) = mpsc::channel();
        queue.lock().resume = Some(Box::new(move || resumed.send(()).unwrap()));
        let mut capture = ProxyCapture(recorder);
        let [client, server] = ADDRS.map(|addr| addr.parse().unwrap());
        let connection = Connection { number: 1, client, server, up: 0, down: 0 };
        let bytes = vec![0; QUEUE / 4];
        for _ in 0..4 {
            assert!(capture.is_ready());
            capture.observe(&connection, &Event::Moved(Flow::Up, &bytes));
        }
        assert!(!capture.is_ready());
        drop(capture);
        let mut file = Vec::new();
        write(&mut Writer::new(&mut file).unwrap(), &received, &queue).unwrap();
        assert_eq!(queue.lock().bytes, 0);
        assert_eq!(resumes.try_iter().count(), 1);
        assert!(file.len() > QUEUE);
    }

    #[test]
    fn a_client_waits_until_the_queue_has_space() {
        let (recorder, received) = capture();
        let queue = Arc::clone(&recorder.queue);
        let [addr, peer] = ADDRS.map(|addr| addr.parse().unwrap());
        let writer = thread::spawn(move || {
            let mut capture =
                NetCapture { recorder, local: Side::Client, blocks: true, addrs: HashMap::new() };
            capture.opened(0, addr, peer);
            for _ in 0..16 {
                capture.moved(0, peer, Direction::Sent, &vec![0; QUEUE / 4]);
            }
        });
        // It waits in the middle: at most the queue and one write have been recorded.
        while !queue.lock().is_awaited {
            thread::yield_now();
        }
        assert!(queue.lock().bytes <= QUEUE + QUEUE / 4);
        assert!(!writer.is_finished());
        let mut file = Vec::new();
        write(&mut Writer::new(&mut file).unwrap(), &received, &queue).unwrap();
        writer.join().unwrap();
        assert!(file.len() > 4 * QUEUE);
    }

    #[test]
    fn after_a_failure_no_source_waits() {
        let (recorder, _received) = capture();
        recorder.queue.lock().bytes = QUEUE;
        assert!(!recorder.is_ready());
        recorder.queue.fail();
        assert!(recorder.is_ready());
        recorder.wait();
    }
}
