//! Test support: what the tests in `tests/` and the fuzz targets are made of.
//!
//! | module | what it does |
//! |---|---|
//! | [`script`] | drives one machine with a script under every cut, and holds it to its laws |
//! | [`role`] | the application of each machine, deterministic, for the others to drive |
//! | [`pair`] | a client and a server over a simulated, faulty link, from a seed |
//! | [`transport`] | in-memory transports for the three drivers, with every fault they can have |
//! | [`dissect`] | dissectors under cuts |
//! | [`protocols`] | the table of protocols, without its types |
//! | [`generated`] | lines of files that follow from it |
//! | [`oracle`] | what the right answer is, worked out the plain way |
//! | [`program`] | the real binary and Python peers as child processes |
//! | [`files`] | what tests of `socklab file` share |
//! | [`board`] | programs for a microcontroller on an emulated one |

#[cfg(unix)]
pub mod board;
pub mod dissect;
#[cfg(unix)]
pub mod files;
pub mod generated;
pub mod oracle;
pub mod pair;
pub mod program;
pub mod protocols;
pub mod rng;
pub mod role;
pub mod script;
pub mod transport;
