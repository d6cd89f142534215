//! `socklab hello`.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use socklab_core::hello::{ClientBytes, ServerBytes};

use super::common::{Address, Common, Failure, Listen, Run, time};
use crate::hello::{Client, Options, Report, Service};
use crate::net::{Ended, Limits};
use crate::ui::put_text;

const PORT: u16 = 12345;

/// Print the server's greeting
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address,
    /// Greet back: for a server with --both
    #[arg(long)]
    both: bool,
    /// Write the greeting to a terminal as it is, control characters and all
    #[arg(long)]
    raw: bool,
}

/// Greet every client
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Where to listen; 0 takes a free port
    #[arg(value_name = "[BIND:]PORT", default_value = "12345")]
    listen: Listen,
    /// Wait for each client's greeting too
    #[arg(long)]
    both: bool,
    /// Stop after so many clients
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Send the greeting in two parts, the first of so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u8).range(1..=17))]
    split: Option<u8>,
    /// The pause between the two parts
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = time)]
    gap: Duration,
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { address, both, raw } = self;
        let service = || Service::new(Options { both, ..Options::default() });
        common.dial(&address, PORT, "hello", service, |target| {
            let mut output = common.output(raw);
            let client = Client::connect_with(target, both, common.timeout())?
                .observed(common.client_trace::<ServerBytes, ClientBytes>());
            output
                .event(&json!({ "event": "connected", "peer": client.peer().to_string() }))
                .map_err(Failure::stdout)?;
            let greeting = client.greet()?;
            let mut event = json!({ "event": "greeting" });
            put_text(&mut event, "greeting", &greeting);
            output
                .event(&event)
                .and_then(|()| output.piece(&greeting))
                .and_then(|()| output.end())
                .map_err(Failure::stdout)
        })
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, both, count, split, gap } = self;
        let options = Options { both, count, split: split.unwrap_or(0) };
        let limits = Limits { pace: gap, ..common.limits() };
        common.serve::<ClientBytes, ServerBytes, _>(&listen, limits, |sessions| {
            Service::new(options).reporting(move |report| sessions.tell(report, || event(report)))
        })
    }
}

fn event(report: &Report) -> serde_json::Value {
    let (outcome, error) = match report.ended {
        Ended::Done => ("greeted", None),
        Ended::Failed(e) => ("failed", Some(e.to_string())),
        Ended::Stopped => ("stopped", None),
    };
    let mut event =
        json!({ "event": "session", "peer": report.peer.to_string(), "outcome": outcome });
    if let Some(greeting) = &report.greeting {
        put_text(&mut event, "greeting", greeting);
    }
    if let Some(error) = error {
        event["error"] = error.into();
    }
    event
}
