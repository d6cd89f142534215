//! Recording of what happened on connections, in order, for a picture or a report.
//!
//! ```text
//! let mut recording = Recording::new(Observed::Side(Side::Client), dissectors("math", 4));
//! recording.record(1, &Event::Connected);
//! recording.record(1, &Event::Moved(Flow::Down, b"Q\0\0\0\x01\0\0\0\x02"));
//! recording.record(1, &Event::Ended);
//! for item in recording.items() { ... }
//! ```
//!
//! A recording has a limited size. It keeps the first and the last items, and counts what it drops between them.

mod observers;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socklab_core::datagram::Datagram;
use socklab_core::wire::Transport;

pub(crate) use self::observers::Recorder;
use super::ladder::rounded;
use super::messages::{Conversation, Dissectors, Row, What};
use crate::proxy::{Flow, Side};
use crate::text::one_line;

/// Number of items at the start, and at the end, that a recording keeps by default.
pub(crate) const HALF: usize = 1000;
/// Maximum number of characters of a meaning or a note.
const TEXT_MAX: usize = 400;
/// Maximum number of reads or writes of a message that are kept.
const PARTS_MAX: usize = 64;

/// Program that made the reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// This side: it wrote what it sent and read what it received.
    Side(Side),
    /// A proxy. Only its writes are recorded.
    Proxy,
}

impl Observed {
    /// Returns the name of the system call that transferred bytes in this direction: "read" or "write".
    pub(crate) fn call(self, flow: Flow) -> &'static str {
        match self {
            Self::Side(side) if flow.to() == side => "read",
            Self::Side(_) | Self::Proxy => "write",
        }
    }
}

