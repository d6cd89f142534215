//! Ladder diagrams: two life lines, an arrow for each message, and its reads or writes as segments of the arrow.

mod arrow;

use std::fmt::Write as _;
use std::time::Duration;

use super::messages::What;
use super::recording::{Connection, Item, Kind, Observed, Recording};
use crate::proxy::{Flow, Side};

/// Number of connections whose ladders are unfolded.
const UNFOLDED: usize = 10;
/// Shortest pause that is shown, and the part of the whole time that it must have.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_PART: u32 = 20;
/// Height of a ladder in pixels for each row if time is to scale, without the rows themselves.
const SCALE_ROW: u64 = 60;
const SCALE_MAX: u64 = 6000;

/// Stands for the id of the section in links. An escaped text contains none.
pub(super) const SECTION: char = '\0';

/// Writes the ladders of all connections. `number` distinguishes the recordings of a section.
pub(super) fn write(out: &mut String, recording: &Recording, number: usize) {
    let (left_out, noun) = (recording.dropped_connections(), recording.noun());
    if recording.connections().is_empty() {
        let _ = writeln!(out, "<p>no {noun}</p>");
        return;
    }
    let is_one = recording.connections().len() == 1 && left_out == 0;
    if !is_one {
        write_connections(out, recording, number);
    }
    for (at, (key, connection)) in recording.connections().iter().enumerate() {
        let indexed = recording.items().enumerate();
        let items: Vec<_> = indexed.filter(|(_, item)| item.connection == *key).collect();
        if is_one {
            out.push_str("<div class=\"ladder\">\n");
        } else {
            let open = if at < UNFOLDED { " open" } else { "" };
            let _ = writeln!(
                out,
                "<details class=\"ladder\" id=\"{SECTION}-{number}-{key}\"{open}><summary>{noun} {key}</summary>"
            );
        }
        Ladder::new(recording, connection, &items).write(out);
        out.push_str(if is_one { "</div>\n" } else { "</details>\n" });
    }
}

/// Writes the table of the connections.
fn write_connections(out: &mut String, recording: &Recording, number: usize) {
    let connections = recording.connections();
    let end = connections.values().map(|connection| connection.last).max().unwrap_or_default();
    let noun = recording.noun();
    let _ = writeln!(
        out,
        "<div class=\"wide\"><table>\n<thead><tr><th class=\"num\">{noun}</th><th class=\"opt\">client</th>\
         <th class=\"num\">messages \u{2192}</th><th class=\"num\">\u{2190}</th><th class=\"num opt\">bytes \u{2192}</th>\
         <th class=\"num opt\">\u{2190}</th><th>from start to end</th></tr></thead>\n<tbody>"
    );
    for (key, connection) in connections {
        let ([up, down], [up_bytes, down_bytes]) = (connection.messages, connection.bytes);
        let client = connection.client.map(|addr| addr.to_string()).unwrap_or_default();
        let (from, to) = (percent(connection.first, end), percent(connection.last, end));
        let (first, last) = (seconds(connection.first), seconds(connection.last));
        let _ = writeln!(
            out,
            "<tr><td class=\"num\"><a href=\"#{SECTION}-{number}-{key}\">{key}</a></td><td class=\"opt\">{client}</td>\
             <td class=\"num\">{up}</td><td class=\"num\">{down}</td><td class=\"num opt\">{up_bytes}</td>\
             <td class=\"num opt\">{down_bytes}</td><td class=\"span\"><span class=\"vh\">{first} to {last} s</span>\
             <span class=\"life\"><i style=\"left:{from:.1}%;width:{:.1}%\"></i></span></td></tr>",
            (to - from).max(0.0),
        );
    }
    out.push_str("</tbody>\n</table></div>\n");
    match recording.dropped_connections() {
        0 => {}
        1 => {
            let _ = writeln!(out, "<p class=\"left\">1 more {noun} was left out</p>");
        }
        n => {
            let _ = writeln!(out, "<p class=\"left\">{n} more {noun}s were left out</p>");
        }
    }
}

