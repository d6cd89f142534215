//! Results as text, for a person.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::super::engine::{CaseResult, Verdict};
use super::super::failure::Bytes;
use super::Again;
use crate::proxy::Side;
use crate::text::one_line;
use crate::ui::messages::{Row, What};
use crate::ui::recording::{Item, Kind, Observed, Recording};

const LABEL: Style = Style::new().dimmed();
const PASS: Style = AnsiColor::Green.on_default();
const FAIL: Style = AnsiColor::Red.on_default().bold();
const INFO: Style = AnsiColor::Yellow.on_default();
const SKIP: Style = Style::new().dimmed();
const HINT: Style = Style::new().bold();

/// Number of items of a conversation that are shown.
const ITEMS: usize = 8;
/// Number of bytes in a row with hexadecimal digits.
const SHOWN: usize = 16;

/// Returns a result as text with colours: a line, and what is known of a failure.
pub(crate) fn result(result: &CaseResult, again: &Again) -> String {
    let style = match result.verdict {
        Verdict::Pass => PASS,
        Verdict::Fail(_) => FAIL,
        Verdict::Info(_) => INFO,
        Verdict::Skip(_) => SKIP,
    };
    let mut text = format!("{style}{:<4}{style:#}  {}", result.verdict.name(), result.id);
    text.push('\n');
    for (label, value) in details(result, again) {
        let style = if label == "hint" { HINT } else { Style::new() };
        let _ = writeln!(text, "      {LABEL}{label:<10}{LABEL:#}{style}{value}{style:#}");
    }
    text
}

/// Returns a line for skipped cases in a row.
pub(crate) fn skipped(first: &str, count: usize, reason: &str) -> String {
    let others = match count {
        1 => String::new(),
        2 => " and 1 other".to_owned(),
        _ => format!(" and {} others", count - 1),
    };
    format!("{SKIP}skip{SKIP:#}  {first}{others}  {LABEL}({}){LABEL:#}", one_line(reason))
}

/// Returns what is known of a failure as plain text, for the formats of other tools.
pub(crate) fn plain(result: &CaseResult, again: &Again) -> String {
    let rows = details(result, again);
    rows.iter()
        .map(|(label, value)| format!("{label:<10}{value}").trim_end().to_owned() + "\n")
        .collect()
}

/// Returns what is known of a failure as labelled lines. A line without a label continues the one before.
pub(crate) fn details(result: &CaseResult, again: &Again) -> Vec<(&'static str, String)> {
    let Some(failure) = result.verdict.failure() else { return Vec::new() };
    let (number, step) = &failure.step;
    let mut rows =
        vec![("required", result.requirement.to_owned()), ("source", source(result.source))];
    if let Some(recording) = &result.recording {
        rows.extend(conversation(recording));
    }
    rows.push(("step", format!("{number}: {}", one_line(step))));
    rows.push(("happened", one_line(&failure.message)));
    if let Some(bytes) = &failure.bytes {
        rows.extend(difference(bytes));
    }
    if let Some(program) = &failure.program {
        rows.push(("program", program.clone()));
    }
    if let Some(stderr) = &failure.stderr {
        rows.push(("stderr", one_line(stderr)));
    }
    if let Some(hint) = &failure.hint {
        rows.push(("hint", one_line(hint)));
    }
    rows.push(("again", again.command(&result.id)));
    rows
}

/// Returns where a requirement is written. The documents have numbers.
pub(crate) fn source(source: &str) -> String {
    let is_number = source.starts_with(|c: char| c.is_ascii_digit());
    format!("{}{source}", if is_number { "document " } else { "" })
}

/// Returns the end of a conversation: who sent which message in which writes.
fn conversation(recording: &Recording) -> Vec<(&'static str, String)> {
    let has_many = recording.connections().len() > 1;
    let who = |side: Side| match recording.observed() {
        Observed::Side(ours) if side == ours => "tester",
        Observed::Side(_) => "program",
        Observed::Proxy if side == Side::Client => "client",
        Observed::Proxy => "server",
    };
    let mut items: Vec<&Item> = recording.items().collect();
    items.sort_by_key(|item| began(item));
    let mut lines = Vec::new();
    for item in items {
        let (side, text) = match &item.kind {
            Kind::Opened => continue,
            // Only the second one is news.
            Kind::Connected if !has_many => continue,
            Kind::Connected => (None, "connected".to_owned()),
            Kind::Message(flow, row, count) => {
                (Some(flow.from()), message(row, *count, recording.observed().call(*flow)))
            }
            Kind::Datagram { flow, row, note, .. } => {
                let comma = if note.is_empty() { "" } else { ", " };
                (Some(flow.from()), format!("{}{comma}{note}", row.meaning))
            }
            Kind::Closed(flow, None) => (Some(flow.from()), "closed".to_owned()),
            Kind::Closed(flow, Some(reason)) => (Some(flow.from()), reason.clone()),
            Kind::Reset(side) => (Some(*side), "reset the connection".to_owned()),
            Kind::Stalled(flow) => (Some(flow.from()), "stopped".to_owned()),
            Kind::Fault(flow, text) => (Some(flow.from()), text.clone()),
            Kind::Note(text) => (None, text.clone()),
        };
        let number = if has_many { format!("#{} ", item.connection) } else { String::new() };
        let side = side.map_or("", who);
        lines.push(format!("{number}{side:<7} {text}"));
    }
    let left_out = lines.len().saturating_sub(ITEMS) as u64 + recording.dropped();
    let mut shown = lines.split_off(lines.len().saturating_sub(ITEMS));
    if left_out > 0 {
        shown.insert(0, format!("... {left_out} more before"));
    }
    let labels = std::iter::once("exchanged").chain(std::iter::repeat(""));
    labels.zip(shown).collect()
}

