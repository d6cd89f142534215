use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use socklab_core::wire::{Dissect, Dissected};

use super::{Lines, say};
use crate::net::{Direction, Observer};
use crate::text::one_line;

/// Number of bytes of a message that are shown in hex.
const HEX: usize = 16;

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
/// `R` dissects received data, `S` sent data. A note after the meaning shows if one read contained several messages, or
/// one message took several reads.
pub(crate) struct Trace<R, S> {
    output: TraceOutput,
    start: Instant,
    /// Whether there has been more than one connection.
    has_many: bool,
    connections: HashMap<usize, (Side<R>, Side<S>)>,
}

#[derive(Default)]
struct Side<D> {
    dissector: D,
    /// Bytes of an incomplete message.
    partial: Vec<u8>,
    /// Number of bytes of it in each read or write.
    calls: Vec<usize>,
    /// Number of bytes of the complete message, if it is known.
    want: Option<usize>,
}

impl<R: Dissect, S: Dissect> Trace<R, S> {
    pub(crate) fn new(output: TraceOutput) -> Self {
        Self { output, start: Instant::now(), has_many: false, connections: HashMap::new() }
    }
}

impl<R: Dissect, S: Dissect> Trace<R, S> {
    /// Replaces the dissectors of a connection.
    pub(crate) fn set_dissectors(
        &mut self,
        connection: usize,
        received: Option<R>,
        sent: Option<S>,
    ) {
        let (r, s) = self.connections.entry(connection).or_default();
        if let Some(received) = received {
            r.dissector = received;
        }
        if let Some(sent) = sent {
            s.dissector = sent;
        }
    }
}

impl<R: Dissect + Send, S: Dissect + Send> Observer for Trace<R, S> {
    fn moved(&mut self, connection: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]) {
        self.has_many |= connection > 1;
        let (received, sent) = self.connections.entry(connection).or_default();
        let mut rows = Vec::new();
        let (style, arrow) = match direction {
            Direction::Received => {
                let is_read = !matches!(self.output, TraceOutput::Proxy(_));
                received.dissect(bytes, if is_read { "read" } else { "write" }, &mut rows);
                (RECEIVED, "<-")
            }
            Direction::Sent => {
                sent.dissect(bytes, "write", &mut rows);
                (SENT, "->")
            }
        };
        let time = self.start.elapsed().as_secs_f64();
        for Row { hex, meaning, note } in rows {
            let mut line = String::new();
            match self.output {
                TraceOutput::Lines(_) => {
                    let _ = write!(line, "{peer} ");
                }
                TraceOutput::Proxy(_) if self.has_many => {
                    let _ = write!(line, "#{connection} ");
                }
                TraceOutput::Proxy(_) | TraceOutput::Stderr => {}
            }
            let _ = write!(line, "{time:>10.6} {style}{arrow}{style:#} ");
            let _ = write!(line, "{hex:<width$} {style}{meaning}{style:#}", width = HEX * 3 + 2);
            if !note.is_empty() {
                let _ = write!(line, " {DIM}[{note}]{DIM:#}");
            }
            match &self.output {
                TraceOutput::Stderr => say(line),
                TraceOutput::Lines(lines) | TraceOutput::Proxy(lines) => lines.line(line),
            }
        }
    }

    fn ended(&mut self, connection: usize, _: SocketAddr) {
        self.connections.remove(&connection);
    }
}

/// Parts of a line after the time and the direction.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    hex: String,
    meaning: String,
    note: String,
}

