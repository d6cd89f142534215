//! Both ends of math and echo over `embedded-nal`.

#![no_std]
#![no_main]

use socklab_proofs::drivers::{NAL_CLIENTS, NAL_SERVERS};

socklab_proofs::image!(NAL_CLIENTS, NAL_SERVERS);
