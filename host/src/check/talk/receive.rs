//! What the steps of a case expect to arrive.

use std::time::{Duration, Instant};

use socklab_core::machine::{StreamEnd, StreamState};

use super::super::failure::{Failure, Kind, seconds};
use super::{MORE, Outcome, Parsed, Talk, plural};

impl Talk {
    /// Receives a message.
    pub(in crate::check) fn receive(
        &mut self,
        what: &str,
        mut parse: impl FnMut(&[u8]) -> Parsed,
    ) -> Outcome<Vec<u8>> {
        self.receive_ended(what, Duration::MAX, |bytes, state| match state {
            StreamState::Open => parse(bytes),
            StreamState::Idle | StreamState::Ended(_) => Parsed::More,
        })
    }

    /// Receives a message that may have no end of its own: `parse` also gets bytes after which nothing has arrived for
    /// the time `idle`, and those before an orderly close.
    pub(in crate::check) fn receive_ended(
        &mut self,
        what: &str,
        idle: Duration,
        mut parse: impl FnMut(&[u8], StreamState) -> Parsed,
    ) -> Outcome<Vec<u8>> {
        enum Got {
            Message(usize),
            Wrong(Option<Vec<u8>>, String),
            End(StreamEnd),
        }
        let limit = self.setup.timeout;
        let mut seen = usize::MAX;
        let mut last = Instant::now();
        let mut state = StreamState::Open;
        // The limit counts from the last byte.
        let got = loop {
            let left = limit.saturating_sub(last.elapsed());
            let got = self.wait(left, |talk| {
                talk.read_all()?;
                let connection = talk.connection()?;
                let is_new = connection.unread.len() != seen;
                let next = if is_new {
                    seen = connection.unread.len();
                    last = Instant::now();
                    StreamState::Open
                } else if connection.end == Some(StreamEnd::Closed) {
                    StreamState::Ended(StreamEnd::Closed)
                } else if last.elapsed() >= idle && seen > 0 {
                    StreamState::Idle
                } else {
                    state
                };
                if is_new || next != state {
                    state = next;
                    match parse(&connection.unread, state) {
                        Parsed::Done(n) => return Ok(Some(Got::Message(n))),
                        Parsed::Wrong(expected, text) => {
                            return Ok(Some(Got::Wrong(expected, text)));
                        }
                        Parsed::More if is_new => return Ok(None),
                        Parsed::More => {}
                    }
                }
                Ok(connection.end.map(Got::End))
            })?;
            if got.is_some() || last.elapsed() >= limit {
                break got;
            }
        };
        let unread =
            |talk: &mut Self| talk.connection().map(|c| c.unread.clone()).unwrap_or_default();
        match got {
            Some(Got::Message(n)) => {
                let message = self.connection()?.unread.drain(..n).collect();
                self.sent.clear();
                Ok(message)
            }
            Some(Got::Wrong(expected, text)) => {
                self.wait(MORE, |talk| {
                    talk.read()?;
                    Ok(talk.connection()?.end)
                })?;
                let mut failure = Failure::new(Kind::Different, text);
                let actual = unread(self);
                if let Some(expected) = expected {
                    failure = failure.bytes(expected, actual);
                } else {
                    failure = failure.bytes([], actual);
                }
                Err(Box::new(failure))
            }
            Some(Got::End(end)) => {
                let actual = unread(self);
                let (kind, how) = match end {
                    StreamEnd::Closed => (Kind::Closed, "closed the connection"),
                    _ => (Kind::Reset, "reset the connection"),
                };
                let text = match actual.len() {
                    0 => format!("the program {how} instead of sending {what}"),
                    n => format!("the program {how} after {n} byte{} of {what}", plural(n)),
                };
                Err(Box::new(Failure::new(kind, text).bytes([], actual)))
            }
            None => {
                let actual = unread(self);
                let limit = seconds(limit);
                let failure = match actual.len() {
                    0 => {
                        Failure::new(Kind::Silent, format!("{what} did not arrive within {limit}"))
                    }
                    n => Failure::new(
                        Kind::Incomplete,
                        format!(
                            "only {n} byte{} of {what} arrived, and nothing more within {limit}",
                            plural(n)
                        ),
                    ),
                };
                Err(Box::new(failure.bytes([], actual)))
            }
        }
    }

