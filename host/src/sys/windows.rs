//! Windows 10 and later.

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
pub(crate) fn error_text(e: &io::Error) -> Option<&'static str> {
    e.raw_os_error().and_then(super::codes::text)
}