fn percent(time: Duration, end: Duration) -> f64 {
    if end.is_zero() { 0.0 } else { time.as_secs_f64() / end.as_secs_f64() * 100.0 }
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

/// Returns a time with a unit and about three digits.
pub(super) fn rounded(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        1.0.. => (seconds, "s"),
        1e-3.. => (seconds * 1e3, "ms"),
        _ => (seconds * 1e6, "\u{b5}s"),
    };
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

const FLOWS: [Flow; 2] = [Flow::Up, Flow::Down];

/// What a message has in common with its neighbours in the same direction.
#[derive(Clone, Copy, Default)]
struct Shares {
    /// It shares a read or write with the message before it.
    before: bool,
    /// It shares a read or write with the message after it.
    after: bool,
    /// Other messages of these directions share a read or write across it.
    across: [bool; 2],
}

/// The ladder of a connection.
struct Ladder<'r> {
    recording: &'r Recording,
    connection: &'r Connection,
    /// Items with their positions in the recording.
    items: &'r [(usize, &'r Item)],
    shares: Vec<Shares>,
    /// Time of the first and the last item.
    first: Duration,
    whole: Duration,
    /// Height of the whole time in pixels, if time is to scale.
    height: u64,
}

impl<'r> Ladder<'r> {
    fn new(
        recording: &'r Recording,
        connection: &'r Connection,
        items: &'r [(usize, &'r Item)],
    ) -> Self {
        let mut shares = vec![Shares::default(); items.len()];
        // Position and last read or write of the last message in each direction.
        let mut last: [Option<(usize, u64)>; 2] = [None; 2];
        for (at, (position, item)) in items.iter().enumerate() {
            let Kind::Message(flow, row, _) = &item.kind else { continue };
            let (Some(start), Some(end)) = (row.parts.first(), row.parts.last()) else { continue };
            let index = usize::from(*flow == Flow::Down);
            if let Some((before, call)) = last[index]
                && call == start.call
                // Other messages may have been dropped between them.
                && (*position < recording.gap()) == (items[before].0 < recording.gap())
            {
                shares[before].after = true;
                shares[at].before = true;
                for between in &mut shares[before + 1..at] {
                    between.across[index] = true;
                }
            }
            last[index] = Some((at, end.call));
        }
        let time = |item: Option<&(usize, &Item)>| item.map_or(Duration::ZERO, |(_, i)| i.time);
        let (first, end) = (time(items.first()), time(items.last()));
        let height = (items.len() as u64 * SCALE_ROW).min(SCALE_MAX);
        Self { recording, connection, items, shares, first, whole: end - first, height }
    }

    fn write(&self, out: &mut String) {
        self.write_ends(out);
        out.push_str("<ol>\n");
        let mut last = self.first;
        let mut has_gap = self.connection.dropped == 0;
        for (at, (position, item)) in self.items.iter().enumerate() {
            if !has_gap && *position >= self.recording.gap() {
                has_gap = true;
                self.write_dropped(out);
            }
            // A message starts with its first read or write.
            let start = match &item.kind {
                Kind::Message(_, row, _) => row.parts.first().map_or(item.time, |part| part.time),
                _ => item.time,
            };
            let pause = start.saturating_sub(last);
            let mut height = item.time.saturating_sub(last);
            if pause >= PAUSE && pause >= self.whole / PAUSE_PART {
                let _ = writeln!(
                    out,
                    "<li class=\"gap\"{}><time></time><div class=\"w\">{}{}</div></li>",
                    self.style(pause),
                    self.bars_before(at),
                    rounded(pause)
                );
                height -= pause;
            }
            last = item.time;
            self.write_item(out, at, item, height);
        }
        if !has_gap {
            self.write_dropped(out);
        }
        out.push_str("</ol>\n");
    }

    /// Writes the names of the two life lines.
    fn write_ends(&self, out: &mut String) {
        out.push_str("<div class=\"ends\">");
        for (side, addr) in
            [(Side::Client, self.connection.client), (Side::Server, self.connection.server)]
        {
            let is_local = self.recording.observed() == Observed::Side(side);
            let class = if is_local { " class=\"me\"" } else { "" };
            let addr = match addr {
                Some(addr) => addr.to_string(),
                None if is_local => "socklab".to_owned(),
                None => String::new(),
            };
            let _ = write!(out, "<span{class}><b>{side}</b><span class=\"a\">{addr}</span></span>");
        }
        out.push_str("</div>\n");
    }

    fn write_dropped(&self, out: &mut String) {
        let n = self.connection.dropped;
        let (s, were) = if n == 1 { ("", "was") } else { ("s", "were") };
        let _ = writeln!(
            out,
            "<li class=\"gap\"><time></time><div class=\"w\"><span class=\"left\">{n} row{s} {were} left out \
             here</span></div></li>"
        );
    }

    /// Returns the attribute with the height of this time.
    fn style(&self, pause: Duration) -> String {
        let whole = self.whole.as_nanos().max(1);
        match pause.as_nanos() * u128::from(self.height) / whole {
            0 => String::new(),
            height => format!(" style=\"--g:{height}\""),
        }
    }

    fn write_item(&self, out: &mut String, at: usize, item: &Item, height: Duration) {
        let (flow, is_bad) = match &item.kind {
            Kind::Message(flow, row, _) => (*flow, row.what != What::Message),
            Kind::Datagram { flow, is_lost, .. } => (*flow, *is_lost),
            Kind::Closed(flow, reason) => (*flow, reason.is_some()),
            Kind::Stalled(flow) | Kind::Fault(flow, _) => (*flow, true),
            Kind::Reset(side) => (if *side == Side::Client { Flow::Up } else { Flow::Down }, true),
            Kind::Opened | Kind::Connected | Kind::Note(_) => (Flow::Up, false),
        };
        let class = match flow {
            Flow::Up => "up",
            Flow::Down => "down",
        };
        let is_message = matches!(item.kind, Kind::Message(..) | Kind::Datagram { .. });
        let e = if is_message { "" } else { " e" };
        let bad = if is_bad { " bad" } else { "" };
        let _ = write!(
            out,
            "<li class=\"{class}{e}{bad}\"{}><time>{}</time><div class=\"w\">",
            self.style(height),
            seconds(item.time)
        );
        self.write_bars(out, at, flow);
        match &item.kind {
            Kind::Message(flow, row, calls) => {
                let call = self.recording.observed().call(*flow);
                arrow::message(out, *flow, row, *calls, call, self.shares[at]);
            }
            Kind::Datagram { flow, row, is_lost, note } => {
                arrow::datagram(out, *flow, row, *is_lost, note);
            }
            Kind::Opened => arrow::line(out, "the client connects", "<i></i><b></b>"),
            Kind::Connected => arrow::tag(out, "connected"),
            Kind::Closed(_, None) => {
                let text = format!("the {} closes", flow.from());
                arrow::line(out, &text, "<i></i><span class=\"cap\"></span>");
            }
            Kind::Closed(_, Some(reason)) => {
                let text = format!("the {} {reason}", flow.from());
                arrow::line(out, &text, "<i></i><span class=\"cap\"></span>");
            }
            Kind::Reset(side) => {
                let text = format!("the {side} resets the connection");
                arrow::line(out, &text, "<i></i><span class=\"x\">\u{d7}</span>");
            }
            Kind::Stalled(flow) => {
                arrow::tag(out, &format!("stalled: no more bytes pass to the {}", flow.to()));
            }
            Kind::Fault(_, text) | Kind::Note(text) => arrow::tag(out, text),
        }
        out.push_str("</div></li>\n");
    }

    /// Writes the bars on the life lines, which join the messages of one read or write.
    fn write_bars(&self, out: &mut String, at: usize, flow: Flow) {
        let Shares { before, after, across } = self.shares[at];
        for (flow, across) in FLOWS.into_iter().zip(across) {
            if across {
                out.push_str(&bar(flow, "all"));
            }
        }
        let calls = match &self.items[at].1.kind {
            Kind::Message(_, row, _) => row.parts.len(),
            _ => 0,
        };
        let ends: &[_] = match (before, after) {
            (false, false) => &[],
            (false, true) => &["first"],
            (true, false) => &["last"],
            (true, true) if calls == 1 => &["all"],
            // The end of one read or write, and the start of another.
            (true, true) => &["upper", "lower"],
        };
        out.extend(ends.iter().map(|end| bar(flow, end)));
    }

    /// Returns the bars between an item and the one before it.
    fn bars_before(&self, at: usize) -> String {
        let Shares { before, across, .. } = self.shares[at];
        let is_of = |flow| matches!(&self.items[at].1.kind, Kind::Message(f, ..) if *f == flow);
        let crossed = FLOWS.into_iter().zip(across);
        let crossed = crossed.filter(|(flow, across)| *across || (before && is_of(*flow)));
        crossed.map(|(flow, _)| bar(flow, "all")).collect()
    }
}

