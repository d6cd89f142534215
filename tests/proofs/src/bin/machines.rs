//! Every machine, session, pump and dissector, and packing.

#![no_std]
#![no_main]

use socklab_proofs::machines::*;

socklab_proofs::image!(
    ALONE,
    DATAGRAMS_ALONE,
    SHORT,
    BULK,
    SESSIONS,
    BUFFER,
    WIRE,
    PACK,
    DISSECTORS,
    FUNCTIONS
);
