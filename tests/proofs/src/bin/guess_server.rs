//! The guess server alone.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::GUESS_SERVER);
