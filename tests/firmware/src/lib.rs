//! What the programs for the board have in common: clock, network, arguments, and how they end.
//!
//! ```text
//!   math-client   math-server   echo-server        src/bin
//!        '-------------+-------------'
//!                      |
//!        socklab_core::driver::nonblocking         the driver the host's clients run on
//!                      |
//!                     nal                          embedded-nal over smoltcp
//!                      |
//!              smoltcp, ethernet, clock            frames, registers, SysTick
//! ```

#![no_std]

pub mod args;
pub mod clock;
pub mod ethernet;
pub mod nal;
pub mod ram;
pub mod serve;

mod fault;

// Brings in the logger: frames of defmt to the host's terminal, by semihosting.
use defmt_semihosting as _;

use ethernet::Ethernet;

/// How a program ends: the exit codes of `socklab`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is done.
    Done = 0,
    /// The peer broke the protocol or ended too early.
    Peer = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// The network could not do it.
    Network = 3,
}

/// Starts the clock and takes the Ethernet controller: once, at the beginning of `main`.
///
/// # Panics
///
/// The second time.
pub fn start() -> Ethernet {
    let core = cortex_m::Peripherals::take();
    let (Some(core), Some(ethernet)) = (core, Ethernet::take()) else {
        panic!("started twice");
    };
    clock::start(core.SYST);
    ethernet
}

/// Ends the program, and QEMU with it.
pub fn exit(exit: Exit) -> ! {
    ram::log_stack();
    semihosting::process::exit(exit as i32)
}
