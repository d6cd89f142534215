//! What the programs for the board share: clock, network, arguments, and how they end.
//!
//! ```text
//!   udp-client  udp-server    math-client  math-server  echo-server     uart-math-client     src/bin
//!        '----+-----'              '------------+------------'                 |
//!             |                                 |                              |
//!     driver::datagrams               driver::nonblocking               driver::polled  of the core
//!             |                                 |                              |
//!          nal::udp                            nal                           uart    two queues and
//!             '--------------+------------------'                                    an interrupt
//!                            |
//!                 smoltcp, ethernet, clock                         frames, registers, SysTick
//! ```

#![no_std]

pub mod args;
pub mod clock;
pub mod ethernet;
pub mod nal;
pub mod ram;
pub mod serve;
pub mod uart;

mod fault;

// Links the logger: frames of defmt to the host's terminal, through semihosting.
use defmt_semihosting as _;

use ethernet::Ethernet;
use uart::Uart;

/// Exit codes of a program, the same as those of `socklab`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// The peer broke the protocol or ended too early.
    Peer = 1,
    /// The arguments are invalid.
    Usage = 2,
    /// A network error.
    Network = 3,
}

/// Starts the clock and takes the Ethernet controller. Must be called once, at the beginning of
/// `main`.
///
/// # Panics
///
/// Panics on the second call.
pub fn start() -> Ethernet {
    start_with(Ethernet::take)
}

/// Starts the clock and takes the UART. Must be called once, at the beginning of `main`.
///
/// # Panics
///
/// Panics on the second call.
pub fn start_uart() -> Uart {
    start_with(Uart::take)
}

fn start_with<T>(take: fn() -> Option<T>) -> T {
    let (Some(core), Some(device)) = (cortex_m::Peripherals::take(), take()) else {
        panic!("started twice");
    };
    clock::start(core.SYST);
    device
}

/// Ends the program and QEMU.
pub fn exit(exit: Exit) -> ! {
    ram::log_stack();
    semihosting::process::exit(exit as i32)
}
