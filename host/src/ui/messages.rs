//! Messages of a connection, with the reads and writes that transferred them, for traces and pictures.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::time::Duration;

use socklab_core::datagram::Datagram;
use socklab_core::echo::Messages;
use socklab_core::file;
use socklab_core::file::server::{Event, Server};
use socklab_core::machine::{Action, Input, Machine as _, Step, StreamEnd};
use socklab_core::wire::{Dissect, Dissected, LINE_BYTES, Transport};

use crate::net::{Direction, Quote};
use crate::proxy::{Flow, Side};
use crate::text::one_line;

/// Number of bytes at the start of a message that are kept.
pub(crate) const KEPT: usize = 256;
/// Number of bytes of a message that are shown in a line.
pub(crate) const HEX: usize = 16;
/// Name of the protocol without messages.
pub(crate) const RAW: &str = "raw";

/// Function that returns the dissectors of a new connection.
pub(crate) type Dissectors = fn() -> Conversation;

/// Defines the list of the protocols, and their dissectors.
macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        /// Names of the protocols that [`dissectors`] knows.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($module),)* RAW];

        /// Returns the dissectors of a protocol in its usual form.
        fn usual(protocol: &str) -> Dissectors {
            $(
                if protocol == stringify!($module) {
                    use socklab_core::$module::{ClientBytes, ServerBytes};
                    return Conversation::new::<ClientBytes, ServerBytes>;
                }
            )*
            Conversation::raw
        }

        /// Returns what carries a protocol. It is a stream for [`RAW`].
        pub(crate) fn transport(protocol: &str) -> Transport {
            $(
                if protocol == stringify!($module) {
                    return <socklab_core::$module::ClientBytes as Dissect>::TRANSPORT;
                }
            )*
            Transport::Stream
        }
    };
}

socklab_core::for_each_protocol!(protocols);

/// Returns the dissectors of the protocol with this name, one of [`NAMES`].
///
/// `header` is the size of the length field of echo in bytes, 2 or 4.
pub(crate) fn dissectors(protocol: &str, header: u8) -> Dissectors {
    match (protocol, header) {
        ("echo", 2) => Conversation::new::<Messages<2>, Messages<2>>,
        ("file", _) => Conversation::file,
        _ => usual(protocol),
    }
}

/// Returns the direction of a transfer that the `local` side observes.
pub(crate) fn flow(local: Side, direction: Direction) -> Flow {
    match (local, direction) {
        (Side::Client, Direction::Sent) | (Side::Server, Direction::Received) => Flow::Up,
        (Side::Client, Direction::Received) | (Side::Server, Direction::Sent) => Flow::Down,
    }
}

/// Dissectors of both directions of a connection, with the bytes of incomplete messages.
pub(crate) struct Conversation {
    up: Stream,
    down: Stream,
    /// Start of the request of a connection of `file`. It is removed once the reply has started.
    request: Option<Vec<u8>>,
    transport: Transport,
}

impl Conversation {
    /// Returns a conversation with the dissectors `U` for what the client sends and `D` for what the server sends.
    pub(crate) fn new<U, D>() -> Self
    where
        U: Dissect + Send + 'static,
        D: Dissect + Send + 'static,
    {
        Self { transport: U::TRANSPORT, ..Self::with(U::default(), D::default()) }
    }

    /// Returns what carries the messages.
    pub(crate) const fn transport(&self) -> Transport {
        self.transport
    }

    fn with(up: impl Dissector + 'static, down: impl Dissector + 'static) -> Self {
        let (up, down) = (Stream::new(Box::new(up)), Stream::new(Box::new(down)));
        Self { up, down, request: None, transport: Transport::Stream }
    }

    /// Returns a conversation whose messages are the reads and writes themselves.
    pub(crate) fn raw() -> Self {
        Self::with(Raw, Raw)
    }

    /// Returns a conversation whose messages are the datagrams themselves.
    pub(crate) fn raw_datagrams() -> Self {
        Self { transport: Transport::Datagrams, ..Self::raw() }
    }

