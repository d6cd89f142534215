//! Linux, macOS and the BSDs.

#[cfg(feature = "cli")]
pub(crate) mod console;
pub(crate) mod file;
pub(crate) mod net;
