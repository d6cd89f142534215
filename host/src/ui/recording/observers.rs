//! Observers that add what clients, servers and proxies do to a recording.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socklab_core::datagram::Datagram;
use socklab_core::wire::Transport;

use super::super::datagrams::DatagramRecorder;
use super::super::messages::flow;
use super::{Event, Recording};
use crate::faults::Ending;
use crate::net::{self, Direction};
use crate::proxy::{self, Ended, Side};

/// Shared recording, for observers and for the thread that writes it.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Mutex<Recording>>);

impl Recorder {
    pub(crate) fn new(recording: Recording) -> Self {
        Self(Arc::new(Mutex::new(recording)))
    }

    /// Returns the recording. It is complete after a panic too, except for one item.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an observer of the connections of a client or a server.
    pub(crate) fn observer(&self, local: Side) -> Box<dyn net::Observer> {
        Box::new(NetObserver { recorder: self.clone(), local, numbers: HashMap::new() })
    }

    /// Returns an observer of the datagrams of a proxy.
    pub(crate) fn datagram_proxy_observer(&self) -> Box<dyn proxy::datagrams::Observer> {
        Box::new(DatagramRecorder(self.clone()))
    }

    /// Returns an observer of the connections of a proxy.
    pub(crate) fn proxy_observer(&self) -> Box<dyn proxy::Observer> {
        Box::new(ProxyObserver(self.clone()))
    }
}

struct NetObserver {
    recorder: Recorder,
    local: Side,
    /// Number of each connection in the recording. A server uses its own numbers again.
    numbers: HashMap<usize, u64>,
}

impl NetObserver {
    /// Returns the number of a connection, or of a conversation in datagrams. It is new if this is the first event.
    fn number(
        &mut self,
        recording: &mut Recording,
        key: usize,
        transport: Transport,
        local: Option<SocketAddr>,
        peer: SocketAddr,
    ) -> u64 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = recording.next_number();
        self.numbers.insert(key, number);
        let (client, server) = match self.local {
            Side::Client => (local, Some(peer)),
            Side::Server => (Some(peer), local),
        };
        let event = match transport {
            Transport::Datagrams => Event::Ends { client, server },
            _ => Event::Opened { client, server },
        };
        recording.record(number, &event);
        number
    }
}

impl net::Observer for NetObserver {
    fn datagram(
        &mut self,
        key: usize,
        local: SocketAddr,
        peer: SocketAddr,
        direction: Direction,
        datagram: Datagram<'_>,
    ) {
        let recorder = self.recorder.clone();
        let mut recording = recorder.lock();
        let number = self.number(&mut recording, key, Transport::Datagrams, Some(local), peer);
        recording.record(number, &Event::Datagram(flow(self.local, direction), datagram));
    }

    fn note(&mut self, key: usize, local: SocketAddr, peer: SocketAddr, text: &str) {
        let recorder = self.recorder.clone();
        let mut recording = recorder.lock();
        let number = self.number(&mut recording, key, Transport::Datagrams, Some(local), peer);
        recording.record(number, &Event::Note(text));
    }

    fn opened(&mut self, key: usize, local: SocketAddr, peer: SocketAddr) {
        let recorder = self.recorder.clone();
        let mut recording = recorder.lock();
        self.numbers.remove(&key);
        self.number(&mut recording, key, Transport::Stream, Some(local), peer);
    }

    fn moved(&mut self, key: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]) {
        let recorder = self.recorder.clone();
        let mut recording = recorder.lock();
        let number = self.number(&mut recording, key, Transport::Stream, None, peer);
        recording.record(number, &Event::Moved(flow(self.local, direction), bytes));
    }

    fn ended(&mut self, key: usize, peer: SocketAddr, reset: Option<Direction>) {
        let recorder = self.recorder.clone();
        let mut recording = recorder.lock();
        let number = self.number(&mut recording, key, Transport::Stream, None, peer);
        if let Some(direction) = reset {
            recording.record(number, &Event::Reset(flow(self.local, direction).from()));
        }
        recording.record(number, &Event::Ended);
        self.numbers.remove(&key);
    }
}

struct ProxyObserver(Recorder);

impl proxy::Observer for ProxyObserver {
    fn observe(&mut self, connection: &proxy::Connection, event: &proxy::Event<'_>) {
        let mut recording = self.0.lock();
        if matches!(event, proxy::Event::Ended(_)) {
            recording.flush(connection.number);
        }
        let mut record = |event: Event<'_>| recording.record(connection.number, &event);
        match event {
            proxy::Event::Opened => record(Event::Opened {
                client: Some(connection.client),
                server: Some(connection.server),
            }),
            proxy::Event::Retried(addr, e) => {
                record(Event::Note(&format!("cannot connect to {addr}: {}", net::reason(e))));
            }
            proxy::Event::Connected => record(Event::Connected),
            proxy::Event::Moved(flow, bytes) => record(Event::Moved(*flow, bytes)),
            proxy::Event::Closed(flow) => record(Event::Closed(*flow)),
            proxy::Event::Stalled(flow) => record(Event::Stalled(*flow)),
            proxy::Event::Flipped(flow, _)
            | proxy::Event::Unflipped(flow, _)
            | proxy::Event::Undelivered(flow, _) => {
                let text = event.fault().unwrap_or_default();
                record(Event::Fault(*flow, &text));
            }
            proxy::Event::Ended(ended) => {
                let text = ended.to_string();
                match ended {
                    Ended::Closed(_) => {}
                    Ended::Reset(side) => record(Event::Reset(*side)),
                    Ended::Fault(flow, Ending::Close | Ending::Reset | Ending::Stall) => {
                        record(Event::Fault(*flow, &text));
                    }
                    Ended::Unreachable(_) => {
                        let text = format!("cannot connect to the server: {text}");
                        record(Event::Note(&text));
                    }
                    Ended::TimedOut | Ended::Stopped => record(Event::Note(&text)),
                }
                record(Event::Ended);
            }
        }
    }

    /// Each message takes about a microsecond, and a message may have four bytes.
    fn read_max(&self) -> usize {
        16 * 1024
    }
}
