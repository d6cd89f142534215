use std::fmt;

use socklab_core::machine::StreamEnd;

use super::Plan;

/// A law that a machine broke, and how to reproduce it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Plan of the run that failed.
    pub plan: Plan,
    /// Bytes the peer sent.
    pub bytes: Vec<u8>,
    /// Offsets at which the peer paused.
    pub pauses: Vec<usize>,
    /// How the peer's stream ended.
    pub end: Option<StreamEnd>,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, bytes, pauses, end, what } = self;
        write!(f, "{what}\n  input {bytes:02x?}, then {end:?}")?;
        if !pauses.is_empty() {
            write!(f, ", pauses after {pauses:?}")?;
        }
        write!(f, "\n  under {plan:?}")
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
    result.unwrap_or_else(|failure| panic!("{failure}"))
}
