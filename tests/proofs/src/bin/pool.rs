//! The server pool of the non-blocking driver.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::drivers::POOL);
