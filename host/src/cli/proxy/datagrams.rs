//! `socklab proxy` for datagrams, and what a person and a program see of it.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::common::{Common, Console, Failure, Reporter};
use super::ProxyArgs;
use crate::faults::datagrams::{Fate, Faults};
use crate::net::{Target, reason};
use crate::proxy::Flow;
use crate::proxy::datagrams::{Client, Ended, Event, Limits, Observer, Proxy, Totals, Traffic};
use crate::ui::DatagramTrace;
use crate::ui::messages::{Conversation, RAW, dissectors};
use crate::ui::recording::Observed;

impl ProxyArgs {
    pub(super) fn run_datagrams(
        self,
        common: &Common,
        target: &Target,
        faults: Faults,
        seed: u64,
    ) -> Result<(), Failure> {
        let console = Console::start(common)?;
        let idle = match common.timeout() {
            // Only if it is given: the default is that of a connection.
            Some(_) => common.person_timeout().or(Limits::default().idle),
            None => None,
        };
        let [up, down] = self.directions(faults);
        let mut proxy = Proxy::bind(&self.listen, target, common.timeout())?
            .limits(Limits { idle, clients: self.clients.max_clients })
            .faults(up, down, seed);
        let dissectors = match self.protocol.as_str() {
            RAW => Conversation::raw_datagrams,
            name => dissectors(name, self.header()),
        };
        if common.traces() {
            let trace = DatagramTrace::new(console.log().clone(), dissectors);
            proxy = proxy.observer(Box::new(trace));
        }
        let reporter = console.reporter();
        proxy = proxy.observer(Box::new(Log::new(reporter.clone())));

        if let Some(picture) = common.picture() {
            let recorder = picture.recorder(Observed::Proxy, dissectors);
            proxy = proxy.observer(recorder.datagram_proxy_observer());
        }
        if let Some(capture) = common.capture() {
            capture.on_ready(proxy.resumer());
            proxy = proxy.observer(Box::new(capture.datagram_proxy()));
        }

        let addr = proxy.local_addr();
        let servers: Vec<_> = proxy.targets().iter().map(ToString::to_string).collect();
        let stopper = proxy.stopper();
        console.run(
            &stopper,
            |reporter| {
                let mut event = json!({
                    "event": "listening", "address": addr.to_string(), "servers": servers,
                });
                let mut details = String::new();
                if faults.is_random() {
                    event["seed"] = seed.into();
                    details = format!("; seed {seed}");
                }
                reporter.log(format_args!("forwarding datagrams to {target}{details}"));
                reporter.report(format_args!("listening on {addr}"), || event);
            },
            move || {
                let totals = proxy.run()?;
                summarize(&reporter, &totals);
                Ok(())
            },
        )
    }
}

/// Writes what has passed.
fn summarize(reporter: &Reporter, totals: &Totals) {
    let Totals { clients, up, down, .. } = totals;
    if *clients > 0 {
        let s = if *clients == 1 { "" } else { "s" };
        reporter.log(format_args!("to the server: {}", summary(up)));
        reporter.log(format_args!("to the client{s}: {}", summary(down)));
    }
    reporter.event(|| {
        json!({
            "event": "summary", "clients": clients, "up": numbers(up), "down": numbers(down),
        })
    });
}

/// Returns what has passed in a direction, in words.
fn summary(traffic: &Traffic) -> String {
    let counts = traffic.counts;
    let mut text = format!("{}: {} passed", Datagrams(counts.arrived), passed(traffic));
    for (n, what) in [
        (counts.dropped, "dropped"),
        (counts.overflowed, "dropped because too many waited"),
        (traffic.failed, "not sent"),
        (traffic.refused, "refused by the server's system"),
        (counts.kept(), "still waiting"),
        (counts.duplicated, "duplicated"),
        (counts.reordered, "reordered"),
    ] {
        if n > 0 {
            text += &format!(", {n} {what}");
        }
    }
    text
}

/// Returns the number of datagrams that were sent and not refused. A copy that was refused counts as a datagram.
const fn passed(traffic: &Traffic) -> u64 {
    traffic.counts.passed.saturating_sub(traffic.failed).saturating_sub(traffic.refused)
}