    /// Returns a conversation of `file`. The form of a reply depends on its request.
    pub(crate) fn file() -> Self {
        let conversation = Self::new::<file::ClientBytes, file::ServerBytes>();
        Self { request: Some(Vec::new()), ..conversation }
    }

    /// Returns a conversation of `file` whose client sends a name without a newline.
    pub(crate) fn plain_file() -> Self {
        let conversation = Self::with(file::ClientBytes::bare(), file::ServerBytes::default());
        Self { request: Some(Vec::new()), ..conversation }
    }

    /// Returns what one read or write transferred: complete messages, and the start of an incomplete one. Without bytes
    /// it returns the end of the direction.
    pub(crate) fn moved(&mut self, time: Duration, flow: Flow, bytes: &[u8]) -> Vec<Row> {
        match flow {
            Flow::Up => {
                if let Some(request) = &mut self.request {
                    let room = LINE_BYTES.saturating_sub(request.len());
                    request.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                self.up.moved(time, bytes)
            }
            Flow::Down => {
                if let Some(request) = self.request.take() {
                    // The reply starts, so the request is complete. The server's machine parses it.
                    let step =
                        Server::new().step(Input::ended(&request, StreamEnd::Closed), &mut []);
                    if let Ok(Step { action: Action::Event(Event::Request(request)), .. }) = step {
                        self.down.dissector = Box::new(file::ServerBytes::to(request.form));
                    }
                }
                self.down.moved(time, bytes)
            }
        }
    }

    /// Returns the message of one datagram.
    pub(crate) fn datagram(&mut self, time: Duration, flow: Flow, datagram: Datagram<'_>) -> Row {
        match flow {
            Flow::Up => self.up.datagram(time, datagram),
            Flow::Down => self.down.datagram(time, datagram),
        }
    }

    /// Returns the reset of a connection in that direction.
    pub(crate) fn reset(&self, flow: Flow) -> Row {
        match flow {
            Flow::Up => self.up.end("reset"),
            Flow::Down => self.down.end("reset"),
        }
    }

    /// Removes the incomplete message at the end of a direction and returns it.
    pub(crate) fn take_partial(&mut self, flow: Flow) -> Option<Row> {
        match flow {
            Flow::Up => self.up.take_partial(),
            Flow::Down => self.down.take_partial(),
        }
    }
}

/// A message, a part of one, or the end of a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) what: What,
    /// Meaning in one line, safe for a terminal.
    pub(crate) meaning: String,
    /// First bytes of the message, at most [`KEPT`].
    pub(crate) bytes: Vec<u8>,
    /// Number of bytes of the message.
    pub(crate) length: usize,
    /// Reads or writes that transferred the message, in order.
    pub(crate) parts: Vec<Part>,
    /// Position in the last of these reads or writes, from 1, and the number of rows of it, if there are several.
    pub(crate) shared: Option<(usize, usize)>,
}

/// Kind of a [`Row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Message,
    /// The message is incomplete. It will have this number of bytes, if that is known.
    Partial(Option<usize>),
    /// The direction has ended.
    Closed,
}

/// Bytes of a message in one read or write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Number of the read or write in its direction, from 0.
    pub(crate) call: u64,
    /// Time of the read or write, from the start of the recording.
    pub(crate) time: Duration,
    /// Number of bytes of the read or write.
    pub(crate) size: usize,
    /// Position of the bytes in the read or write.
    pub(crate) range: Range<usize>,
}

impl Row {
    /// Returns the first bytes in hexadecimal, for one line.
    pub(crate) fn hex(&self) -> String {
        let mut text = String::new();
        for byte in self.bytes.iter().take(HEX) {
            let _ = write!(text, "{byte:02x} ");
        }
        if self.length > HEX {
            text.push_str("..");
        }
        text
    }

