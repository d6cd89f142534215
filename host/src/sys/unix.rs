//! Linux, macOS and the BSDs.

pub(crate) mod file;
pub(crate) mod net;
