//! A conversation: what both chat targets do.

use socklab_core::chat::Chat;
use socklab_core::wire::LINE_MAX;
use socklab_tests::draw::Draw;
use socklab_tests::role::{ChatEvent, ChatSide, Words};
use socklab_tests::script::{Outcome, Plan, Script, compare_plans, run};

use crate::{plan, unmarked};

/// One side says what the fuzzer chooses, and the other side sends anything.
///
/// What the target chooses: a count of lines, then a length and a text for each. With 8 in the count, QUIT is the
/// closing word instead of BYE.
pub fn converse(mut draw: Draw<'_>, turns: impl Fn(&[Vec<u8>]) -> ChatSide<false>, begins: bool) {
    let (plan, end, duplex) = plan::<Chat>(&mut draw);
    let words = Words::new(draw.clone().byte() & 8 != 0);
    let mut ours = draw.texts();
    for line in &mut ours {
        // What cannot be said as a line is refused, which other tests look at.
        line.retain(|byte| !matches!(byte, b'\n' | b'\r'));
    }
    let bytes = draw.rest();
    let heard =
        |events: &[ChatEvent]| events.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
    let script = Script::new(bytes, end);
    let result = if duplex {
        let role = ChatSide::duplex(&ours).closing(words);
        compare_plans(&role, bytes, end, &Plan::whole(), &plan).map_err(|e| e.to_string())
    } else {
        run(&turns(&ours).closing(words), &script, &plan)
    };
    let transcript = result.unwrap_or_else(|e| panic!("{e}"));
    let plain = Plain { closing: if words == Words::Quit { b"quit" } else { b"bye" } };
    let expected = plain.converse(&ours, bytes, begins, duplex);
    let events = heard(&transcript.events());
    if duplex || end.is_none() {
        assert_eq!((&events, &transcript.sent), (&expected.heard, &expected.sent));
    } else {
        // The end of the stream may end our turn.
        assert!(expected.heard.starts_with(&events), "{events:?}, expected {expected:?}");
        assert!(
            expected.sent.starts_with(&transcript.sent),
            "{transcript:?}, expected {expected:?}"
        );
    }
    for (at, (text, closes)) in transcript.emitted.iter().map(|emitted| &emitted.event).enumerate()
    {
        assert_eq!(*closes, plain.closes(text), "{text:?}");
        assert!(!closes || at + 1 == events.len(), "a line follows the closing word");
    }
    let has_closed = |lines: &[u8]| lines.split(|byte| *byte == b'\n').any(|l| plain.closes(l));
    let is_over = has_closed(&transcript.sent)
        || transcript.emitted.last().is_some_and(|emitted| emitted.event.1);
    assert_eq!(transcript.outcome == Outcome::Done, is_over, "{transcript:?}");
}

#[derive(Debug)]
struct Expected {
    heard: Vec<Vec<u8>>,
    sent: Vec<u8>,
}

/// The same as a loop over whole lines.
struct Plain {
    /// The closing word in lower case.
    closing: &'static [u8],
}

impl Plain {
    fn converse(&self, ours: &[Vec<u8>], bytes: &[u8], begins: bool, duplex: bool) -> Expected {
        let mut expected = Expected { heard: vec![], sent: vec![] };
        let mut ours = ours.iter();
        let mut theirs = bytes.split_inclusive(|byte| *byte == b'\n');
        let mut our_turn = begins || duplex;
        loop {
            if our_turn {
                match ours.next() {
                    Some(line) => {
                        expected.sent.extend_from_slice(line);
                        expected.sent.push(b'\n');
                        if self.closes(line) {
                            return expected;
                        }
                    }
                    None if duplex => {}
                    None => return expected,
                }
                // In duplex all of ours is said first, which is how the harness gives it.
                our_turn = duplex && ours.len() > 0;
            } else {
                let Some(line) = theirs.next().and_then(|line| line.strip_suffix(b"\n")) else {
                    return expected;
                };
                if line.len() > LINE_MAX {
                    return expected;
                }
                let text = line.strip_suffix(b"\r").unwrap_or(line);
                let text = if expected.heard.is_empty() { unmarked(text) } else { text };
                expected.heard.push(text.to_vec());
                if self.closes(text) {
                    return expected;
                }
                our_turn = !duplex;
            }
        }
    }

    fn closes(&self, text: &[u8]) -> bool {
        text.split(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric())
            .any(|word| word.eq_ignore_ascii_case(self.closing))
    }
}
