//! The hello server alone.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::HELLO_SERVER);
