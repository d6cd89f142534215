//! A case: a row of a protocol's table.

use std::borrow::Cow;
use std::fmt;

use super::failure::Bytes;
use super::pair::Pair;
use super::setup::{Inputs, Role, Wire};
use super::talk::{Outcome, Talk};

/// What a case tries: the third part of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Basic,
    Segmentation,
    Coalescing,
    Slow,
    Close,
    Reset,
    BadInput,
    Sequential,
    Restart,
}

impl Group {
    pub(crate) const ALL: [(Self, &'static str); 9] = [
        (Self::Basic, "basic"),
        (Self::Segmentation, "segmentation"),
        (Self::Coalescing, "coalescing"),
        (Self::Slow, "slow"),
        (Self::Close, "close"),
        (Self::Reset, "reset"),
        (Self::BadInput, "bad-input"),
        (Self::Sequential, "sequential"),
        (Self::Restart, "restart"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(group, _)| *group == self).map_or("", |(_, name)| name)
    }
}

/// A case. Its id is `protocol/role/group/name`.
pub(crate) struct Case {
    pub(crate) group: Group,
    pub(crate) name: &'static str,
    /// What the program must do, as one sentence.
    pub(crate) requirement: &'static str,
    /// Where that is written: the document and its section.
    pub(crate) source: &'static str,
    /// Whether the document does not require it. Then a failure is reported as information.
    pub(crate) is_info: bool,
    pub(crate) inputs: Inputs,
    /// Names and contents of the files in the case's folder.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    /// Name of the file in the case's folder that the program writes. Its path is the placeholder `{local}`.
    pub(crate) local: Option<&'static str>,
    pub(crate) steps: Vec<Step>,
    /// Likely mistake, if the bytes show none.
    pub(crate) hint: Option<&'static str>,
}

/// A step of a case.
pub(crate) struct Step {
    pub(super) text: Cow<'static, str>,
    /// Whether a failure of this step is information.
    pub(super) is_info: bool,
    pub(super) run: Box<dyn Fn(&mut Talk) -> Outcome + Send + Sync>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns a step. Its text is an imperative without a full stop.
pub(super) fn step(
    text: impl Into<Cow<'static, str>>,
    run: impl Fn(&mut Talk) -> Outcome + Send + Sync + 'static,
) -> Step {
    Step { text: text.into(), is_info: false, run: Box::new(run) }
}

/// Returns a case. `path` is `group/name`.
///
/// # Panics
///
/// Panics if the group does not exist: a mistake in the table, which a test finds.
pub(super) fn case(
    path: &'static str,
    requirement: &'static str,
    source: &'static str,
    steps: impl Into<Vec<Step>>,
) -> Case {
    let (group, name) = path.split_once('/').unwrap_or_default();
    let group = Group::ALL.iter().find(|(_, known)| *known == group);
    Case {
        group: group.expect("a group").0,
        name,
        requirement,
        source,
        is_info: false,
        inputs: Inputs::default(),
        files: Vec::new(),
        local: None,
        steps: steps.into(),
        hint: None,
    }
}

impl Case {
    /// Declares that the document does not require this.
    #[must_use]
    pub(super) fn info(mut self) -> Self {
        self.is_info = true;
        self
    }

    /// Adds a value that is typed at the start, or is an argument if the command has its placeholder.
    #[must_use]
    pub(super) fn input(mut self, placeholder: &'static str, value: impl Into<String>) -> Self {
        self.inputs.values.push((placeholder, value.into()));
        self
    }

    /// Ends the program's input after the values.
    #[must_use]
    pub(super) fn input_ends(mut self) -> Self {
        self.inputs.ends = true;
        self
    }

    /// Sets the messages that a client sends, after which its input ends.
    #[must_use]
    pub(super) fn messages(self, messages: &[&str]) -> Self {
        let case = messages.iter().fold(self, |case, message| case.input("message", *message));
        case.input_ends()
    }

    /// Adds a file to the case's folder, or beside it: `name` is a path in the folder.
    #[must_use]
    pub(super) fn file(mut self, name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name, content.into()));
        self
    }

    /// Names the file in the case's folder that the program writes. Its path follows the other values.
    #[must_use]
    pub(super) fn local(mut self, name: &'static str) -> Self {
        self.local = Some(name);
        self
    }

    /// Returns whether the case has a folder.
    pub(super) fn has_folder(&self) -> bool {
        !self.files.is_empty() || self.local.is_some()
    }

    /// Returns whether the program must be started for this case alone: with its input or its files.
    pub(super) fn has_own_start(&self) -> bool {
        !self.inputs.values.is_empty() || self.has_folder()
    }

    /// Sets the likely mistake, for failures whose bytes show none.
    #[must_use]
    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// The cases of a protocol, and what they need to know of it.
pub(crate) struct Protocol {
    pub(crate) name: &'static str,
    /// Returns the cases of a role.
    pub(crate) cases: fn(Role, &Wire) -> Vec<Case>,
    /// How a client and a server are tried with each other.
    pub(super) pair: &'static Pair,
    /// Returns a likely mistake that the bytes show.
    pub(crate) hint: fn(&Situation<'_>) -> Option<String>,
    /// Keys of `--wire`, their values and what they mean. The first value is the default. Without values any word is one.
    pub(crate) wire: &'static [(&'static str, &'static [&'static str], &'static str)],
}

/// What is known when a step fails.
pub(crate) struct Situation<'s> {
    pub(super) role: Role,
    pub(super) group: Group,
    /// Whether the protocol is over datagrams.
    pub(super) is_datagrams: bool,
    pub(super) wire: &'s Wire,
    pub(super) kind: super::failure::Kind,
    /// Expected and actual bytes. Where nothing arrived or the expectation is not known, they are empty.
    pub(super) bytes: &'s Bytes,
    /// Writes since the program last sent a message.
    pub(super) sent: &'s [Vec<u8>],
    /// Hint of the case, which is used if the protocol has none.
    pub(super) case_hint: Option<&'static str>,
    /// Whether the program has ended by itself.
    pub(super) has_ended: bool,
    /// The program's standard output and standard error.
    pub(super) stdout: &'s str,
    pub(super) stderr: &'s str,
}
