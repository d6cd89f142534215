//! Likely mistakes that an error of Python's `struct` module shows.

use super::super::case::{Group, Situation};
use super::super::failure::Kind;

pub(super) const TOO_FEW: &str =
    "one recv() was taken for one whole message: repeat recv() until all its bytes have arrived";
const TOO_MANY: &str = "unpack() got more bytes than its format takes: read only those that are missing, with recv(n - len(data)), or keep \
     the rest for the next message";

/// Returns the number of bytes that a format takes, if the line reports that there were more or fewer.
fn wanted(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once("unpack requires a buffer of ")?;
    rest.split(' ').next()?.parse().ok()
}

/// Returns what a line means that reports another number of bytes than the format takes.
pub(super) fn meaning(line: &str, situation: &Situation<'_>) -> &'static str {
    // The program has done all it should, so it was at the end of the stream.
    if situation.kind == Kind::Exit {
        return super::LEFT;
    }
    let arrives_whole = !matches!(situation.group, Group::Segmentation | Group::Slow);
    let first = situation.sent.first().map_or(0, Vec::len);
    // Enough bytes were there at once.
    let has_more = arrives_whole && wanted(line).is_some_and(|wanted| wanted < first);
    if has_more { TOO_MANY } else { TOO_FEW }
}

/// Returns the likely mistake if a format takes a number of bytes that no part of a message has. `size`: what has which
/// number, such as "a question has 9". `format`: the right format.
pub(in crate::check) fn wrong_size(
    situation: &Situation<'_>,
    parts: &[usize],
    size: &str,
    format: &str,
) -> Option<String> {
    let wanted = situation.stderr.lines().rev().take(20).find_map(wanted)?;
    (!parts.contains(&wanted)).then(|| {
        format!(
            "the format of unpack() takes {wanted} bytes, and {size}: write {format} (without the \"!\" Python adds padding \
             and uses the sizes and the byte order of the machine)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::failure::Bytes;
    use super::super::super::setup::{Role, Wire};
    use super::*;

    const LINE: &str = "struct.error: unpack requires a buffer of 12 bytes";

    fn with<T>(kind: Kind, group: Group, sent: usize, f: impl Fn(&Situation<'_>) -> T) -> T {
        let (wire, bytes) = (Wire::default(), Bytes::default());
        f(&Situation {
            role: Role::Client,
            group,
            is_datagrams: false,
            wire: &wire,
            kind,
            bytes: &bytes,
            sent: &[vec![0; sent]],
            case_hint: None,
            has_ended: true,
            stdout: "",
            stderr: LINE,
        })
    }

    #[test]
    fn the_number_of_bytes_that_were_there_shows_the_mistake() {
        let hint = |kind, group, sent| with(kind, group, sent, |s| meaning(LINE, s));
        assert_eq!(hint(Kind::Closed, Group::Basic, 34), TOO_MANY);
        assert_eq!(hint(Kind::Closed, Group::Basic, 12), TOO_FEW);
        assert_eq!(hint(Kind::Closed, Group::Segmentation, 34), TOO_FEW);
        assert_eq!(hint(Kind::Exit, Group::Basic, 34), super::super::LEFT);
    }

    #[test]
    fn a_format_with_padding_is_recognised() {
        let hint = |parts: &[usize]| {
            with(Kind::Closed, Group::Basic, 9, |s| {
                wrong_size(s, parts, "a question has 9", "\"!cII\"")
            })
        };
        let text = hint(&[4, 9]).unwrap();
        assert!(text.contains("takes 12 bytes, and a question has 9: write \"!cII\""), "{text}");
        assert_eq!(hint(&[12]), None);
    }
}
