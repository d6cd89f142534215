#![doc = include_str!("../README.md")]
//!
//! [`file`]: mod@file
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
pub mod wire;

pub use machine::Machine;
