//! Functions that only Linux has. `portable` has the fallback of each.

pub(crate) mod file;
pub(crate) mod net;
mod queues;