fn numbers(traffic: &Traffic) -> Value {
    let Traffic { counts, failed, refused, bytes, .. } = traffic;
    json!({
        "datagrams": counts.arrived, "passed": passed(traffic), "dropped": counts.dropped,
        "overflowed": counts.overflowed, "failed": failed, "refused": refused, "waiting": counts.kept(),
        "duplicated": counts.duplicated, "reordered": counts.reordered, "bytes": bytes,
    })
}

/// A number of datagrams in words.
struct Datagrams(u64);

impl std::fmt::Display for Datagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} datagram{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// Writes log lines and events.
struct Log {
    reporter: Reporter,
    /// Whether there has been more than one client.
    has_many: bool,
    /// Clients for which the server is unreachable: the addresses tried, and whether that has been reported.
    unreachable: HashMap<u64, (Vec<String>, bool)>,
}

impl Log {
    fn new(reporter: Reporter) -> Self {
        Self { reporter, has_many: false, unreachable: HashMap::new() }
    }
}

impl Observer for Log {
    fn observe(&mut self, client: &Client, event: &Event<'_>) {
        let Client { number, client: peer, server, up, down, .. } = client;
        self.has_many |= *number > 1;
        let has_many = self.has_many;
        let name = || if has_many { format!("#{number} {peer}") } else { peer.to_string() };
        let event_of =
            |name: &str| json!({ "event": name, "client": number, "peer": peer.to_string() });
        let datagram = |flow: &Flow, bytes: &[u8], fate: &str| {
            let mut event = event_of("datagram");
            event["to"] = flow.to().to_string().into();
            event["bytes"] = bytes.len().into();
            event["fate"] = fate.into();
            event
        };
        match event {
            Event::Opened => self.reporter.event(|| {
                let mut event = event_of("opened");
                event["server"] = server.to_string().into();
                event
            }),
            Event::Arrived(flow, bytes, fate) => self.reporter.event(|| {
                let fate = match fate {
                    Fate::Held => "held",
                    Fate::Overflowed => "overflowed",
                    Fate::Dropped | Fate::Leaves(_) => "dropped",
                };
                datagram(flow, bytes, fate)
            }),
            Event::Sent(flow, bytes, passage) => self.reporter.event(|| {
                let mut event = datagram(flow, bytes, "sent");
                event["copy"] = passage.copy.into();
                event["reordered"] = passage.is_reordered.into();
                event["ms"] = (passage.kept.as_secs_f64() * 1e3).into();
                event
            }),
            Event::Failed(flow, bytes, e) => {
                let (to, n, why) = (flow.to(), bytes.len(), reason(e));
                let line = format!("{}: cannot send {n} bytes to the {to}: {why}", name());
                self.reporter.report(line, || {
                    let mut event = datagram(flow, bytes, "failed");
                    event["error"] = why.into();
                    event
                });
            }
            Event::Unreachable(e, next) => {
                let why = reason(e);
                let (tried, is_reported) = self.unreachable.entry(*number).or_default();
                let server = server.to_string();
                if !tried.contains(&server) {
                    tried.push(server.clone());
                }
                // The other address may have a server.
                if next.is_none() && !std::mem::replace(is_reported, true) {
                    let (servers, is) =
                        (tried.join(" and "), if tried.len() > 1 { "are" } else { "is" });
                    self.reporter.log(format_args!(
                        "{}: {servers} {is} unreachable: {why}; is a server listening on that port?",
                        name()
                    ));
                }
                self.reporter.event(|| {
                    let mut event = event_of("unreachable");
                    event["server"] = server.into();
                    event["error"] = why.into();
                    if let Some(next) = next {
                        event["next"] = next.to_string().into();
                    }
                    event
                });
            }
            Event::Ended(ended) => {
                self.unreachable.remove(number);
                if *ended != Ended::Stopped {
                    let refused = match up.refused {
                        0 => String::new(),
                        n => format!(" ({n} refused)"),
                    };
                    self.reporter.log(format_args!(
                        "{}: {} to the server{refused}, {} to the client; {ended}",
                        name(),
                        Datagrams(up.counts.passed),
                        Datagrams(down.counts.passed)
                    ));
                }
                self.reporter.event(|| {
                    let mut event = event_of("ended");
                    event["outcome"] = match ended {
                        Ended::Idle => "idle",
                        Ended::Replaced => "replaced",
                        Ended::Stopped => "stopped",
                    }
                    .into();
                    event["up"] = numbers(up);
                    event["down"] = numbers(down);
                    event
                });
            }
        }
    }
}
