//! `socklab proxy`.

mod datagrams;
mod faults;
mod observers;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use socklab_core::wire::Transport;

use self::faults::FaultArgs;
use self::observers::{Log, Tracer};
use super::common::{Common, Console, Failure, Host, ListenAddr, MaxClients, Run, host, listen_at};
use crate::net;
use crate::proxy::{Error, Limits, Proxy, Side};
use crate::ui::messages::{NAMES, RAW, dissectors, transport};
use crate::ui::recording::Observed;
use crate::ui::{HexTrace, Lines, Trace, TraceOutput};

/// Pass bytes between clients and a server, show them, and simulate network faults
#[derive(Debug, Args)]
pub(super) struct ProxyArgs {
    /// The protocol that --trace shows message by message; raw shows bytes
    #[arg(value_parser = PossibleValuesParser::new(NAMES))]
    protocol: String,
    /// Address to listen on: PORT or BIND:PORT; port 0 selects a free port
    #[arg(value_name = "[BIND:]PORT", value_parser = listen_at)]
    listen: ListenAddr,
    /// The server's name or IP address, and its port; each client gets a socket of its own
    #[arg(value_name = "HOST:PORT", value_parser = server)]
    server: Host,
    /// With raw: pass datagrams (UDP), and not connections (TCP)
    #[arg(long)]
    datagrams: bool,
    #[command(flatten)]
    faults: FaultArgs,
    /// Limit the faults to the direction from the clients to the server
    #[arg(long, help_heading = "Faults")]
    up: bool,
    /// Limit the faults to the direction from the server to the clients
    #[arg(long, conflicts_with = "up", help_heading = "Faults")]
    down: bool,
    /// Seed of random faults, to repeat a run [default: random, and shown]
    #[arg(long, value_name = "N", help_heading = "Faults")]
    seed: Option<u64>,
    /// Size of the length field of echo in bytes [default: 4]
    #[arg(long, value_name = "2|4", value_parser = super::echo::header)]
    header: Option<u8>,
    #[command(flatten)]
    clients: MaxClients,
}

fn server(text: &str) -> Result<Host, String> {
    let host = host(text)?;
    match host.port {
        Some(_) => Ok(host),
        None => Err("expected HOST:PORT, such as localhost:8000".into()),
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        match e {
            Error::Loop(_) => Self::Usage(e.to_string()),
            _ => Self::System(e.to_string()),
        }
    }
}

impl Run for ProxyArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let target = self.server.target(None, 0)?;
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
        if (self.up || self.down) && !self.faults.is_given() {
            let option = if self.up { "--up" } else { "--down" };
            return Err(Failure::Usage(format!(
                "{option} limits the faults to one direction, but none is given; see --help"
            )));
        }
        if self.header.is_some() && self.protocol != "echo" {
            let e =
                format!("--header is for echo; {} has no such option; see --help", self.protocol);
            return Err(Failure::Usage(e));
        }
        if self.has_datagrams()? {
            let faults = self.faults.of_datagrams().map_err(|e| self.misplaced(&e))?;
            return self.run_datagrams(common, &target, faults, seed);
        }
        let faults = self.faults.of_stream().map_err(|e| self.misplaced(&e))?;

        let console = Console::start(common)?;
        let limits = Limits {
            connect: common.timeout(),
            idle: common.person_timeout(),
            clients: self.clients.max_clients,
            ..Limits::default()
        };
        let [up, down] = self.directions(faults);
        let mut proxy = Proxy::bind(&self.listen, &target, common.timeout())?
            .limits(limits)
            .faults(up, down, seed);
        // The trace first: the line about the end of a connection follows its last message.
        if common.traces() {
            proxy = proxy.observer(Box::new(Tracer::new(self.trace(console.log().clone()))));
        }
        proxy = proxy.observer(Box::new(Log::new(console.reporter())));
        if let Some(picture) = common.picture() {
            let dissectors = dissectors(&self.protocol, self.header());
            let recorder = picture.recorder(Observed::Proxy, dissectors);
            proxy = proxy.observer(recorder.proxy_observer());
        }
        if let Some(capture) = common.capture() {
            capture.on_ready(proxy.resumer());
            proxy = proxy.observer(Box::new(capture.proxy()));
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
                reporter.log(format_args!("forwarding to {target}{details}"));
                reporter.report(format_args!("listening on {addr}"), || event);
            },
            || proxy.run(),
        )
    }

    fn adjust(command: clap::Command) -> clap::Command {
        let command = command.mut_arg("timeout", |arg| {
            arg.help(
                "Limit for connecting and for a connection without progress: 30 (seconds), 500ms, 2min or none \
                 [default: 30s for connecting, none after that; with datagrams 2min for an idle client]",
            )
        });
        command.mut_arg("max_clients", |arg| {
            arg.help(
                "Largest number of clients served at a time; further clients wait until one disconnects, and with \
                 datagrams replace the one that has been idle longest",
            )
        })
    }
}

impl ProxyArgs {
    /// Returns whether datagrams are passed, and not connections.
    fn has_datagrams(&self) -> Result<bool, Failure> {
        let is_datagrams = transport(&self.protocol) == Transport::Datagrams;
        match (self.datagrams, self.protocol.as_str()) {
            (true, RAW) => Ok(true),
            (true, name) if !is_datagrams => Err(Failure::Usage(format!(
                "--datagrams is for raw: {name} has connections; see --help"
            ))),
            _ => Ok(is_datagrams),
        }
    }

    /// Returns the faults to the server, and those to the clients.
    fn directions<F: Copy + Default>(&self, faults: F) -> [F; 2] {
        match (self.up, self.down) {
            (true, _) => [faults, F::default()],
            (_, true) => [F::default(), faults],
            _ => [faults; 2],
        }
    }

    /// Returns the size of the length field of echo.
    fn header(&self) -> u8 {
        self.header.unwrap_or(4)
    }

    fn misplaced(&self, e: &str) -> Failure {
        Failure::Usage(format!("{e}; {} has no such fault; see --help", self.protocol))
    }

    fn trace(&self, lines: Lines) -> Box<dyn net::Observer> {
        if self.protocol == RAW {
            return Box::new(HexTrace::new(lines));
        }
        let dissectors = dissectors(&self.protocol, self.header());
        // As the client sees it.
        Box::new(Trace::new(TraceOutput::Proxy(lines), Side::Client, dissectors))
    }
}
