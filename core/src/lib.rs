// Of two definitions of a link the first counts. On this page these do, which rustdoc checks; on other pages
// those of the README.
//! [laws]: machine::Machine#laws
//! [`step`]: machine::Machine::step
//! [`Machine`]: machine::Machine
//! [`MIN_INPUT`]: machine::Machine::MIN_INPUT
//! [`MIN_OUTPUT`]: machine::Machine::MIN_OUTPUT
//! [`Input::ended`]: machine::Input::ended
//! [`Session`]: session::Session
//! [`pump`]: session::pump
//! [datagram]: mod@datagram
//! [driver]: mod@driver
//! [`math`]: mod@math
//! [`add`]: mod@add
//! [`file`]: mod@file
//! [`echo`]: mod@echo
//! [`udp`]: mod@udp
//! [`hello`]: mod@hello
//! [`chat`]: mod@chat
//! [`coin`]: mod@coin
//! [`guess`]: mod@guess
//! [`rps`]: mod@rps
#![cfg_attr(feature = "nal", doc = "[`nonblocking::Server`]: driver::nonblocking::Server")]
#![cfg_attr(feature = "nal", doc = "[`set_timeout`]: driver::nonblocking::Server::set_timeout")]
//!
// The examples in the README contain no `cfg`, so that they can be copied. They are tested only when all
// features that they use are on.
#![cfg_attr(
    any(
        not(doctest),
        all(
            feature = "embedded-io",
            feature = "embedded-io-async",
            feature = "nal",
            feature = "heapless"
        )
    ),
    doc = include_str!("../README.md")
)]
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions,
        clippy::string_slice,
        clippy::integer_division,
    )
)]

#[cfg(test)]
extern crate std;

pub mod add;
pub mod chat;
pub mod coin;
mod count;
pub mod datagram;
pub mod driver;
pub mod echo;
pub mod file;
pub mod guess;
pub mod hello;
pub mod machine;
pub mod math;
pub mod rps;
pub mod session;
mod table;
#[cfg(test)]
mod texts;
pub mod udp;
pub mod wire;

pub use machine::Machine;

