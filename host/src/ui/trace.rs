use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use socklab_core::datagram::Datagram;

use super::messages::{Conversation, Dissectors, HEX, Row, flow};
use super::{Lines, say};
use crate::net::{Direction, Observer};
use crate::proxy::Side;
use crate::text::one_line;

pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const RECEIVED: Style = AnsiColor::Cyan.on_default();
pub(super) const SENT: Style = AnsiColor::Green.on_default();

/// Destination of the lines of a trace.
pub(crate) enum TraceOutput {
    /// Stderr.
    Stderr,
    /// The log of a server, each line with the address of the client.
    Lines(Lines),
    /// The log of a proxy, each line with the number of the connection if there is more than one. Everything has been
    /// written by the proxy, in both directions.
    Proxy(Lines),
}

/// Trace that shows each message on a line: time, direction, bytes, meaning.
///
/// A note after the meaning shows if one read contained several messages, or one message took several reads.
pub(crate) struct Trace {
    output: TraceOutput,
    /// The observed end of the connections.
    local: Side,
    dissectors: Dissectors,
    start: Instant,
    /// Whether there has been more than one connection.
    has_many: bool,
    connections: HashMap<usize, Conversation>,
}

impl Trace {
    pub(crate) fn new(output: TraceOutput, local: Side, dissectors: Dissectors) -> Self {
        let (start, connections) = (Instant::now(), HashMap::new());
        Self { output, local, dissectors, start, has_many: false, connections }
    }
}

impl Observer for Trace {
    fn moved(&mut self, connection: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]) {
        self.has_many |= connection > 1;
        let conversation = self.connections.entry(connection).or_insert_with(self.dissectors);
        let time = self.start.elapsed();
        let rows = conversation.moved(time, flow(self.local, direction), bytes);
        self.show(connection, peer, direction, time, &rows);
    }

    fn datagram(
        &mut self,
        connection: usize,
        _: SocketAddr,
        peer: SocketAddr,
        direction: Direction,
        datagram: Datagram<'_>,
    ) {
        let conversation = self.connections.entry(connection).or_insert_with(self.dissectors);
        let time = self.start.elapsed();
        let row = conversation.datagram(time, flow(self.local, direction), datagram);
        self.show(connection, peer, direction, time, &[row]);
    }

    fn note(&mut self, connection: usize, _: SocketAddr, peer: SocketAddr, text: &str) {
        let mut line = self.prefix(connection, peer);
        let time = self.start.elapsed().as_secs_f64();
        let _ = write!(line, "{time:>10.6} -- {DIM}{}{DIM:#}", one_line(text));
        self.write(line);
    }

    fn ended(&mut self, connection: usize, peer: SocketAddr, reset: Option<Direction>) {
        let conversation = self.connections.remove(&connection).unwrap_or_else(self.dissectors);
        if let Some(direction) = reset {
            let row = conversation.reset(flow(self.local, direction));
            self.show(connection, peer, direction, self.start.elapsed(), &[row]);
        }
    }
}

impl Trace {
    /// Writes rows as lines.
    fn show(
        &self,
        connection: usize,
        peer: SocketAddr,
        direction: Direction,
        time: Duration,
        rows: &[Row],
    ) {
        let is_proxy = matches!(self.output, TraceOutput::Proxy(_));
        let (style, arrow, call) = match direction {
            Direction::Received => (RECEIVED, "<-", if is_proxy { "write" } else { "read" }),
            Direction::Sent => (SENT, "->", "write"),
        };
        let time = time.as_secs_f64();
        for row in rows {
            let mut line = self.prefix(connection, peer);
            let (hex, meaning, note) = (row.hex(), &row.meaning, row.note(call));
            let _ = write!(line, "{time:>10.6} {style}{arrow}{style:#} ");
            let _ = write!(line, "{hex:<width$} {style}{meaning}{style:#}", width = HEX * 3 + 2);
            if !note.is_empty() {
                let _ = write!(line, " {DIM}[{note}]{DIM:#}");
            }
            self.write(line);
        }
    }

    /// Returns the start of a line, which says whose it is.
    fn prefix(&self, connection: usize, peer: SocketAddr) -> String {
        match self.output {
            TraceOutput::Lines(_) => format!("{peer} "),
            TraceOutput::Proxy(_) if self.has_many => format!("#{connection} "),
            // A client has one peer, but anyone can send it a datagram.
            TraceOutput::Stderr if connection > 0 => format!("{peer} "),
            TraceOutput::Proxy(_) | TraceOutput::Stderr => String::new(),
        }
    }

    fn write(&self, line: String) {
        match &self.output {
            TraceOutput::Stderr => say(line),
            TraceOutput::Lines(lines) | TraceOutput::Proxy(lines) => lines.line(line),
        }
    }
}
