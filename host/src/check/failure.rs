//! Why a step of a case has failed.

use std::time::Duration;

use super::program::Terminals;

/// What went wrong in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Other bytes arrived than expected.
    Different,
    /// Part of what was expected arrived, and nothing more in time.
    Incomplete,
    /// Nothing arrived in time.
    Silent,
    /// Bytes arrived, although none were expected.
    Unexpected,
    /// The program closed the connection too early.
    Closed,
    /// The program reset the connection.
    Reset,
    /// The program kept the connection open.
    StillOpen,
    /// The program does not listen, or does not accept the connection.
    NotListening,
    /// The program does not connect.
    NotConnected,
    /// The program did not print what it should, or did not write it to its file.
    Output,
    /// The program did not end.
    Running,
    /// The program ended with an error.
    Exit,
    /// The program uses the processor without doing anything.
    Spinning,
    /// The program cannot be started at all.
    NotStarted,
    /// The system refused something. It is not the program's fault.
    System,
}

/// Why a step has failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(super) kind: Kind,
    /// What happened, as one line without a full stop.
    pub(crate) message: String,
    /// What was expected and what came, if both are known.
    pub(super) bytes: Option<Bytes>,
    /// The step: its number from 1, and its text.
    pub(super) step: (usize, String),
    /// Likely mistake in the program.
    pub(crate) hint: Option<String>,
    /// Program that has printed nothing at all, although it should. Its output may be in a buffer.
    pub(super) silent: Terminals,
    /// How the program has ended, or that it still ran.
    pub(super) program: Option<String>,
    /// Last line of the program's standard error.
    pub(super) stderr: Option<String>,
}

/// Expected and actual bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) expected: Vec<u8>,
    pub(super) actual: Vec<u8>,
}

impl Bytes {
    /// Returns the offset of the first difference.
    pub(super) fn offset(&self) -> usize {
        let same = self.expected.iter().zip(&self.actual).take_while(|(a, b)| a == b);
        same.count()
    }
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            bytes: None,
            step: (0, String::new()),
            hint: None,
            silent: Terminals::default(),
            program: None,
            stderr: None,
        }
    }

    /// Returns what happened and what to do about it, as one line.
    pub(crate) fn summary(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", self.message)
    }

    /// Adds expected and actual bytes.
    #[must_use]
    pub(super) fn bytes(
        mut self,
        expected: impl Into<Vec<u8>>,
        actual: impl Into<Vec<u8>>,
    ) -> Self {
        self.bytes = Some(Bytes { expected: expected.into(), actual: actual.into() });
        self
    }

    /// Adds a hint. It replaces those that are derived from the bytes.
    #[must_use]
    pub(super) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }
}

/// Returns a duration in words: `5 s` or `300 ms`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}
