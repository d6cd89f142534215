//! Failures of the program: the message and the exit code.

use std::fmt;
use std::io;

use crate::net::{self, BindError, DialError};
use crate::ui::streams;

/// Failure of the program: a message of one line, and an exit code.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Failure {
    /// The peer failed or violated the protocol: exit code 1.
    Peer(String),
    /// Usage error: exit code 2.
    Usage(String),
    /// The program could not connect, bind, read or write: exit code 3.
    System(String),
    /// The user interrupted the program before it was done: exit code 130, as shells report a program that SIGINT
    /// ended. The text is appended to the message.
    Interrupted(String),
    /// A case of a check has failed, and the summary says so: exit code 1 without a message.
    Judged,
    /// The user quit a game before it was over: exit code 1.
    Quit,
}

impl Failure {
    pub(in crate::cli) const INTERRUPTED: Self = Self::Interrupted(String::new());

    pub(in crate::cli) const fn code(&self) -> u8 {
        match self {
            Self::Peer(_) | Self::Judged | Self::Quit => 1,
            Self::Interrupted(_) => 130,
            Self::Usage(_) => 2,
            Self::System(_) => 3,
        }
    }

    /// Writing to standard output failed.
    #[expect(clippy::needless_pass_by_value, reason = "the signature that map_err needs")]
    pub(in crate::cli) fn stdout(e: io::Error) -> Self {
        Self::System(if streams::is_closed_pipe(&e) {
            "standard output was closed before everything was written".into()
        } else {
            format!("cannot write to standard output: {}", net::reason(&e))
        })
    }

    /// Writing to standard error failed.
    pub(in crate::cli) fn stderr(e: &io::Error) -> Self {
        Self::System(format!("cannot write to standard error: {}", net::reason(e)))
    }

    /// The system cannot watch for signals.
    pub(in crate::cli) fn signals(e: &io::Error) -> Self {
        Self::System(format!("cannot watch for signals: {}", net::reason(e)))
    }

    /// Reading from standard input failed.
    pub(in crate::cli) fn stdin(e: &io::Error) -> Self {
        Self::System(format!("cannot read standard input: {}", net::reason(e)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(text) | Self::Usage(text) | Self::System(text) => f.write_str(text),
            Self::Interrupted(details) => write!(f, "interrupted{details}"),
            Self::Judged => f.write_str("a case has failed"),
            Self::Quit => f.write_str("you quit before the game was over"),
        }
    }
}

impl From<DialError> for Failure {
    fn from(e: DialError) -> Self {
        let hint = match e {
            DialError::Resolve(..) => "; omit the address to use a built-in server",
            _ => "",
        };
        Self::System(format!("{e}{hint}"))
    }
}

impl From<BindError> for Failure {
    fn from(e: BindError) -> Self {
        Self::System(e.to_string())
    }
}

impl<P: fmt::Display> From<net::Error<P>> for Failure {
    fn from(e: net::Error<P>) -> Self {
        match e {
            net::Error::Dial(e) => e.into(),
            net::Error::Protocol(..) => Self::Peer(e.to_string()),
            net::Error::TimedOut(e, time, quote) => Self::Peer(format!(
                "{e} ({}; --timeout changes that){}",
                humantime::format_duration(time),
                quote.suffix()
            )),
            net::Error::Io(_) => Self::System(e.to_string()),
            net::Error::Refused(e) => Self::Usage(e.to_string()),
            e @ net::Error::Law(_) => Self::System(e.to_string()),
        }
    }
}