/// Returns a bar, or a part of one, on the life line of the receiver.
fn bar(flow: Flow, part: &str) -> String {
    let side = match flow {
        Flow::Up => "to",
        Flow::Down => "from",
    };
    format!("<span class=\"g {side} {part}\"></span>")
}

#[cfg(test)]
mod tests {
    use super::arrow::SEGMENTS;
    use super::*;
    use crate::ui::messages::dissectors;
    use crate::ui::recording::Event;

    fn recording(protocol: &str, observed: Observed, events: &[(u64, Event<'_>)]) -> Recording {
        let mut recording = Recording::new(observed, dissectors(protocol, 4));
        for (millis, event) in events {
            recording.record_at(Duration::from_millis(*millis), 1, event);
        }
        recording.finish();
        recording
    }

    fn written(recording: &Recording) -> String {
        let mut out = String::new();
        write(&mut out, recording, 1);
        out
    }

    /// Returns the rows without their tags.
    fn rows(html: &str) -> Vec<String> {
        let text = |row: &str| {
            let mut is_tag = false;
            let visible = row.chars().filter(|c| {
                let was_tag = is_tag;
                is_tag = *c == '<' || (is_tag && *c != '>');
                !was_tag && !is_tag
            });
            visible.collect()
        };
        html.lines().filter(|line| line.starts_with("<li")).map(text).collect()
    }

    fn assert_has(html: &str, parts: &[&str]) {
        for part in parts {
            assert!(html.contains(part), "{part} is missing in\n{html}");
        }
    }

    #[test]
    fn a_cut_message_has_a_segment_for_each_read() {
        let q = socklab_core::math::Question { a: 12, b: 30 }.emit();
        let page = written(&recording(
            "math",
            Observed::Side(Side::Client),
            &[
                (1, Event::Connected),
                (2, Event::Moved(Flow::Down, &q[..2])),
                (4, Event::Moved(Flow::Down, &q[2..])),
                (900, Event::Moved(Flow::Up, &[0, 0, 0, 42])),
                (901, Event::Closed(Flow::Up)),
            ],
        ));
        assert_eq!(
            rows(&page),
            [
                "0.001000connected",
                "0.004000server to client: Q 12 + 3027cut: 2 reads of 2 + 7 bytes in 2.00 ms\
                 51 00 00 00 0c 00 00 00 1e",
                "896 ms",
                "0.900000client to server: answer 4200 00 00 2a",
                "0.901000the client closes",
            ]
        );
        assert_has(
            &page,
            &[
                "<i style=\"flex-grow:2\" title=\"read 1 at 0.002000 s: 2 bytes\">2</i>",
                "<i style=\"flex-grow:7\" title=\"read 2 at 0.004000 s: 7 bytes\">7</i>",
                "<div class=\"s\" aria-hidden=\"true\"><i></i><b></b></div>",
                "<span class=\"me\"><b>client</b><span class=\"a\">socklab</span></span>",
            ],
        );
    }

    #[test]
    fn messages_of_one_write_are_joined_by_a_bar_across_other_rows() {
        let page = written(&recording(
            "hello",
            Observed::Proxy,
            &[
                (1, Event::Moved(Flow::Up, b"one\ntwo\nth")),
                (1, Event::Moved(Flow::Down, b"between\n")),
                (9, Event::Moved(Flow::Up, b"ree\nf")),
                (9, Event::Closed(Flow::Up)),
            ],
        ));
        let bars: Vec<String> = page
            .lines()
            .filter(|line| line.starts_with("<li"))
            .map(|row| {
                let bars = row.split("<span class=\"g ").skip(1);
                bars.map(|bar| bar.split('"').next().unwrap()).collect::<Vec<_>>().join(", ")
            })
            .collect();
        // The pause before the third message too.
        assert_eq!(bars, ["to first", "to all", "to all", "to upper, to lower", "to last", ""]);
        assert_has(
            &page,
            &[
                "glued: bytes 1 to 4 of a write of 10",
                "glued: bytes 5 to 8 of a write of 10",
                "cut: 2 writes of 2 + 4 bytes in 8.00 ms; glued: bytes 9 to 10 of a write of 10; \
                 glued: bytes 1 to 4 of a write of 5",
                "incomplete: 1 byte without an end",
                "<u style=\"flex-grow:1\"></u>",
                "the client closed after 1 byte",
            ],
        );
    }

    #[test]
    fn faults_and_endings_are_marked() {
        let page = written(&recording(
            "raw",
            Observed::Proxy,
            &[
                (1, Event::Opened { client: None, server: None }),
                (1, Event::Stalled(Flow::Down)),
                (2, Event::Fault(Flow::Up, "closed by a fault, to the server")),
                (3, Event::Reset(Side::Server)),
                (3, Event::Note("the proxy stopped")),
            ],
        ));
        assert_eq!(
            rows(&page),
            [
                "0.001000the client connects",
                "0.001000stalled: no more bytes pass to the client",
                "1.00 ms",
                "0.002000closed by a fault, to the server",
                "1.00 ms",
                "0.003000the server resets the connection\u{d7}",
                "0.003000the proxy stopped",
            ]
        );
        assert_eq!(page.matches("e bad\"").count(), 3);
    }

    #[test]
    fn hostile_bytes_are_escaped() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = "<script>alert(1)</script>\u{202e}\u{2066}\"'&\n".as_bytes();
        for protocol in crate::ui::messages::NAMES {
            for bytes in [&bytes[..], text] {
                let events = [
                    (1, Event::Moved(Flow::Up, bytes)),
                    (1, Event::Moved(Flow::Down, bytes)),
                    (2, Event::Note("</li><script>")),
                ];
                let page = written(&recording(protocol, Observed::Proxy, &events));
                assert!(!page.contains("<script") && !page.contains("</script"), "{page}");
                let is_safe = |c: char| {
                    matches!(c, '\n' | '\t')
                        || !(c.is_control() || ('\u{200b}'..'\u{2070}').contains(&c))
                };
                assert!(page.chars().all(is_safe), "{protocol}: {page}");
            }
        }
    }

    #[test]
    fn a_message_in_many_writes_has_a_limited_number_of_segments() {
        let mut events: Vec<_> = (0..100).map(|i| (i, Event::Moved(Flow::Up, b"x"))).collect();
        events.push((100, Event::Moved(Flow::Up, b"\n")));
        let page = written(&recording("hello", Observed::Proxy, &events));
        assert_eq!(page.matches("<i style").count(), SEGMENTS);
        assert_has(&page, &["<span class=\"more\">+77</span>", "cut: 101 writes in 100 ms"]);
        assert_has(&page, &["title=\"write 101 at 0.100000 s: 1 byte\"", "> 101 bytes</summary>"]);
    }

    #[test]
    fn what_was_left_out_is_said_where_it_is_missing() {
        let mut recording = Recording::new(Observed::Proxy, dissectors("hello", 4)).half(3);
        for _ in 0..5000 {
            recording.record(1, &Event::Moved(Flow::Up, b"x\n"));
        }
        let page = written(&recording);
        let rows = rows(&page);
        let place = rows.iter().position(|row| row == "4994 rows were left out here");
        assert_eq!(place, Some(3), "{rows:?}");
    }

    #[test]
    fn several_connections_have_a_table_and_a_ladder_each() {
        let mut recording = Recording::new(Observed::Proxy, dissectors("hello", 4)).half(20);
        for number in 1..=50 {
            recording.record(number, &Event::Moved(Flow::Up, b"x\n"));
            recording.record(number, &Event::Ended);
        }
        let page = written(&recording);
        assert_eq!(page.matches("<details class=\"ladder\"").count(), 40);
        assert_eq!(page.matches(" open><summary>connection").count(), UNFOLDED);
        let id = format!("{SECTION}-1-50");
        assert_has(&page, &[&format!("href=\"#{id}\""), &format!("id=\"{id}\"")]);
        assert_has(&page, &["10 more connections were left out"]);
        let empty = Recording::new(Observed::Proxy, dissectors("hello", 4));
        assert_eq!(written(&empty), "<p>no connection</p>\n");
    }
}
