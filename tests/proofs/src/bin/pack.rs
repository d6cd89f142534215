//! Packing and unpacking, without a machine.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::PACK);
