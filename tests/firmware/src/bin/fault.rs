//! Fails on purpose, as `kind` says. The tests check how that ends.

#![no_std]
#![no_main]

use cortex_m::asm;
use cortex_m::peripheral::SCB;
use cortex_m_rt::entry;
use socklab_firmware::{Exit, args, exit, start};

#[entry]
fn main() -> ! {
    start();
    let read = args::read(|name, value| match (name, value) {
        ("kind", "panic") => panic!("on purpose"),
        // An undefined instruction.
        ("kind", "hard-fault") => asm::udf(),
        ("kind", "interrupt") => {
            // This interrupt has no handler.
            SCB::set_pendsv();
            asm::isb();
            None
        }
        _ => None,
    });
    exit(if read.is_ok() { Exit::Done } else { Exit::Usage })
}
