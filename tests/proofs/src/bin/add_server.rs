//! The add server on its own.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::ADD_SERVER);
