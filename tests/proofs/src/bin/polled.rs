//! The polled driver, over each machine.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::drivers::POLLED);