    /// Receives exactly these bytes.
    pub(in crate::check) fn receive_exactly(&mut self, what: &str, expected: &[u8]) -> Outcome {
        // What has been compared is not compared again: a message may have megabytes.
        let mut same = 0;
        let parse = |bytes: &[u8]| {
            let common = bytes.len().min(expected.len());
            if bytes.get(same..common) != expected.get(same..common) {
                return Parsed::Wrong(Some(expected.to_vec()), format!("{what} is wrong"));
            }
            same = common;
            if common == expected.len() { Parsed::Done(common) } else { Parsed::More }
        };
        self.receive(what, parse).map(|_| ()).map_err(|mut failure| {
            if let Some(bytes) = &mut failure.bytes
                && bytes.expected.is_empty()
            {
                bytes.expected = expected.to_vec();
            }
            failure
        })
    }

    /// Waits until the program ends its stream. `may_reset`: a reset is an end too.
    pub(in crate::check) fn closed(&mut self, may_reset: bool) -> Outcome {
        let limit = self.setup.timeout;
        let end = self.wait(limit, |talk| {
            talk.read()?;
            let connection = talk.connection()?;
            Ok(if connection.unread.is_empty() {
                connection.end
            } else {
                Some(StreamEnd::TimedOut)
            })
        })?;
        match end {
            Some(StreamEnd::TimedOut) => {
                self.wait(MORE, |talk| {
                    talk.read()?;
                    Ok(talk.connection()?.end)
                })?;
                let actual = self.connection()?.unread.clone();
                let n = actual.len();
                let text = format!(
                    "the program sent {n} byte{} instead of closing the connection",
                    plural(n)
                );
                Err(Box::new(Failure::new(Kind::Unexpected, text).bytes([], actual)))
            }
            Some(StreamEnd::Closed) => Ok(()),
            Some(_) if may_reset => Ok(()),
            Some(_) => Err(Box::new(Failure::new(
                Kind::Reset,
                "the program reset the connection instead of closing it",
            ))),
            None => {
                let text =
                    format!("the program did not close the connection within {}", seconds(limit));
                Err(Box::new(Failure::new(Kind::StillOpen, text)))
            }
        }
    }

    /// Waits until the program has ended its stream. Returns whether it has.
    pub(in crate::check) fn ended_by_program(&mut self) -> Outcome<bool> {
        let limit = self.setup.timeout;
        let end = self.wait(limit, |talk| {
            talk.read()?;
            Ok(talk.connection()?.end)
        })?;
        Ok(end.is_some())
    }

    /// Checks that nothing arrives for a time.
    pub(in crate::check) fn silent(&mut self, time: Duration) -> Outcome {
        let got = self.wait(time, |talk| {
            talk.read()?;
            let connection = talk.connection()?;
            Ok((!connection.unread.is_empty() || connection.end.is_some())
                .then_some(connection.end))
        })?;
        match got {
            None => Ok(()),
            Some(Some(StreamEnd::Closed)) => Err(Box::new(Failure::new(
                Kind::Closed,
                "the program closed the connection too early",
            ))),
            Some(Some(_)) => {
                Err(Box::new(Failure::new(Kind::Reset, "the program reset the connection")))
            }
            Some(None) => {
                let actual = self.connection()?.unread.clone();
                let n = actual.len();
                let text = format!("the program sent {n} byte{} too early", plural(n));
                Err(Box::new(Failure::new(Kind::Unexpected, text).bytes([], actual)))
            }
        }
    }

    /// Waits for more bytes or the end. Returns whether bytes have arrived that no step has taken.
    pub(in crate::check) fn has_more(&mut self, time: Duration) -> Outcome<bool> {
        let more = self.wait(time, |talk| {
            talk.read()?;
            let connection = talk.connection()?;
            let has_bytes = !connection.unread.is_empty();
            Ok((has_bytes || connection.end.is_some()).then_some(has_bytes))
        })?;
        Ok(more == Some(true))
    }
}
