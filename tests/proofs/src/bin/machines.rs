//! Every machine, session, pump and dissector.

#![no_std]
#![no_main]

use socklab_proofs::machines::*;

socklab_proofs::image!(ALONE, BULK, SESSIONS, BUFFER, WIRE);
