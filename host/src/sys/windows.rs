//! Windows 10 and later.

pub(crate) mod file;
pub(crate) mod net;
