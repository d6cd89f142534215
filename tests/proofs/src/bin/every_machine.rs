//! Every machine over a stream, of both roles, without session or driver.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::ALONE);