/// Something that happened on a connection.
#[derive(Debug)]
pub(crate) enum Event<'h> {
    /// The client asked for the connection.
    Opened { client: Option<SocketAddr>, server: Option<SocketAddr> },
    /// Datagrams are exchanged between these addresses. They have no connection.
    Ends { client: Option<SocketAddr>, server: Option<SocketAddr> },
    /// The connection was established.
    Connected,
    /// A datagram was transferred.
    Datagram(Flow, Datagram<'h>),
    /// A proxy has passed a datagram, or has lost it. The text says more.
    Passed { flow: Flow, datagram: Datagram<'h>, is_lost: bool, note: &'h str },
    /// One read or write transferred these bytes.
    Moved(Flow, &'h [u8]),
    /// A direction ended in an orderly way.
    Closed(Flow),
    /// This side reset the connection.
    Reset(Side),
    /// A fault stopped a direction: no more bytes pass.
    Stalled(Flow),
    /// A fault was injected in this direction.
    Fault(Flow, &'h str),
    /// Anything else, in words.
    Note(&'h str),
    /// The connection is over. This is its last event.
    Ended,
}

/// Kept item of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Time since the start of the recording.
    pub(crate) time: Duration,
    /// Number of the connection.
    pub(crate) connection: u64,
    pub(crate) kind: Kind,
}

/// Kind of an [`Item`]. All texts are one line and safe for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Opened,
    Connected,
    /// A message, or an incomplete one at the end of a direction, and the number of reads or writes that transferred it.
    /// Its row has at most the first 63 of them, and the last.
    Message(Flow, Row, usize),
    /// A datagram that a proxy has passed or lost, and what happened to it.
    Datagram {
        flow: Flow,
        row: Row,
        is_lost: bool,
        note: String,
    },
    /// A direction ended in an orderly way, and why that is unexpected: it cut a message.
    Closed(Flow, Option<String>),
    Reset(Side),
    Stalled(Flow),
    Fault(Flow, String),
    Note(String),
}

/// A connection of a recording.
pub(crate) struct Connection {
    pub(crate) client: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
    /// Time of its first and last event.
    pub(crate) first: Duration,
    pub(crate) last: Duration,
    /// Number of bytes from the client and from the server.
    pub(crate) bytes: [u64; 2],
    /// Number of messages from the client and from the server.
    pub(crate) messages: [u64; 2],
    /// Number of items that were dropped.
    pub(crate) dropped: u64,
    kept: usize,
    /// `None` once it is over.
    conversation: Option<Conversation>,
}

/// What happened on connections, in order.
pub(crate) struct Recording {
    observed: Observed,
    dissectors: Dissectors,
    start: Instant,
    half: usize,
    first: Vec<Item>,
    last: VecDeque<Item>,
    connections: BTreeMap<u64, Connection>,
    /// Number of all messages, and of all bytes.
    messages: u64,
    bytes: u64,
    dropped: u64,
    dropped_connections: u64,
}

impl Recording {
    /// Returns an empty recording that starts now. [`dissectors`](super::messages::dissectors) finds the dissectors of a
    /// protocol.
    pub(crate) fn new(observed: Observed, dissectors: Dissectors) -> Self {
        Self {
            observed,
            dissectors,
            start: Instant::now(),
            half: HALF,
            first: Vec::new(),
            last: VecDeque::new(),
            connections: BTreeMap::new(),
            messages: 0,
            bytes: 0,
            dropped: 0,
            dropped_connections: 0,
        }
    }

    /// Limits the number of items to the first and the last `half`.
    #[cfg(test)]
    pub(crate) fn half(mut self, half: usize) -> Self {
        self.half = half.max(1);
        self
    }

    /// Sets the dissectors of the connections from now on.
    pub(crate) fn set_dissectors(&mut self, dissectors: Dissectors) {
        self.dissectors = dissectors;
    }

    /// Adds what happens now. Connections have any numbers; a number is not used again.
    pub(crate) fn record(&mut self, connection: u64, event: &Event<'_>) {
        self.record_at(self.start.elapsed(), connection, event);
    }

    /// Adds what happened at this time. Times do not decrease.
    pub(crate) fn record_at(&mut self, time: Duration, number: u64, event: &Event<'_>) {
        let dissectors = self.dissectors;
        let connection = self.connections.entry(number).or_insert_with(|| Connection {
            client: None,
            server: None,
            first: time,
            last: time,
            bytes: [0; 2],
            messages: [0; 2],
            dropped: 0,
            kept: 0,
            conversation: Some(dissectors()),
        });
        connection.last = time;
        let mut kinds = Vec::new();
        match event {
            Event::Opened { client, server } => {
                (connection.client, connection.server) = (*client, *server);
                kinds.push(Kind::Opened);
            }
            Event::Ends { client, server } => {
                (connection.client, connection.server) = (*client, *server);
            }
            Event::Connected => kinds.push(Kind::Connected),
            Event::Datagram(flow, datagram) => {
                connection.bytes[index(*flow)] += datagram.bytes.len() as u64;
                self.bytes += datagram.bytes.len() as u64;
                connection.messages[index(*flow)] += 1;
                self.messages += 1;
                let row = connection.conversation.as_mut();
                let row = row.map(|c| c.datagram(time, *flow, *datagram));
                kinds.extend(row.map(|row| message(*flow, row)));
            }
            Event::Passed { flow, datagram, is_lost, note } => {
                if !is_lost {
                    connection.bytes[index(*flow)] += datagram.bytes.len() as u64;
                    self.bytes += datagram.bytes.len() as u64;
                    connection.messages[index(*flow)] += 1;
                    self.messages += 1;
                }
                let row = connection.conversation.as_mut();
                if let Some(row) = row.map(|c| c.datagram(time, *flow, *datagram)) {
                    let row = Row { meaning: shortened(&row.meaning), ..row };
                    let (flow, is_lost, note) = (*flow, *is_lost, shortened(note));
                    kinds.push(Kind::Datagram { flow, row, is_lost, note });
                }
            }
            Event::Moved(flow, bytes) if !bytes.is_empty() => {
                connection.bytes[index(*flow)] += bytes.len() as u64;
                self.bytes += bytes.len() as u64;
                let rows = connection.conversation.as_mut().map(|c| c.moved(time, *flow, bytes));
                for row in rows.unwrap_or_default() {
                    if row.what == What::Message {
                        connection.messages[index(*flow)] += 1;
                        self.messages += 1;
                        kinds.push(message(*flow, row));
                    }
                }
            }
            Event::Moved(flow, _) | Event::Closed(flow) => {
                let mut reason = None;
                if let Some(conversation) = &mut connection.conversation {
                    let rows = conversation.moved(time, *flow, &[]);
                    if let Some(partial) = conversation.take_partial(*flow) {
                        reason = rows.first().map(|row| row.meaning.clone());
                        kinds.push(message(*flow, partial));
                    }
                }
                kinds.push(Kind::Closed(*flow, reason));
            }
            Event::Reset(side) => {
                connection.take_partials(&mut kinds);
                kinds.push(Kind::Reset(*side));
            }
            Event::Stalled(flow) => kinds.push(Kind::Stalled(*flow)),
            Event::Fault(flow, text) => kinds.push(Kind::Fault(*flow, shortened(text))),
            Event::Note(text) => kinds.push(Kind::Note(shortened(text))),
            Event::Ended => {
                connection.take_partials(&mut kinds);
                connection.conversation = None;
            }
        }
        connection.kept += kinds.len();
        for kind in kinds {
            self.push(Item { time, connection: number, kind });
        }
        self.forget(number);
    }

    fn push(&mut self, item: Item) {
        if self.first.len() < self.half {
            self.first.push(item);
            return;
        }
        self.last.push_back(item);
        if self.last.len() > self.half
            && let Some(item) = self.last.pop_front()
        {
            self.dropped += 1;
            if let Some(connection) = self.connections.get_mut(&item.connection) {
                connection.kept -= 1;
                connection.dropped += 1;
            }
            self.forget(item.connection);
        }
    }

    /// Removes a connection that is over and has no more items.
    fn forget(&mut self, number: u64) {
        if let Some(connection) = self.connections.get(&number)
            && connection.kept == 0
            && connection.conversation.is_none()
        {
            self.connections.remove(&number);
            self.dropped_connections += 1;
        }
    }

    /// Returns the next number of a connection, if they are numbered from 1. Those that were dropped count too.
    pub(crate) fn next_number(&self) -> u64 {
        self.connections.len() as u64 + self.dropped_connections + 1
    }

    /// Adds the incomplete messages of a connection, before an event that says why they are.
    pub(crate) fn flush(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let mut kinds = Vec::new();
        connection.take_partials(&mut kinds);
        connection.kept += kinds.len();
        let time = self.start.elapsed();
        for kind in kinds {
            self.push(Item { time, connection: number, kind });
        }
    }

    /// Adds the incomplete messages of all connections. Nothing may be recorded afterwards.
    pub(crate) fn finish(&mut self) {
        let mut partials = Vec::new();
        for (number, connection) in &mut self.connections {
            let mut kinds = Vec::new();
            connection.take_partials(&mut kinds);
            connection.kept += kinds.len();
            let time = connection.last;
            partials.extend(kinds.into_iter().map(|kind| Item { time, connection: *number, kind }));
        }
        for item in partials {
            self.push(item);
        }
    }

    /// Returns who made the reads and writes.
    pub(crate) const fn observed(&self) -> Observed {
        self.observed
    }

    /// Returns the word for what has a number: datagrams have no connection.
    pub(crate) fn noun(&self) -> &'static str {
        match (self.dissectors)().transport() {
            Transport::Datagrams => "conversation",
            _ => "connection",
        }
    }

    /// Returns the kept items in order. Those that were dropped are missing after the first [`Recording::gap`] items.
    pub(crate) fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.first.iter().chain(&self.last)
    }

    /// Returns the number of items before those that were dropped.
    pub(crate) const fn gap(&self) -> usize {
        self.first.len()
    }

    /// Returns the connections of the items, with their numbers.
    pub(crate) const fn connections(&self) -> &BTreeMap<u64, Connection> {
        &self.connections
    }

    /// Returns the size of the recording in words: connections, messages, bytes, and the time of the last event.
    pub(crate) fn facts(&self) -> [String; 4] {
        let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let connections = self.connections.len() as u64 + self.dropped_connections;
        let end = self.connections.values().map(|connection| connection.last).max();
        [
            count(connections, self.noun()),
            count(self.messages, "message"),
            count(self.bytes, "byte"),
            rounded(end.unwrap_or_default()),
        ]
    }

    /// Returns the number of items that were dropped.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of connections whose items were all dropped.
    pub(crate) const fn dropped_connections(&self) -> u64 {
        self.dropped_connections
    }
}

