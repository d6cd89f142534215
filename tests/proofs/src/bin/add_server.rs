//! The add server alone.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::ADD_SERVER);
