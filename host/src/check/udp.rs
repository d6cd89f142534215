//! Cases of the datagrams.

use super::case::{Case, Protocol, Situation};
use super::setup::{Role, Wire};

pub(super) const PROTOCOL: Protocol = Protocol { name: "udp", cases, hint, wire: &[] };

fn cases(_: Role, _: &Wire) -> Vec<Case> {
    Vec::new()
}

fn hint(_: &Situation<'_>) -> Option<String> {
    None
}
