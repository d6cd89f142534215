//! The driver for datagrams, with each machine over them.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::drivers::DATAGRAMS);
