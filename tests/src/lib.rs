//! Test support: the parts that the tests in `tests/` and the fuzz targets are built from.
//!
//! | module | content |
//! |---|---|
//! | [`script`] | runs one machine against a script under every cut, and checks the laws |
//! | [`role`] | a deterministic application for each machine |
//! | [`samples`] | sessions and scripts of every protocol |
//! | [`draw`] | bytes of a fuzz input as choices |
//! | [`faults`] | the schedules of faults of the program's proxy |
//! | [`datagrams`] | clients and a server over a simulated, faulty datagram network, from a seed |
//! | [`pair`] | a client and a server over a simulated, faulty link, from a seed |
//! | [`simulation`] | the engine of the servers over a simulated network and clock |
//! | [`transport`] | in-memory transports for the three drivers, with every fault a real one has |
//! | [`dissect`] | dissectors under cuts |
//! | [`protocols`] | the table of protocols, without its types |
//! | [`generated`] | lines of files that are generated from that table |
//! | [`oracle`] | expected results, computed in the simplest way |
//! | [`program`] | the real binary and Python peers as child processes |
//! | [`files`] | helpers for tests of `socklab file` |
//! | [`load`] | busy processors |
//! | [`mutants`] | programs of students, correct and with planted mistakes |
//! | [`board`] | programs for a microcontroller on an emulated one |

#[cfg(unix)]
pub mod board;
pub mod datagrams;
pub mod dissect;
pub mod draw;
// The same file, and not the crate: the fuzz targets need this one module, and not the program.
#[path = "../../host/src/faults/mod.rs"]
pub mod faults;
#[cfg(unix)]
pub mod files;
pub mod generated;
pub mod load;
pub mod mutants;
pub mod oracle;
pub mod pair;
pub mod program;
pub mod protocols;
pub mod rng;
pub mod role;
pub mod samples;
pub mod script;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod transport;
