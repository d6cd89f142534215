//! What a person sees of the connections of a proxy: log lines, events and the trace.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::super::common::Reporter;
use crate::faults::Ending;
use crate::net;
use crate::net::Direction;
use crate::proxy::{Connection, Ended, Event, Flow, Observer, Side};

/// Passes what the proxy writes to a trace.
pub(super) struct Tracer(Box<dyn net::Observer>);

impl Tracer {
    pub(super) fn new(trace: Box<dyn net::Observer>) -> Self {
        Self(trace)
    }
}

impl Observer for Tracer {
    fn observe(&mut self, connection: &Connection, event: &Event<'_>) {
        // On a system with 32 bits, connections have the same number after four billions.
        let number = usize::try_from(connection.number).unwrap_or(usize::MAX);
        // As the client sees it: it sends to the server.
        let direction = |flow: &Flow| match flow {
            Flow::Up => Direction::Sent,
            Flow::Down => Direction::Received,
        };
        match event {
            Event::Moved(flow, bytes) => {
                self.0.moved(number, connection.client, direction(flow), bytes);
            }
            Event::Closed(flow) => self.0.moved(number, connection.client, direction(flow), &[]),
            Event::Ended(ended) => {
                let reset = ended.reset().map(|side| match side {
                    Side::Client => Direction::Sent,
                    Side::Server => Direction::Received,
                });
                self.0.ended(number, connection.client, reset);
            }
            // The log has these, between the lines of the trace.
            Event::Retried(..)
            | Event::Stalled(_)
            | Event::Flipped(..)
            | Event::Unflipped(..)
            | Event::Undelivered(..)
            | Event::Opened
            | Event::Connected => {}
        }
    }

    /// Each line of a trace takes about a microsecond, and a message may have four bytes.
    fn read_max(&self) -> usize {
        16 * 1024
    }
}

/// Writes log lines and events.
pub(super) struct Log {
    reporter: Reporter,
    /// Whether there has been more than one connection.
    has_many: bool,
    /// Addresses of the server that were tried before the present one, for each connection.
    tried: HashMap<u64, Vec<SocketAddr>>,
}

impl Log {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self { reporter, has_many: false, tried: HashMap::new() }
    }
}

impl Observer for Log {
    fn observe(&mut self, connection: &Connection, event: &Event<'_>) {
        let Connection { number, client, server, up, down, .. } = connection;
        self.has_many |= *number > 1;
        let prefix = if self.has_many { format!("#{number} ") } else { String::new() };
        let (peer, server) = (client.to_string(), server.to_string());
        match event {
            Event::Retried(addr, _) => self.tried.entry(*number).or_default().push(*addr),
            Event::Connected => self.reporter.event(|| {
                json!({ "event": "connected", "connection": number, "peer": peer, "server": server })
            }),
            Event::Stalled(flow) => {
                let (bytes, to) = (Bytes(if *flow == Flow::Up { *up } else { *down }), flow.to());
                self.reporter.report(format_args!("{prefix}{client}: stalled to the {to} after {bytes}"), || {
                    json!({
                        "event": "stalled", "connection": number, "peer": peer,
                        "to": to.to_string(),
                    })
                });
            }
            Event::Flipped(flow, n) | Event::Unflipped(flow, n) | Event::Undelivered(flow, n) => {
                let (name, key) = match event {
                    Event::Flipped(..) => ("flipped", "offset"),
                    Event::Unflipped(..) => ("not flipped", "offset"),
                    _ => ("not delivered", "bytes"),
                };
                let text = event.fault().unwrap_or_default();
                self.reporter.report(format_args!("{prefix}{client}: {text}"), || {
                    let mut event = json!({
                        "event": name, "connection": number, "peer": peer, "to": flow.to().to_string(),
                    });
                    event[key] = (*n).into();
                    event
                });
            }
            Event::Ended(ended) => {
                let mut servers: Vec<_> = self.tried.remove(number).unwrap_or_default();
                servers.push(connection.server);
                let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
                let line = match ended {
                    Ended::Unreachable(_) => {
                        let servers = servers.join(" and ");
                        format!("{prefix}{client}: cannot connect to {servers}: {ended}")
                    }
                    _ => {
                        let (up, down) = (Bytes(*up), Bytes(*down));
                        format!("{prefix}{client}: {up} to the server, {down} to the client; {ended}")
                    }
                };
                self.reporter.report(line, || {
                    let (outcome, side) = match ended {
                        Ended::Closed(side) => ("closed", Some(("first", *side))),
                        Ended::Reset(side) => ("reset", Some(("by", *side))),
                        Ended::Fault(flow, Ending::Close) => ("close fault", Some(("to", flow.to()))),
                        Ended::Fault(flow, _) => ("reset fault", Some(("to", flow.to()))),
                        Ended::Unreachable(_) => ("unreachable", None),
                        Ended::TimedOut => ("timeout", None),
                        Ended::Stopped => ("stopped", None),
                    };
                    let mut event = json!({
                        "event": "ended", "connection": number, "peer": peer, "server": server,
                        "up": up, "down": down, "outcome": outcome,
                    });
                    if let Some((key, side)) = side {
                        event[key] = side.to_string().into();
                    }
                    if let Ended::Unreachable(_) = ended {
                        event["error"] = ended.to_string().into();
                        event["servers"] = servers.into();
                    }
                    event
                });
            }
            Event::Opened | Event::Moved(..) | Event::Closed(_) => {}
        }
    }

    fn stopping(&mut self, connections: usize, grace: Duration) {
        let s = if connections == 1 { "" } else { "s" };
        self.reporter.report(
            format_args!(
                "waiting at most {grace:?} for {connections} open connection{s} to end; Ctrl-C again resets them"
            ),
            || json!({ "event": "stopping", "connections": connections }),
        );
    }
}

/// A number of bytes in words.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}
