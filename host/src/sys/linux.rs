//! Functions that only Linux has. `portable` has the fallback of each.

pub(crate) mod datagrams;
pub(crate) mod file;
pub(crate) mod net;
#[cfg(feature = "cli")]
pub(crate) mod process;
mod queues;