impl Connection {
    /// Takes the incomplete messages of both directions.
    fn take_partials(&mut self, kinds: &mut Vec<Kind>) {
        let Some(conversation) = &mut self.conversation else { return };
        for flow in [Flow::Up, Flow::Down] {
            if let Some(partial) = conversation.take_partial(flow) {
                kinds.push(message(flow, partial));
            }
        }
    }
}

const fn index(flow: Flow) -> usize {
    match flow {
        Flow::Up => 0,
        Flow::Down => 1,
    }
}

fn message(flow: Flow, mut row: Row) -> Kind {
    row.meaning = shortened(&row.meaning);
    let count = row.parts.len();
    if count > PARTS_MAX {
        let last = row.parts.pop();
        row.parts.truncate(PARTS_MAX - 1);
        row.parts.extend(last);
    }
    row.parts.shrink_to_fit();
    Kind::Message(flow, row, count)
}

/// Returns a text as one line of limited length.
fn shortened(text: &str) -> String {
    let mut text = one_line(text);
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Direction;
    use crate::ui::messages::dissectors;

    const fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    fn recording(protocol: &str) -> Recording {
        Recording::new(Observed::Proxy, dissectors(protocol, 4))
    }

    fn shown(recording: &Recording) -> Vec<String> {
        let text = |item: &Item| match &item.kind {
            Kind::Message(flow, row, calls) => {
                format!("{flow:?} {} {:?} in {calls}", row.meaning, row.what)
            }
            kind => format!("{kind:?}"),
        };
        recording.items().map(|item| format!("#{} {}", item.connection, text(item))).collect()
    }

    #[test]
    fn complete_messages_are_recorded_once_with_their_parts() {
        let mut recording = recording("hello");
        recording.record_at(ms(1), 1, &Event::Connected);
        recording.record_at(ms(2), 1, &Event::Moved(Flow::Up, b"on"));
        recording.record_at(ms(4), 1, &Event::Moved(Flow::Up, b"e\ntwo\nth"));
        recording.record_at(ms(5), 1, &Event::Closed(Flow::Up));
        recording.record_at(ms(6), 1, &Event::Ended);
        assert_eq!(
            shown(&recording),
            [
                "#1 Connected",
                "#1 Up \"one\" Message in 2",
                "#1 Up \"two\" Message in 1",
                "#1 Up ... Partial(None) in 1",
                "#1 Closed(Up, Some(\"closed after 2 bytes without an end\"))",
            ]
        );
        let connection = &recording.connections()[&1];
        assert_eq!((connection.bytes, connection.messages), ([10, 0], [2, 0]));
        assert_eq!((connection.first, connection.last), (ms(1), ms(6)));
        assert!(connection.conversation.is_none());
    }

    #[test]
    fn datagrams_are_messages_and_have_no_connection() {
        type Datagrams = socklab_core::udp::Datagrams;
        let dissectors = Conversation::new::<Datagrams, Datagrams>;
        let recorder = Recorder::new(Recording::new(Observed::Side(Side::Client), dissectors));
        let mut observer = recorder.observer(Side::Client);
        let [local, server] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        observer.datagram(0, local, server, Direction::Sent, Datagram::whole(b"one"));
        observer.note(0, local, server, "no reply within 1s, sent again");
        observer.datagram(0, local, server, Direction::Received, Datagram::whole(b""));
        observer.ended(0, server, None);
        let recording = recorder.lock();
        let expected = [
            "#1 Up datagram of 3 \"one\" Message in 1",
            "#1 Note(\"no reply within 1s, sent again\")",
            "#1 Down empty datagram Message in 1",
        ];
        assert_eq!(shown(&recording), expected);
        let connection = &recording.connections()[&1];
        assert_eq!((connection.bytes, connection.messages), ([3, 0], [1, 1]));
        assert_eq!((connection.client, connection.server), (Some(local), Some(server)));
        assert_eq!(recording.facts()[0], "1 conversation");
    }

    #[test]
    fn a_long_recording_keeps_its_start_and_its_end() {
        let mut recording = recording("hello").half(2);
        for number in 1..=10 {
            recording.record(number, &Event::Moved(Flow::Up, b"x\n"));
            if number != 5 {
                recording.record(number, &Event::Ended);
            }
        }
        let connections: Vec<u64> = recording.items().map(|item| item.connection).collect();
        assert_eq!((connections, recording.gap()), (vec![1, 2, 9, 10], 2));
        assert_eq!((recording.dropped(), recording.dropped_connections()), (6, 5));
        // This one is still open.
        assert_eq!(recording.connections()[&5].dropped, 1);
        assert_eq!(recording.next_number(), 11);
    }

    #[test]
    fn texts_and_parts_are_limited() {
        let mut recording = recording("raw");
        recording.record(1, &Event::Note(&"\u{202e}x".repeat(1000)));
        let mut lines = Recording::new(Observed::Side(Side::Server), dissectors("hello", 4));
        for _ in 0..300 {
            lines.record(1, &Event::Moved(Flow::Up, b"x"));
        }
        lines.record(1, &Event::Moved(Flow::Up, b"\n"));
        let Some(Item { kind: Kind::Note(text), .. }) = recording.items().next() else { panic!() };
        assert!(text.starts_with("\\u{202e}x") && text.len() == TEXT_MAX + 3, "{text}");
        let Some(Item { kind: Kind::Message(_, row, calls), .. }) = lines.items().next() else {
            panic!()
        };
        assert_eq!((row.parts.len(), *calls), (PARTS_MAX, 301));
        assert_eq!(row.parts.last().unwrap().call, 300);
        assert!(row.bytes.len() <= crate::ui::messages::KEPT);
    }

    #[test]
    fn incomplete_messages_are_recorded_at_the_end() {
        let mut recording = recording("math");
        recording.record(1, &Event::Moved(Flow::Up, &[0, 0]));
        recording.record(1, &Event::Moved(Flow::Down, b"Q"));
        assert_eq!(recording.items().count(), 0);
        recording.finish();
        recording.finish();
        let expected = ["#1 Up ... Partial(Some(4)) in 1", "#1 Down ... Partial(Some(9)) in 1"];
        assert_eq!(shown(&recording), expected);
    }

    #[test]
    fn a_server_that_reuses_its_numbers_has_new_connections() {
        let recorder =
            Recorder::new(Recording::new(Observed::Side(Side::Server), dissectors("hello", 4)));
        let mut observer = recorder.observer(Side::Server);
        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for port in [1, 2] {
            observer.moved(0, peer(port), Direction::Received, b"hi\n");
            observer.ended(0, peer(port), None);
        }
        let recording = recorder.lock();
        let clients: Vec<_> = recording.connections().values().map(|c| c.client).collect();
        assert_eq!(clients, [Some(peer(1)), Some(peer(2))]);
        let observed = recording.observed();
        assert_eq!((observed.call(Flow::Up), observed.call(Flow::Down)), ("read", "write"));
    }
}