// Everything that exists once for each protocol is generated from these rows: the commands of the program, the tests
// of sizes, allocations and owned events, the proofs, the roles of the fuzz targets, the tables of the READMEs. A new
// protocol is a module above and a row here. This is a macro because its users need the types. It is hidden because
// it changes with every protocol. The program depends on exactly the version of this crate that it was built with.
/// Calls a macro with the row of each protocol, in the order of the help. Tokens after a comma are passed first.
///
/// | field | content |
/// |---|---|
/// | name and `Name` | module in `core`, `host`, `host::cli` and `socklab_tests::role`, and command; variant of the command |
/// | `about` | line in the help |
/// | `machines` | image in the proofs and type, the client's first. A machine may be both ends |
/// | `datagrams` | instead of `machines`: the same for machines over datagrams. The address of a peer is a `SocketAddr` |
/// | `clients`, `servers` | functions of the role module that draw a role from fuzzer bytes, with its **number in the seeds** |
/// | `dissectors` | dissectors of the protocol, without those in `wire` |
/// | `functions`, `sentences` | what else is proved not to panic: functions, and types with `Display` |
/// | `port` | default port |
/// | `exercise`, `commands` | row in the first table of the README: the exercise, the commands of client and server |
/// | `summary` | row in the table of the core's README |
///
/// The number of a role is the first byte of a fuzz input. A number is never changed and never used again, because
/// existing inputs would get another meaning. A new role gets the number after the greatest one.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_protocol {
    ($($each:ident)::+ $(, $($first:tt)*)?) => {
        $($each)::+! { $($($first)*)?
            math Math {
                about: "The math quiz: answer sums, get a secret",
                machines: [math_client: $crate::math::Client, math_server: $crate::math::Server],
                clients: [client 17],
                servers: [server 7],
                dissectors: [$crate::math::ServerBytes, $crate::math::ClientBytes],
                functions: [],
                sentences: [$crate::math::Mistake],
                port: 8000,
                exercise: "answer sums, get the secret (documents 000, 001)",
                commands: ["socklab math client mathserver 8000", "socklab math server 8000"],
                summary: "a quiz of sums with a secret at its end",
            }
            add Add {
                about: "Two names, two numbers: both ends add them up",
                machines: [add_client: $crate::add::Client, add_server: $crate::add::Server],
                clients: [client 10],
                servers: [server 0],
                dissectors: [],
                functions: [],
                sentences: [],
                port: 12000,
                exercise: "two names, two numbers (002)",
                commands: ["socklab add client HOST 12000", "socklab add server"],
                summary: "two names, two numbers, their sum",
            }
            file File {
                about: "File transfer: fetch a file, or serve a folder",
                machines: [file_client: $crate::file::Client, file_server: $crate::file::Server],
                clients: [client 14],
                servers: [server 4],
                dissectors: [$crate::file::ClientBytes, $crate::file::ServerBytes],
                functions: [$crate::file::Request::parse, $crate::file::Request::emit],
                sentences: [$crate::file::Malformed],
                port: 12001,
                exercise: "fetch a file (002)",
                commands: ["socklab file client HOST:12001:REMOTE LOCAL", "socklab file server --root DIR"],
                summary: "fetch a file, checked and resumable or plain",
            }
            echo Echo {
                about: "Length-prefixed messages that come back without their first ten characters",
                machines: [echo_client: $crate::echo::Client, echo_server: $crate::echo::Server],
                clients: [client 13],
                servers: [server 3],
                dissectors: [$crate::echo::Messages<4>, $crate::echo::Messages<2>],
                functions: [],
                sentences: [
                    $crate::echo::OtherLength, $crate::echo::client::Error<2>, $crate::echo::server::Error<2>,
                ],
                port: 4567,
                exercise: "length-prefixed messages (003)",
                commands: ["socklab echo client HOST 4567 \"Four score and seven\"", "socklab echo server"],
                summary: "length-prefixed messages, returned without their first ten characters",
            }
            udp Udp {
                about: "The same in datagrams, which can be lost, duplicated and reordered",
                datagrams: [
                    udp_client: $crate::udp::Client<core::net::SocketAddr>,
                    udp_server: $crate::udp::Server,
                ],
                clients: [],
                servers: [],
                dissectors: [],
                functions: [$crate::udp::reply_to, $crate::udp::Mistake::of],
                sentences: [
                    $crate::udp::Message<'_>, $crate::udp::Mistake, $crate::udp::server::Refusal,
                    $crate::udp::client::Summary,
                ],
                port: 3456,
                exercise: "datagrams (003)",
                commands: ["socklab udp client HOST 3456 \"Four score and seven\"", "socklab udp server"],
                summary: "datagrams, returned without their first ten characters",
            }
            hello Hello {
                about: "Greetings: the server says hello, and the client may too",
                machines: [hello_client: $crate::hello::Client, hello_server: $crate::hello::Server],
                clients: [client 16],
                servers: [server 6],
                dissectors: [],
                functions: [],
                sentences: [],
                port: 12345,
                exercise: "greetings (004)",
                commands: ["socklab hello client HOST 12345", "socklab hello server"],
                summary: "greetings",
            }
            chat Chat {
                about: "A conversation, a line at a time",
                machines: [chat: $crate::chat::Chat],
                clients: [client 11],
                servers: [server 1, duplex 9],
                dissectors: [],
                functions: [$crate::chat::says_bye],
                sentences: [],
                port: 12345,
                exercise: "chat, in turns until one side says BYE (004)",
                commands: ["socklab chat client HOST", "socklab chat server"],
                summary: "a conversation in turns, or without",
            }
            coin Coin {
                about: "Head or tail: the server tosses a coin, the client guesses",
                machines: [coin_client: $crate::coin::Client, coin_server: $crate::coin::Server],
                clients: [client 12],
                servers: [server 2],
                dissectors: [],
                functions: [],
                sentences: [],
                port: 12345,
                exercise: "head or tail (004)",
                commands: ["socklab coin client HOST", "socklab coin server"],
                summary: "head or tail",
            }
            guess Guess {
                about: "High or low: guess the server's number",
                machines: [guess_client: $crate::guess::Client, guess_server: $crate::guess::Server],
                clients: [client 15],
                servers: [server 5],
                dissectors: [],
                functions: [],
                sentences: [],
                port: 12345,
                exercise: "high or low (004)",
                commands: ["socklab guess client HOST", "socklab guess server"],
                summary: "a number from 1 to 100 in five guesses",
            }
            rps Rps {
                about: "Scissor, paper, stone: two players, three rounds",
                machines: [rps_client: $crate::rps::Client, rps_server: $crate::rps::Server],
                clients: [client 18],
                servers: [server 8],
                dissectors: [],
                functions: [],
                sentences: [],
                port: 12345,
                exercise: "scissor, paper, stone (004)",
                commands: ["socklab rps client HOST", "socklab rps server"],
                summary: "scissor, paper, stone: three rounds of two players",
            }
        }
    };
}