impl<D: Dissect> Side<D> {
    /// Adds the rows of one read or write. `call` is its name: "read" or "write".
    fn dissect(&mut self, bytes: &[u8], call: &str, rows: &mut Vec<Row>) {
        if bytes.is_empty() {
            let meaning = match (self.partial.len(), self.want) {
                (0, _) => "closed".to_owned(),
                (got, Some(want)) => format!("closed after {got} of {want} bytes"),
                (got, None) => format!("closed after {got} bytes without an end"),
            };
            rows.push(Row { hex: String::new(), meaning, note: String::new() });
            return;
        }
        let first_row = rows.len();
        let mut joined = std::mem::take(&mut self.partial);
        let mut calls = std::mem::take(&mut self.calls);
        calls.push(bytes.len());
        joined.extend_from_slice(bytes);
        let mut rest = joined.as_slice();
        while !rest.is_empty() {
            match self.dissector.dissect(rest) {
                Dissected::Message(n, message) => {
                    // A message in one call needs no note here. If it shares the call, one is added below.
                    let note = if calls.len() > 1 {
                        // The last call counts only up to the end of the message.
                        let before: usize = calls[..calls.len() - 1].iter().sum();
                        let mut parts: Vec<String> =
                            calls[..calls.len() - 1].iter().map(usize::to_string).collect();
                        parts.push((n - before).to_string());
                        format!("in {} {call}s: {} bytes", calls.len(), parts.join(" + "))
                    } else {
                        String::new()
                    };
                    let (message_bytes, tail) = rest.split_at(n);
                    let hex = hex(message_bytes);
                    let meaning = one_line(message.to_string());
                    rows.push(Row { hex, meaning, note });
                    calls = vec![];
                    rest = tail;
                }
                partial @ (Dissected::Partial(_) | Dissected::Unterminated) => {
                    self.want = match partial {
                        Dissected::Partial(want) => Some(want),
                        _ => None,
                    };
                    let of = self.want.map(|want| format!(" of {want}")).unwrap_or_default();
                    let note = format!("{}{of} bytes so far", rest.len());
                    rows.push(Row { hex: hex(rest), meaning: "...".into(), note });
                    self.partial = rest.to_vec();
                    // All calls of this message so far, or the rest of the last call after a complete message.
                    self.calls = if calls.is_empty() { vec![rest.len()] } else { calls };
                    break;
                }
            }
        }
        let count = rows.len() - first_row;
        if count > 1 {
            for (i, row) in rows[first_row..].iter_mut().enumerate() {
                let comma = if row.note.is_empty() { "" } else { ", " };
                let of = format!("{comma}{} of {count} in a {call} of {}", i + 1, bytes.len());
                row.note.push_str(&of);
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(HEX) {
        let _ = write!(text, "{byte:02x} ");
    }
    if bytes.len() > HEX {
        text.push_str("..");
    }
    text
}

#[cfg(test)]
mod tests {
    use socklab_core::{echo, math};

    use super::*;

    fn rows<D: Dissect>(calls: &[&[u8]]) -> Vec<(String, String)> {
        let (mut side, mut rows) = (Side::<D>::default(), Vec::new());
        for bytes in calls {
            side.dissect(bytes, "read", &mut rows);
        }
        rows.into_iter().map(|row| (row.meaning, row.note)).collect()
    }

    fn pair(meaning: &str, note: &str) -> (String, String) {
        (meaning.to_owned(), note.to_owned())
    }

    #[test]
    fn a_message_in_a_read_of_its_own_needs_no_note() {
        let question = math::Question { a: 12, b: 30 }.emit();
        assert_eq!(rows::<math::ServerBytes>(&[&question]), [pair("Q 12 + 30", "")]);
        assert_eq!(rows::<math::ClientBytes>(&[&[0, 0, 0, 42]]), [pair("answer 42", "")]);
    }

    #[test]
    fn two_messages_in_a_read_are_noted() {
        let two = [math::Question { a: 1, b: 2 }.emit(), math::Secret(*b"12345678").emit()];
        assert_eq!(
            rows::<math::ServerBytes>(&[two.as_flattened()]),
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
            rows::<math::ServerBytes>(&[&q[..2], &q[2..5], &q[5..], b"X!", b""]),
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
            rows::<echo::Messages>(&[message, b"lo\0\0", b""]),
            [
                pair("message of 5 \"hel\", 2 to come", ""),
                pair("2 more of it \"lo\"", "1 of 2 in a read of 4"),
                pair("...", "2 of 4 bytes so far, 2 of 2 in a read of 4"),
                pair("closed after 2 of 4 bytes", ""),
            ]
        );
    }
}
