//! Trace and recording of a proxy for datagrams.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socklab_core::datagram::Datagram;

use super::Lines;
use super::ladder::rounded;
use super::messages::{Dissectors, HEX};
use super::recording::{self, Recorder};
use super::trace::{DIM, RECEIVED, SENT};
use crate::faults::datagrams::Fate;
use crate::net::reason;
use crate::proxy::Flow;
use crate::proxy::datagrams::{Client, Event, Observer, Passage};

/// Shortest time in the proxy that is worth a note: it takes some for every datagram.
const KEPT: Duration = Duration::from_millis(1);

/// Trace that shows each datagram on a line, with what happened to it.
pub(crate) struct DatagramTrace {
    lines: Lines,
    dissectors: Dissectors,
    start: Instant,
    /// Whether there has been more than one client.
    has_many: bool,
}

/// End of an arrow.
#[derive(Clone, Copy)]
enum End {
    Sent,
    Held,
    Lost,
}

impl DatagramTrace {
    pub(crate) fn new(lines: Lines, dissectors: Dissectors) -> Self {
        Self { lines, dissectors, start: Instant::now(), has_many: false }
    }

    fn line(&self, client: &Client, arrow: &str, flow: Flow, text: &str, note: &str) {
        let mut line = String::new();
        if self.has_many {
            let _ = write!(line, "#{} ", client.number);
        }
        let style = match flow {
            Flow::Up => SENT,
            Flow::Down => RECEIVED,
        };
        let time = self.start.elapsed().as_secs_f64();
        let _ = write!(line, "{time:>10.6} {style}{arrow}{style:#} {text}");
        if !note.is_empty() {
            let _ = write!(line, " {DIM}[{note}]{DIM:#}");
        }
        self.lines.line(line);
    }

    fn datagram(&self, client: &Client, flow: Flow, bytes: &[u8], end: End, note: &str) {
        // Each datagram stands for itself.
        let row = (self.dissectors)().datagram(Duration::ZERO, flow, Datagram::whole(bytes));
        let (hex, meaning) = (row.hex(), row.meaning);
        let style = match flow {
            Flow::Up => SENT,
            Flow::Down => RECEIVED,
        };
        let text = format!("{hex:<width$} {style}{meaning}{style:#}", width = HEX * 3 + 2);
        let arrow = match (flow, end) {
            (Flow::Up, End::Sent) => "->",
            (Flow::Down, End::Sent) => "<-",
            (Flow::Up, End::Held) => "-|",
            (Flow::Down, End::Held) => "|-",
            (Flow::Up, End::Lost) => "-x",
            (Flow::Down, End::Lost) => "x-",
        };
        self.line(client, arrow, flow, &text, note);
    }
}

impl Observer for DatagramTrace {
    fn observe(&mut self, client: &Client, event: &Event<'_>) {
        self.has_many |= client.number > 1;
        match event {
            Event::Sent(flow, bytes, passage) => {
                self.datagram(client, *flow, bytes, End::Sent, &passed(passage));
            }
            Event::Arrived(flow, bytes, fate) => {
                if let Some(text) = fate_text(*fate) {
                    let end = if *fate == Fate::Held { End::Held } else { End::Lost };
                    self.datagram(client, *flow, bytes, end, text);
                }
            }
            Event::Failed(flow, bytes, e) => {
                let note = format!("not sent: {}", reason(e));
                self.datagram(client, *flow, bytes, End::Lost, &note);
            }
            Event::Unreachable(e, next) => {
                let text = unreachable(client, e, *next);
                self.line(client, "<-", Flow::Down, &text, "");
            }
            Event::Opened | Event::Ended(_) => {}
        }
    }
}

/// Observer that records the datagrams of a proxy.
pub(crate) struct DatagramRecorder(pub(super) Recorder);

impl Observer for DatagramRecorder {
    fn observe(&mut self, client: &Client, event: &Event<'_>) {
        let mut recording = self.0.lock();
        let mut record = |event: recording::Event<'_>| recording.record(client.number, &event);
        let passed_or_lost = |flow: &Flow, bytes, is_lost, note| recording::Event::Passed {
            flow: *flow,
            datagram: Datagram::whole(bytes),
            is_lost,
            note,
        };
        match event {
            Event::Opened => record(recording::Event::Ends {
                client: Some(client.client),
                server: Some(client.server),
            }),
            Event::Sent(flow, bytes, passage) => {
                record(passed_or_lost(flow, bytes, false, &passed(passage)));
            }
            // One that is held is shown when it leaves.
            Event::Arrived(_, _, Fate::Held | Fate::Leaves(_)) => {}
            Event::Arrived(flow, bytes, fate) => {
                record(passed_or_lost(flow, bytes, true, fate_text(*fate).unwrap_or_default()));
            }
            Event::Failed(flow, bytes, e) => {
                let note = format!("not sent: {}", reason(e));
                record(passed_or_lost(flow, bytes, true, &note));
            }
            Event::Unreachable(e, next) => {
                let text = unreachable(client, e, *next);
                record(recording::Event::Note(&text));
            }
            Event::Ended(ended) => {
                record(recording::Event::Note(&ended.to_string()));
                record(recording::Event::Ended);
            }
        }
    }
}

/// Returns what happened to a datagram that arrived and was not sent, in words.
const fn fate_text(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Leaves(_) => None,
        Fate::Held => Some("held until the next one has left"),
        Fate::Dropped => Some("dropped"),
        Fate::Overflowed => Some("dropped, because too many wait"),
    }
}

/// Returns what happened to a datagram that was sent, in words. The text is empty if it was sent as it arrived.
fn passed(passage: &Passage) -> String {
    let mut notes = Vec::new();
    if passage.copy > 1 {
        notes.push("duplicate".to_owned());
    }
    if passage.is_reordered {
        notes.push("reordered".to_owned());
    }
    if passage.kept >= KEPT {
        notes.push(format!("after {}", rounded(passage.kept)));
    }
    notes.join(", ")
}

/// Returns what happened to a datagram that did not reach the server, in words.
fn unreachable(client: &Client, e: &io::Error, next: Option<SocketAddr>) -> String {
    let next = next.map_or_else(String::new, |next| format!("; sent to {next} instead"));
    format!("{} is unreachable: {}{next}", client.server, reason(e))
}
