// Where a link is defined twice the first definition counts: on other pages the README's own, here these,
// which rustdoc checks.
//! [`step`]: machine::Machine::step
//! [`Machine`]: machine::Machine
//! [`MIN_INPUT`]: machine::Machine::MIN_INPUT
//! [`MIN_OUTPUT`]: machine::Machine::MIN_OUTPUT
//! [`Input::ended`]: machine::Input::ended
//! [`Session`]: session::Session
//! [driver]: mod@driver
//! [`math`]: mod@math
//! [`add`]: mod@add
//! [`file`]: mod@file
//! [`echo`]: mod@echo
//! [`hello`]: mod@hello
//! [`chat`]: mod@chat
//! [`coin`]: mod@coin
//! [`guess`]: mod@guess
//! [`rps`]: mod@rps
#![cfg_attr(feature = "nal", doc = "[`nonblocking::Server`]: driver::nonblocking::Server")]
#![cfg_attr(feature = "nal", doc = "[`set_timeout`]: driver::nonblocking::Server::set_timeout")]
//!
// The README's examples stand as they are pasted, free of `cfg`: they are tested when all features that
// they use are on.
#![cfg_attr(
    any(
        not(doctest),
        all(feature = "embedded-io", feature = "embedded-io-async", feature = "nal")
    ),
    doc = include_str!("../README.md")
)]
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions,
        clippy::string_slice,
        clippy::integer_division,
    )
)]

#[cfg(test)]
extern crate std;

pub mod add;
pub mod chat;
pub mod coin;
pub mod driver;
pub mod echo;
pub mod file;
pub mod guess;
pub mod hello;
pub mod machine;
pub mod math;
pub mod rps;
pub mod session;
mod table;
pub mod wire;

pub use machine::Machine;
