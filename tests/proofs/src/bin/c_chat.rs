//! Chat for C.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::c::C_CHAT);
