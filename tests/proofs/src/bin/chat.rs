//! Either side of a chat, alone.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::machines::CHAT);
