//! Windows 10 and later.

pub(crate) mod file;
pub(crate) mod net;
#[cfg(feature = "cli")]
pub(crate) mod signals;
#[cfg(feature = "cli")]
pub(crate) mod streams;
#[cfg(feature = "cli")]
pub(crate) mod terminal;
