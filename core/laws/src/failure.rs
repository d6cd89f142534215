//! What was broken, and how to reproduce it.

use std::fmt;

use socklab_core::machine::{Need, StreamEnd};

use crate::run::{Emitted, Outcome, Transcript};
use crate::script::{Plan, Script};

/// A law that every machine keeps. The first five are those of
/// [`Machine`](socklab_core::machine::Machine#laws), with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Law {
    /// Law 1: the same bytes give the same result, however they are cut into reads and however much
    /// output space there is.
    Cuts,
    /// Law 2: a step that fails consumes, writes and changes nothing, and the error repeats, also when
    /// more bytes or the end of the stream arrive.
    Errors,
    /// Law 3: every step makes progress, and a machine never asks for what it has.
    Progress,
    /// Law 4: no step consumes or writes more than it is given, and the spans of its event lie inside
    /// the input.
    Bounds,
    /// Law 5: after `Close` or `Abort` every step returns it again, and every command is refused.
    Finality,
    /// A machine is a value: a copy does the same as the machine, also when the copy is stepped first.
    Value,
    /// A command in turn is accepted, and a refused command changes nothing.
    Commands,
    /// The counters of payload are exact, and outbound payload precedes other output.
    Payload,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cuts => "law 1: how the stream is cut into reads has no meaning",
            Self::Errors => "law 2: an error changes nothing and repeats",
            Self::Progress => "law 3: every step makes progress",
            Self::Bounds => "law 4: no step takes more than it is given",
            Self::Finality => "law 5: the end is final",
            Self::Value => "law: a machine is a value, so that stepping a copy is a peek",
            Self::Commands => "law: a command is accepted, or it changes nothing",
            Self::Payload => "law: the payload counters are exact",
        })
    }
}

/// A law and how it was broken, without the script.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    pub(crate) what: String,
}

impl Law {
    /// Returns that this law was broken.
    pub(crate) fn broken(self, what: impl Into<String>) -> Broken {
        Broken { law: self, what: what.into() }
    }
}

/// A law that a machine broke, and how to reproduce it.
///
/// `Debug` and `Display` are the same text of several lines, so that `unwrap` in a test shows it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The law.
    pub law: Law,
    /// What the machine did, or what differed.
    pub what: String,
    /// Bytes the peer sent.
    pub bytes: Vec<u8>,
    /// Offsets at which the peer paused.
    pub pauses: Vec<usize>,
    /// How the peer's stream ended.
    pub end: Option<StreamEnd>,
    /// Plan of the run that failed.
    pub plan: Plan,
    /// Plan of the run it was compared with, if it was.
    pub reference: Option<Plan>,
}

impl Failure {
    pub(crate) fn new(
        Broken { law, what }: Broken,
        script: &Script<'_>,
        plan: &Plan,
        reference: Option<&Plan>,
    ) -> Box<Self> {
        let Script { bytes, pauses, end } = *script;
        let (bytes, pauses) = (bytes.to_vec(), pauses.to_vec());
        let (plan, reference) = (plan.clone(), reference.cloned());
        Box::new(Self { law, what, bytes, pauses, end, plan, reference })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { law, what, bytes, pauses, end, plan, reference } = self;
        let end = match end {
            None => "leaves the stream open",
            Some(StreamEnd::Closed) => "closes",
            Some(StreamEnd::Reset) => "resets the connection",
            Some(StreamEnd::TimedOut) => "sends nothing more until the caller times out",
        };
        writeln!(f, "broken {law}")?;
        writeln!(f, "  the peer sends {}, then {end}", Escaped(bytes))?;
        let script = (&bytes[..], &pauses[..], self.end.is_some());
        write!(f, "  the input arrives {}", Reads(plan, script))?;
        for line in what.lines() {
            write!(f, "\n  {line}")?;
        }
        if let Some(reference) = reference {
            write!(f, "\n  \"expected\" is what happens {}", Reads(reference, script))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

/// Returns the value, or panics with the failure as text.
///
/// # Panics
///
/// Panics if a law was broken.
#[track_caller]
pub fn assert_lawful<T>(result: Result<T, Box<Failure>>) -> T {
    // A closure would be the reported place.
    match result {
        Ok(value) => value,
        Err(failure) => panic!("{failure}"),
    }
}

/// Longest text, in bytes, that is shown whole.
const SHOWN_WHOLE: usize = 200;

/// Bytes as an escaped string, of a long one only the start and the end.
pub(crate) struct Escaped<'b>(pub(crate) &'b [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        if bytes.len() <= SHOWN_WHOLE {
            return write!(f, "\"{}\"", bytes.escape_ascii());
        }
        let (start, end) = (&bytes[..SHOWN_WHOLE / 2], &bytes[bytes.len() - SHOWN_WHOLE / 4..]);
        let hidden = bytes.len() - start.len() - end.len();
        let (start, end) = (start.escape_ascii(), end.escape_ascii());
        write!(f, "\"{start}\" ({hidden} more bytes) \"{end}\"")
    }
}

/// Returns the `Debug` text of an event with lists of bytes as strings.
fn readable(debug: &str) -> String {
    let (mut text, mut rest) = (String::new(), debug);
    while let Some(start) = rest.find('[') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(']').unwrap_or(rest.len() - 1);
        let list = &rest[1..end.max(1)];
        let bytes: Option<Vec<u8>> = list.split(", ").map(|number| number.parse().ok()).collect();
        match bytes {
            Some(bytes) => {
                text.push_str(&format!("b{}", Escaped(&bytes)));
                rest = &rest[end + 1..];
            }
            None => {
                text.push('[');
                rest = &rest[1..];
            }
        }
    }
    text + rest
}

/// How a plan brings the input to the machine, and what it does with the output.
struct Reads<'p>(&'p Plan, (&'p [u8], &'p [usize], bool));

