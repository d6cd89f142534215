//! All functions for C.

#![no_std]
#![no_main]

use socklab_proofs::c::{C_CHAT, C_MATH_CLIENT};

socklab_proofs::image!(C_MATH_CLIENT, C_CHAT);
