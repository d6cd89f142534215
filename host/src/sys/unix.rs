//! Linux, macOS and the BSDs.

use std::io;

pub(crate) mod datagrams;
pub(crate) mod file;
pub(crate) mod net;
#[cfg(feature = "cli")]
pub(crate) mod process;
#[cfg(feature = "cli")]
pub(crate) mod pty;
#[cfg(feature = "cli")]
pub(crate) mod signals;
#[cfg(feature = "cli")]
pub(crate) mod streams;
#[cfg(feature = "cli")]
pub(crate) mod terminal;

/// Returns the text of an error of the system, if it differs from the one of Linux that std has.
pub(crate) const fn error_text(_: &io::Error) -> Option<&'static str> {
    None
}