impl fmt::Display for Reads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, (bytes, pauses, has_end)) = *self;
        let whole = Plan::whole();
        let mut cuts: Vec<usize> = if plan.every_byte { vec![] } else { plan.cuts.clone() };
        cuts.extend_from_slice(pauses);
        cuts.retain(|cut| (1..bytes.len()).contains(cut));
        cuts.sort_unstable();
        cuts.dedup();
        if plan.every_byte {
            f.write_str("one byte at a time")?;
        } else if cuts.is_empty() {
            f.write_str("in one read")?;
        } else {
            write!(f, "in {} reads, ", cuts.len() + 1)?;
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([bytes.len()]);
            for (index, (start, end)) in starts.zip(ends).enumerate() {
                f.write_str(if index == 0 { "" } else { " | " })?;
                Escaped(&bytes[start..end]).fmt(f)?;
            }
        }
        if !pauses.is_empty() {
            write!(f, ", with a pause after byte {}", join(pauses))?;
        }
        if has_end {
            let when = if plan.end_apart { "after" } else { "together with" };
            write!(f, ", the end {when} the last byte")?;
        }
        if let Some(cap) = plan.cap {
            write!(f, "; a step sees at most {cap} bytes")?;
        }
        if plan.window != whole.window || plan.lazy {
            write!(f, "; the output buffer has {} bytes", plan.window)?;
            let sent =
                if plan.lazy { "only when the machine asks for space" } else { "after every step" };
            write!(f, " and is sent {sent}")?;
        }
        if plan.take {
            f.write_str("; inbound payload does not pass through the machine")?;
        }
        Ok(())
    }
}

fn join(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("the machine closes"),
            Self::Abort => f.write_str("the machine aborts"),
            Self::Error(debug, text) => write!(f, "the error {debug} ({text})"),
            Self::Waiting(need) => match need {
                Need::Input => f.write_str("the machine waits for input"),
                Need::InputOrIdle(ms) => {
                    write!(f, "the machine waits for input or {ms} ms without it")
                }
                Need::OutputSpace => f.write_str("the machine waits for output space"),
                Need::Command => f.write_str("the machine waits for a command"),
                Need::InputOrCommand => f.write_str("the machine waits for input or a command"),
            },
        }
    }
}

/// Returns what differs between the expected transcript and another one, a line for each kind.
pub(crate) fn difference<E>(expected: &Transcript<E>, got: &Transcript<E>) -> String
where
    E: Clone + PartialEq + fmt::Debug,
{
    let mut lines = vec!["the result is not the expected one:".to_owned()];
    let mut line =
        |expected: String, got: String| lines.push(format!("{got}, expected {expected}"));
    let event = |emitted: Option<&Emitted<E>>| match emitted {
        None => "none".to_owned(),
        Some(Emitted { event, consumed, written }) => {
            let event = readable(&format!("{event:?}"));
            format!("{event} (consumed {consumed}, written {written})")
        }
    };
    let count = expected.emitted.len().max(got.emitted.len());
    let differing = (0..count).find(|at| expected.emitted.get(*at) != got.emitted.get(*at));
    if let Some(at) = differing {
        let of = |transcript: &Transcript<E>| event(transcript.emitted.get(at));
        line(of(expected), format!("event {}: {}", at + 1, of(got)));
    }
    if expected.sent != got.sent {
        let of = |transcript: &Transcript<E>| Escaped(&transcript.sent).to_string();
        line(of(expected), format!("sent: {}", of(got)));
    }
    if expected.boundaries != got.boundaries {
        let of = |transcript: &Transcript<E>| format!("[{}]", join(&transcript.boundaries));
        line(of(expected), format!("write boundaries: {}", of(got)));
    }
    if expected.consumed != got.consumed {
        line(expected.consumed.to_string(), format!("bytes consumed: {}", got.consumed));
    }
    if expected.outcome != got.outcome {
        line(expected.outcome.to_string(), format!("at the end: {}", got.outcome));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_lists_of_an_event_are_shown_as_strings() {
        for (debug, expected) in [
            ("Line([104, 105])", "Line(b\"hi\")"),
            ("([10], [1, 300], [-1], [])", "(b\"\\n\", [1, 300], [-1], [])"),
            ("[[1], [2]]", "[b\"\\x01\", b\"\\x02\"]"),
            ("Text(\"[\")", "Text(\"[\")"),
            ("[", "["),
            ("Number(7)", "Number(7)"),
        ] {
            assert_eq!(readable(debug), expected);
        }
    }
}