    /// Returns how the message was cut, and what it shared a read or write with. `call` is "read" or "write". The text
    /// is empty for a message in one read or write of its own.
    pub(crate) fn note(&self, call: &str) -> String {
        let mut note = match self.what {
            What::Partial(want) => {
                let of = want.map(|want| format!(" of {want}")).unwrap_or_default();
                format!("{}{of} bytes so far", self.length)
            }
            What::Message if self.parts.len() > 1 => {
                let parts: Vec<_> = self.parts.iter().map(|p| p.range.len().to_string()).collect();
                format!("in {} {call}s: {} bytes", parts.len(), parts.join(" + "))
            }
            What::Message | What::Closed => String::new(),
        };
        if let (Some((position, count)), Some(last)) = (self.shared, self.parts.last()) {
            let comma = if note.is_empty() { "" } else { ", " };
            let _ = write!(note, "{comma}{position} of {count} in a {call} of {}", last.size);
        }
        note
    }
}

/// Dissector of one direction, of any protocol: [`Dissect`] with messages as text.
trait Dissector: Send {
    fn dissect(&mut self, bytes: &[u8]) -> Dissected<String>;
}

impl<D: Dissect + Send> Dissector for D {
    fn dissect(&mut self, bytes: &[u8]) -> Dissected<String> {
        match Dissect::dissect(self, bytes) {
            Dissected::Message(n, message) => Dissected::Message(n, one_line(message.to_string())),
            Dissected::Partial(want) => Dissected::Partial(want),
            Dissected::Unterminated => Dissected::Unterminated,
        }
    }
}

/// Dissector that returns everything that it gets as a message.
#[derive(Default)]
struct Raw;

impl Dissect for Raw {
    type Message<'b> = RawMessage<'b>;

    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<RawMessage<'b>> {
        Dissected::Message(bytes.len(), RawMessage(bytes))
    }
}

struct RawMessage<'b>(&'b [u8]);

impl fmt::Display for RawMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} byte{s} {}", self.0.len(), Quote::new(self.0))
    }
}

/// One direction of a connection.
struct Stream {
    dissector: Box<dyn Dissector>,
    /// Bytes of an incomplete message.
    partial: Vec<u8>,
    /// Reads or writes that transferred them.
    parts: Vec<Part>,
    /// Number of bytes of the complete message, if it is known.
    want: Option<usize>,
    /// Number of reads or writes so far.
    calls: u64,
}

impl Stream {
    const fn new(dissector: Box<dyn Dissector>) -> Self {
        Self { dissector, partial: Vec::new(), parts: Vec::new(), want: None, calls: 0 }
    }

    fn moved(&mut self, time: Duration, bytes: &[u8]) -> Vec<Row> {
        if bytes.is_empty() {
            return vec![self.end("closed")];
        }
        let mut rows = Vec::new();
        let mut joined = std::mem::take(&mut self.partial);
        let mut parts = std::mem::take(&mut self.parts);
        joined.extend_from_slice(bytes);
        let mut rest = joined.as_slice();
        // Position in this read or write.
        let mut at = 0;
        let part = |range| Part { call: self.calls, time, size: bytes.len(), range };
        while !rest.is_empty() {
            match self.dissector.dissect(rest) {
                Dissected::Message(n, meaning) => {
                    let before: usize = parts.iter().map(|part| part.range.len()).sum();
                    let end = at + n - before;
                    parts.push(part(at..end));
                    at = end;
                    let (message, tail) = rest.split_at(n);
                    rows.push(Row {
                        what: What::Message,
                        meaning,
                        bytes: start(message),
                        length: n,
                        parts: std::mem::take(&mut parts),
                        shared: None,
                    });
                    rest = tail;
                }
                partial @ (Dissected::Partial(_) | Dissected::Unterminated) => {
                    self.want = match partial {
                        Dissected::Partial(want) => Some(want),
                        _ => None,
                    };
                    parts.push(part(at..bytes.len()));
                    self.partial = rest.to_vec();
                    self.parts = parts;
                    rows.push(self.partial());
                    break;
                }
            }
        }
        self.calls += 1;
        let count = rows.len();
        if count > 1 {
            for (i, row) in rows.iter_mut().enumerate() {
                row.shared = Some((i + 1, count));
            }
        }
        rows
    }

