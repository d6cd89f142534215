//! Roles of `udp`. Its machines are over datagrams, so the drivers of streams have no script for them.

use crate::samples::{Scripts, Sessions};

/// Lists what runs the same in every driver of streams: nothing.
pub fn scripts(_: &mut impl Scripts) {}

/// Lists what runs without allocating in every driver of streams: nothing.
pub fn sessions(_: &mut impl Sessions) {}
