//! Every machine, session, pump and dissector.

#![no_std]
#![no_main]

use socklab_proofs::machines::*;

socklab_proofs::image!(
    MATH_CLIENT,
    MATH_SERVER,
    ECHO_CLIENT,
    ECHO_SERVER,
    MATH_CLIENT_BULK,
    MATH_SERVER_BULK,
    ECHO_CLIENT_BULK,
    ECHO_SERVER_BULK,
    MATH_CLIENT_SESSION,
    MATH_SERVER_SESSION,
    ECHO_CLIENT_SESSION,
    ECHO_SERVER_SESSION,
    BUFFER,
    WIRE,
);