    fn datagram(&mut self, time: Duration, datagram: Datagram<'_>) -> Row {
        let Datagram { bytes, is_truncated } = datagram;
        let mut meaning = match bytes {
            // There is nothing to dissect.
            [] => "empty datagram".into(),
            bytes => match self.dissector.dissect(bytes) {
                Dissected::Message(_, meaning) => meaning,
                Dissected::Partial(_) | Dissected::Unterminated => "...".into(),
            },
        };
        if is_truncated {
            meaning.push_str(", truncated: the buffer is too small");
        }
        let range = 0..bytes.len();
        let parts = vec![Part { call: self.calls, time, size: bytes.len(), range }];
        self.calls += 1;
        let (length, bytes) = (bytes.len(), start(bytes));
        Row { what: What::Message, meaning, bytes, length, parts, shared: None }
    }

    /// Returns the end of the direction. `how` is "closed" or "reset".
    fn end(&self, how: &str) -> Row {
        let meaning = match (self.partial.len(), self.want) {
            (0, _) => how.to_owned(),
            (got, Some(want)) => format!("{how} after {got} of {want} bytes"),
            (got, None) => format!("{how} after {got} bytes without an end"),
        };
        Row { what: What::Closed, meaning, bytes: vec![], length: 0, parts: vec![], shared: None }
    }

    /// Returns the incomplete message.
    fn partial(&self) -> Row {
        Row {
            what: What::Partial(self.want),
            meaning: "...".into(),
            bytes: start(&self.partial),
            length: self.partial.len(),
            parts: self.parts.clone(),
            shared: None,
        }
    }

    fn take_partial(&mut self) -> Option<Row> {
        if self.partial.is_empty() {
            return None;
        }
        let row = self.partial();
        self.partial.clear();
        self.parts.clear();
        Some(row)
    }
}

fn start(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(KEPT)].to_vec()
}

#[cfg(test)]
mod tests {
    use socklab_core::{echo, math};

    use super::*;

    fn moved(conversation: &mut Conversation, flow: Flow, calls: &[&[u8]]) -> Vec<Row> {
        calls.iter().flat_map(|bytes| conversation.moved(Duration::ZERO, flow, bytes)).collect()
    }

    fn rows(protocol: &str, flow: Flow, calls: &[&[u8]]) -> Vec<(String, String)> {
        let rows = moved(&mut dissectors(protocol, 4)(), flow, calls);
        rows.into_iter().map(|row| (row.meaning.clone(), row.note("read"))).collect()
    }

    fn pair(meaning: &str, note: &str) -> (String, String) {
        (meaning.to_owned(), note.to_owned())
    }

    #[test]
    fn a_message_in_a_read_of_its_own_needs_no_note() {
        let question = math::Question { a: 12, b: 30 }.emit();
        assert_eq!(rows("math", Flow::Down, &[&question]), [pair("Q 12 + 30", "")]);
        assert_eq!(rows("math", Flow::Up, &[&[0, 0, 0, 42]]), [pair("answer 42", "")]);
    }

    #[test]
    fn two_messages_in_a_read_are_noted() {
        let two = [math::Question { a: 1, b: 2 }.emit(), math::Secret(*b"12345678").emit()];
        assert_eq!(
            rows("math", Flow::Down, &[two.as_flattened()]),
            [
                pair("Q 1 + 2", "1 of 2 in a read of 18"),
                pair("S secret \"12345678\"", "2 of 2 in a read of 18"),
            ]
        );
    }

    #[test]
    fn a_message_in_three_reads_is_noted() {
        let q = math::Question { a: 1, b: 2 }.emit();
        assert_eq!(
            rows("math", Flow::Down, &[&q[..2], &q[2..5], &q[5..], b"X!", b""]),
            [
                pair("...", "2 of 9 bytes so far"),
                pair("...", "5 of 9 bytes so far"),
                pair("Q 1 + 2", "in 3 reads: 2 + 3 + 4 bytes"),
                pair("not a message: it starts with 0x58 ('X')", ""),
                pair("closed", ""),
            ]
        );
    }

    #[test]
    fn a_long_payload_streams_through() {
        let message = b"\0\0\0\x05hel";
        assert_eq!(
            rows("echo", Flow::Down, &[message, b"lo\0\0", b""]),
            [
                pair("message of 5 \"hel\", 2 to come", ""),
                pair("2 more of it \"lo\"", "1 of 2 in a read of 4"),
                pair("...", "2 of 4 bytes so far, 2 of 2 in a read of 4"),
                pair("closed after 2 of 4 bytes", ""),
            ]
        );
    }

