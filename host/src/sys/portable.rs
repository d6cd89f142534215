//! Fallbacks for the functions that only Linux has, with the names of `linux`.

pub(crate) mod datagrams;
pub(crate) mod file;
pub(crate) mod net;
#[cfg(feature = "cli")]
pub(crate) mod process;
