//! The texts for the user.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::SENTENCES);