/// Returns when an item began. A message is recorded when it is complete, and one without an end of its own when nothing can
/// follow it.
fn began(item: &Item) -> Duration {
    match &item.kind {
        Kind::Message(_, row, _) => row.parts.first().map_or(item.time, |part| part.time),
        _ => item.time,
    }
}

/// Returns the meaning of a message, its length and how it was cut.
fn message(row: &Row, count: usize, call: &str) -> String {
    let s = if row.length == 1 { "" } else { "s" };
    let cut = if count > 1 { format!(", in {count} {call}s") } else { String::new() };
    match row.what {
        What::Partial(Some(want)) => {
            format!("only {} of the {want} bytes of a message{cut}", row.length)
        }
        // Some forms have no end of their own, so it may be all of the message.
        What::Partial(None) => {
            let text = one_line(&row.bytes);
            format!("\"{text}\", unterminated ({} byte{s}{cut})", row.length)
        }
        What::Message | What::Closed => {
            let note = if count > ITEMS { format!("in {count} {call}s") } else { row.note(call) };
            let comma = if note.is_empty() { "" } else { ", " };
            format!("{} ({} byte{s}{comma}{note})", row.meaning, row.length)
        }
    }
}

/// Returns rows with expected and actual bytes, and a caret under the first difference.
fn difference(bytes: &Bytes) -> Vec<(&'static str, String)> {
    let offset = bytes.offset();
    // So that the difference is among the bytes that are shown.
    let start = if offset < SHOWN { 0 } else { offset - SHOWN / 2 };
    let longest = bytes.expected.len().max(bytes.actual.len()).saturating_sub(start).min(SHOWN);
    let row = |all: &[u8]| {
        let shown = all.get(start..(start + SHOWN).min(all.len())).unwrap_or_default();
        let hex: String = shown.iter().map(|byte| format!("{byte:02x} ")).collect();
        let dots = |is: bool| if is { ".." } else { "" };
        format!(
            "{}{hex:<width$}{:<2} \"{}\"",
            dots(start > 0),
            dots(all.len() > start + SHOWN),
            one_line(shown),
            width = longest * 3,
        )
    };
    let mut rows = Vec::new();
    if !bytes.expected.is_empty() {
        rows.push(("expected", row(&bytes.expected)));
    }
    if !bytes.actual.is_empty() {
        rows.push(("actual", row(&bytes.actual)));
        if !bytes.expected.is_empty() {
            let indent = if start > 0 { 2 } else { 0 } + (offset - start) * 3;
            let (missing, more) = (
                bytes.expected.len().saturating_sub(bytes.actual.len()),
                bytes.actual.len().saturating_sub(bytes.expected.len()),
            );
            let what = if offset == bytes.actual.len() {
                format!("{missing} of {} bytes missing", bytes.expected.len())
            } else if offset == bytes.expected.len() {
                format!("{more} more than expected")
            } else {
                format!("first difference: byte {} of {}", offset + 1, bytes.expected.len())
            };
            rows.push(("", format!("{:indent$}^^ {what}", "")));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Flow;
    use crate::ui::messages::dissectors;
    use crate::ui::recording::Event;

    fn rows(expected: &[u8], actual: &[u8]) -> Vec<String> {
        let bytes = Bytes { expected: expected.to_vec(), actual: actual.to_vec() };
        difference(&bytes).into_iter().map(|(label, row)| format!("{label:<9}{row}")).collect()
    }

    #[test]
    fn a_caret_stands_under_the_first_difference() {
        assert_eq!(
            rows(b"Ada\n", b"Adb\n"),
            [
                "expected 41 64 61 0a    \"Ada\\n\"",
                "actual   41 64 62 0a    \"Adb\\n\"",
                "               ^^ first difference: byte 3 of 4",
            ]
        );
        assert_eq!(rows(b"Ada\n", b"Ada")[2], "                  ^^ 1 of 4 bytes missing");
        assert_eq!(rows(b"A", b"A\n")[2], "            ^^ 1 more than expected");
        assert_eq!(rows(b"A", b"").len(), 1);
    }

    #[test]
    fn an_unterminated_message_stands_where_it_was_sent() {
        let dissectors = dissectors("chat", 4);
        let mut recording = Recording::new(Observed::Side(Side::Client), dissectors);
        let events = [
            Event::Moved(Flow::Up, b"half"),
            Event::Moved(Flow::Down, b"Hi\n"),
            Event::Closed(Flow::Down),
        ];
        for (ms, event) in (1..).zip(&events) {
            recording.record_at(Duration::from_millis(ms), 1, event);
        }
        recording.finish();
        let lines: Vec<_> = conversation(&recording).into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            [
                "tester  \"half\", unterminated (4 bytes)",
                "program \"Hi\" (3 bytes)",
                "program closed"
            ]
        );
    }

    #[test]
    fn of_long_messages_the_part_with_the_difference_is_shown() {
        let rows = rows(&[b'a'; 50], &[[b'a'; 30].as_slice(), b"b"].concat());
        assert!(rows[0].starts_with("expected ..61 61"), "{rows:#?}");
        let (caret, b) = (rows[2].find("^^"), rows[1].find("62"));
        assert_eq!(caret, b, "{rows:#?}");
    }
}
