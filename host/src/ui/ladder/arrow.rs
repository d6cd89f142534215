//! One row of a ladder: the arrow, its meaning, and the bytes.

use std::fmt::Write as _;

use super::super::messages::{HEX, Part, Row, What};
use super::super::page::html;
use super::{Shares, rounded, seconds};
use crate::proxy::Flow;

/// Number of segments of an arrow.
pub(super) const SEGMENTS: usize = 24;
/// Largest number of segments whose sizes are listed in the note.
const LISTED: usize = 8;

/// Writes a message, and an arrow with a segment for each of its `calls` reads or writes.
pub(super) fn message(
    out: &mut String,
    flow: Flow,
    row: &Row,
    calls: usize,
    call: &str,
    shares: Shares,
) {
    let Shares { before, after, .. } = shares;
    let length = row.length;
    let _ = write!(out, "<span class=\"vh\">{} to {}: </span>", flow.from(), flow.to());
    match row.what {
        What::Partial(Some(want)) => {
            let _ = write!(out, "<span class=\"t\">incomplete: {length} of {}</span>", bytes(want));
        }
        What::Partial(None) => {
            let _ = write!(
                out,
                "<span class=\"t\">incomplete: {} without an end</span>",
                bytes(length)
            );
        }
        What::Message | What::Closed => {
            let _ = write!(out, "<bdi class=\"t\">{}</bdi>", html(&row.meaning));
        }
    }

    let is_cut = calls > 1 || row.what != What::Message;
    let class = if is_cut { "s cut" } else { "s" };
    let _ = write!(out, "<div class=\"{class}\" aria-hidden=\"true\">");
    // The last segment is always shown: it may be shared.
    let shown = if calls <= SEGMENTS { row.parts.len() } else { SEGMENTS - 1 };
    let last = row.parts.len().saturating_sub(1);
    for (i, part) in row.parts.iter().enumerate() {
        if i >= shown && i < last {
            continue;
        }
        if i == last && calls > SEGMENTS {
            let _ = write!(out, "<span class=\"more\">+{}</span>", calls - SEGMENTS);
        }
        let is_shared = (before && i == 0) || (after && i == last);
        segment(out, part, call, is_shared, is_cut || is_shared);
    }
    if let What::Partial(want) = row.what {
        let rest = want.map_or(length, |want| want.saturating_sub(length));
        let _ = write!(out, "<u style=\"flex-grow:{rest}\"></u><span class=\"x\">\u{d7}</span>");
    } else {
        out.push_str("<b></b>");
    }
    out.push_str("</div><div class=\"n\">");
    let note = note(row, calls, call, shares);
    if !note.is_empty() {
        let _ = write!(out, "<span>{note}</span>");
    }
    write_bytes(out, row);
    out.push_str("</div>");
}

/// Returns how the message was transferred, in words.
fn note(row: &Row, calls: usize, call: &str, shares: Shares) -> String {
    let mut note = String::new();
    let (Some(first), Some(last)) = (row.parts.first(), row.parts.last()) else { return note };
    if calls > 1 {
        let _ = write!(note, "cut: {calls} {call}s");
        if calls <= LISTED {
            let sizes: Vec<_> = row.parts.iter().map(|p| p.range.len().to_string()).collect();
            let _ = write!(note, " of {} bytes", sizes.join(" + "));
        }
        let time = last.time.saturating_sub(first.time);
        if !time.is_zero() {
            let _ = write!(note, " in {}", rounded(time));
        }
    }
    let Shares { before, after, .. } = shares;
    let mut shared = |part: &Part| {
        let comma = if note.is_empty() { "" } else { "; " };
        let (start, end) = (part.range.start + 1, part.range.end);
        let range = match end - start {
            0 => format!("byte {start}"),
            _ => format!("bytes {start} to {end}"),
        };
        let _ = write!(note, "{comma}glued: {range} of a {call} of {}", part.size);
    };
    if before || (after && calls == 1) {
        shared(first);
    }
    if after && calls > 1 {
        shared(last);
    }
    note
}

/// Writes a datagram. The arrow of one that is lost ends in the middle.
pub(super) fn datagram(out: &mut String, flow: Flow, row: &Row, is_lost: bool, note: &str) {
    let arrow = match is_lost {
        true => "<i></i><span class=\"x\">\u{d7}</span><span class=\"lost\"></span>",
        false => "<i></i><b></b>",
    };
    let _ = write!(
        out,
        "<span class=\"vh\">{} to {}: </span><bdi class=\"t\">{}</bdi>\
         <div class=\"s\" aria-hidden=\"true\">{arrow}</div><div class=\"n\">",
        flow.from(),
        flow.to(),
        html(&row.meaning)
    );
    if !note.is_empty() {
        let _ = write!(out, "<span>{}</span>", html(note));
    }
    write_bytes(out, row);
    out.push_str("</div>");
}

/// Writes an event that looks like an arrow.
pub(super) fn line(out: &mut String, text: &str, arrow: &str) {
    let _ = write!(
        out,
        "<bdi class=\"t\">{}</bdi><div class=\"s thin\" aria-hidden=\"true\">{arrow}</div>",
        html(text)
    );
}

/// Writes an event between the life lines.
pub(super) fn tag(out: &mut String, text: &str) {
    let _ = write!(out, "<div class=\"t\"><bdi class=\"tag\">{}</bdi></div>", html(text));
}

/// Writes a segment of an arrow.
fn segment(out: &mut String, part: &Part, call: &str, is_shared: bool, has_details: bool) {
    let length = part.range.len();
    if !has_details {
        out.push_str("<i></i>");
        return;
    }
    let class = if is_shared { " class=\"sh\"" } else { "" };
    let (number, size, time) = (part.call + 1, part.size, seconds(part.time));
    let of = if length == size { String::new() } else { format!("{length} of ") };
    let _ = write!(
        out,
        "<i{class} style=\"flex-grow:{length}\" title=\"{call} {number} at {time} s: {of}{}\">{length}</i>",
        bytes(size)
    );
}

/// Writes the bytes of a message in hexadecimal. Those of a long message are folded.
fn write_bytes(out: &mut String, row: &Row) {
    let hex = row.hex();
    let hex = hex.trim_end();
    if row.length <= HEX {
        let _ = write!(out, "<code>{hex}</code>");
        return;
    }
    let _ =
        write!(out, "<details><summary><code>{hex}</code> {}</summary><pre>", bytes(row.length));
    for (at, line) in row.bytes.chunks(HEX).enumerate() {
        let _ = write!(out, "{:04x}  ", at * HEX);
        for byte in line {
            let _ = write!(out, "{byte:02x} ");
        }
        let pad = (HEX - line.len()) * 3 + 1;
        let printable =
            |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        let text: String = line.iter().map(printable).collect();
        let _ = writeln!(out, "{:pad$}{}", "", html(&text));
    }
    let rest = row.length - row.bytes.len();
    if rest > 0 {
        let _ = writeln!(out, "{} more", bytes(rest));
    }
    out.push_str("</pre></details>");
}

fn bytes(count: usize) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}
