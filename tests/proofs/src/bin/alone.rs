//! One machine alone: that of the table in the core with this name.
//!
//! The name comes from the environment when this is built, so that a machine needs no program of its own.

#![no_std]
#![no_main]

use socklab_proofs::Kept;
use socklab_proofs::machines::named;

/// Without a name, as when all programs are checked, it is any machine.
const NAME: &str = match option_env!("SOCKLAB_MACHINE") {
    Some(name) => name,
    None => "math_client",
};

#[used]
#[unsafe(link_section = ".kept")]
static IMAGE: Kept<2> = named(NAME);