    #[test]
    fn each_message_has_its_range_of_each_read() {
        let mut conversation = dissectors("hello", 4)();
        let rows = moved(&mut conversation, Flow::Up, &[b"on", b"e\ntw", b"o\nthree\nf"]);
        let parts = |row: &Row| -> Vec<(u64, Range<usize>, usize)> {
            row.parts.iter().map(|part| (part.call, part.range.clone(), part.size)).collect()
        };
        let messages: Vec<_> = rows.iter().filter(|row| row.what == What::Message).collect();
        assert_eq!(parts(messages[0]), [(0, 0..2, 2), (1, 0..2, 4)]);
        assert_eq!(parts(messages[1]), [(1, 2..4, 4), (2, 0..2, 9)]);
        assert_eq!(parts(messages[2]), [(2, 2..8, 9)]);
        let partial = conversation.take_partial(Flow::Up).unwrap();
        assert_eq!((parts(&partial), partial.what), (vec![(2, 8..9, 9)], What::Partial(None)));
        assert_eq!(conversation.take_partial(Flow::Up), None);
        assert_eq!(conversation.take_partial(Flow::Down), None);
    }

    #[test]
    fn a_datagram_is_a_message_even_if_it_is_empty_or_truncated() {
        type Datagrams = socklab_core::udp::Datagrams;
        let mut conversation = Conversation::new::<Datagrams, Datagrams>();
        assert_eq!(conversation.transport(), Transport::Datagrams);
        let mut meaning = |bytes, is_truncated| {
            let datagram = Datagram { bytes, is_truncated };
            let row = conversation.datagram(Duration::ZERO, Flow::Up, datagram);
            assert_eq!((row.what, row.note("read").as_str()), (What::Message, ""));
            assert_eq!((row.length, row.parts.len()), (bytes.len(), 1));
            row.meaning
        };
        assert_eq!(meaning(b"", false), "empty datagram");
        assert_eq!(meaning(b"one", false), "datagram of 3 \"one\"");
        let truncated = "datagram of 3 \"two\", truncated: the buffer is too small";
        assert_eq!(meaning(b"two", true), truncated);
    }

    #[test]
    fn every_protocol_has_dissectors_and_raw_shows_bytes() {
        assert!(NAMES.contains(&"math") && NAMES.contains(&RAW));
        for name in NAMES {
            let rows = rows(name, Flow::Up, &[b"\x1b<b>\n\n\n\n"]);
            assert!(rows.iter().all(|(meaning, _)| !meaning.contains('\x1b')), "{name}: {rows:?}");
        }
        assert_eq!(rows(RAW, Flow::Up, &[b"G\xff"]), [pair("2 bytes \"G\\xff\"", "")]);
        assert_eq!(rows(RAW, Flow::Up, &[b"G"]), [pair("1 byte \"G\"", "")]);
    }

    #[test]
    fn echo_has_two_sizes_of_the_length() {
        let rows = moved(&mut dissectors("echo", 2)(), Flow::Up, &[b"\0\x02hi"]);
        assert_eq!(rows[0].meaning, "message of 2 \"hi\"");
        let type_of = echo::Messages::<4>::default();
        assert_eq!(Dissector::dissect(&mut { type_of }, b"\0\0"), Dissected::Partial(4));
    }

    #[test]
    fn the_reply_of_file_has_the_form_of_its_request() {
        let reply = |request: &[u8]| {
            let mut conversation = Conversation::file();
            moved(&mut conversation, Flow::Up, &[request]);
            moved(&mut conversation, Flow::Down, &[b"hello"])[0].meaning.clone()
        };
        let (plain, checked) = (reply(b"notes.txt\n"), reply(b"notes.txt\0v1\x000\n"));
        assert_ne!(plain, checked);
        assert_eq!(plain, "5 bytes of the file");
        let mut bare = Conversation::plain_file();
        assert_eq!(moved(&mut bare, Flow::Up, &[b"notes.txt"])[0].what, What::Message);
    }
}
