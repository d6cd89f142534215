//! The math client for C.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::c::C_MATH_CLIENT);
