//! The texts for the user.

#![no_std]
#![no_main]

use socklab_proofs::machines::{ERRORS, MESSAGES, PROTOCOL_SENTENCES, SENTENCES};

socklab_proofs::image!(ERRORS, MESSAGES, PROTOCOL_SENTENCES, SENTENCES);
