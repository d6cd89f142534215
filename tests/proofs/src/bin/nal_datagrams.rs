//! Both ends of udp over `embedded-nal`.

#![no_std]
#![no_main]

socklab_proofs::image!(socklab_proofs::drivers::NAL_DATAGRAMS);
