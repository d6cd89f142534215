//! Every machine of both roles, alone.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::ALONE);
