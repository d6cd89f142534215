//! The conformance tester: runs somebody else's program, talks with it, and judges what it does.
//!
//! | module | content |
//! |---|---|
//! | `case`, `steps` | a case as a row of a table, and the steps that all protocols share |
//! | `lines` | lines of text, which several protocols have |
//! | `datagrams` | the steps of the protocols over datagrams |
//! | `math` and so on | the cases of a protocol |
//! | `setup`, `program`, `connection` | the command and its address, the child process, a socket |
//! | `talk` | a conversation: what the steps do |
//! | `engine` | runs cases, several at a time |
//! | `pattern` | patterns that select cases |
//! | `placeholders` | placeholders of the command, and what they stand for |
//! | `failure`, `hint` | why a step failed, and what is probably wrong in the program |
//! | `report` | results as text and in the formats of other tools |

mod add;
mod case;
mod chat;
mod coin;
mod connection;
mod datagrams;
mod echo;
mod engine;
mod failure;
mod file;
mod guess;
mod hello;
mod hint;
mod lines;
mod math;
mod pair;
mod pattern;
mod placeholders;
mod program;
pub(crate) mod report;
mod rps;
mod setup;
mod steps;
mod talk;
mod turns;
mod udp;

pub(crate) use case::{Case, Protocol};
pub(crate) use engine::{CaseResult, NOT_STARTED, Plan, Run, Verdict, id, run, unstarted};
pub(crate) use pattern::matches;
pub(crate) use placeholders::line as placeholders;
pub(crate) use setup::{Role, Setup, Target, Wire};

/// Defines the list of the protocols.
macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        /// The protocols, in the order of the help.
        pub(crate) const PROTOCOLS: &[&Protocol] = &[$(&$module::PROTOCOL,)*];
    };
}

socklab_core::for_each_protocol!(protocols);

/// Returns the cases of a protocol for a role.
pub(crate) fn cases(protocol: &Protocol, role: Role, wire: &Wire) -> Vec<Case> {
    match role {
        Role::Client | Role::Server => (protocol.cases)(role, wire),
        Role::Pair => pair::cases(protocol),
    }
}
