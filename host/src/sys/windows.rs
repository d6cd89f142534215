//! Windows 10 and later.

#[cfg(feature = "cli")]
pub(crate) mod console;
pub(crate) mod file;
pub(crate) mod net;
