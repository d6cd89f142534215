//! `socklab hello`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use socklab_core::hello::client::Client;
use socklab_core::hello::{ClientBytes, ServerBytes};

use super::common::{Address, Common, Failure, Listen, Run, ServerOptions, pause};
use super::events::{self, connected, emit, outcome, session};
use crate::hello::{Options, Report, Service};
use crate::net::{DEFAULT_BUFFER, Delivery, Limits, Quote, Surplus};
use crate::ui::put_text;

const PORT: u16 = 12345;

/// Print the server's greeting
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    /// Also send a greeting; the server needs --both too
    #[arg(long)]
    both: bool,
    /// Write the greeting to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Greet every client
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// Also wait for each client's greeting
    #[arg(long)]
    both: bool,
    /// Stop after N clients
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Send the first BYTES bytes of the greeting separately
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = clap::value_parser!(u8).range(1..=17))]
    split: Option<u8>,
    /// Pause between the two parts of the greeting; 0 for none
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, default_value = "100ms", value_parser = pause)]
    gap: Duration,
    #[command(flatten)]
    server: ServerOptions,
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { address, both, raw } = self;
        let service = || Service::new(Options { both, ..Options::default() });
        common.dial(&address, "hello", service, |target| {
            let mut output = common.output(raw);
            let machine = if both { Client::both() } else { Client::new() };
            let mut client =
                common.connect::<ServerBytes, ClientBytes, _>(target, machine, DEFAULT_BUFFER)?;
            connected(&mut output, client.peer())?;
            let greeting = client.greet()?;
            emit(&mut output, || {
                let mut event = json!({ "event": "greeting" });
                put_text(&mut event, "greeting", &greeting);
                event
            })?;
            output.piece(&greeting).and_then(|()| output.end()).map_err(Failure::stdout)?;
            let (delivery, surplus) = if both {
                let (delivery, surplus) = client.finish_and_close();
                (Some(delivery), surplus)
            } else {
                (None, client.close())
            };
            let Surplus { bytes, start } = &surplus;
            if *bytes > 0 {
                let s = if *bytes == 1 { "" } else { "s" };
                log::warn!("{bytes} byte{s} after the greeting, which is one line: {start}");
                events::surplus(&mut output, &surplus)?;
            }
            if let Some(delivery) = delivery {
                emit(&mut output, || {
                    let read = match delivery {
                        Delivery::Read => Some(true),
                        Delivery::Unread(_) => Some(false),
                        _ => None,
                    };
                    json!({ "event": "answered", "read": read })
                })?;
            }
            check_greeting(&greeting)?;
            delivery
                .map_or(Ok(()), |delivery| common.delivered(delivery, "the server", "our greeting"))
        })
    }
}

/// Checks that a greeting is UTF-8 and not empty.
fn check_greeting(greeting: &[u8]) -> Result<(), Failure> {
    let problem = match str::from_utf8(greeting) {
        Ok(text) if text.trim().is_empty() => "empty, expected some text",
        Ok(_) => return Ok(()),
        Err(_) => "not UTF-8",
    };
    let quote =
        if greeting.is_empty() { String::new() } else { format!(": {}", Quote::new(greeting)) };
    Err(Failure::Peer(format!("the server's greeting is {problem}{quote}")))
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, both, count, split, gap, server } = self;
        let options = Options { both, count, split: split.unwrap_or(0) };
        let limits = Limits { pace: gap, ..common.limits(&server) };
        common.serve::<ClientBytes, ServerBytes, _>(
            listen.addrs()?,
            &server,
            limits,
            Service::new(options),
            report_json,
        )
    }
}

/// Returns the event of a session.
fn report_json(report: &Report) -> Value {
    let mut details = json!({});
    if let Some(greeting) = &report.greeting {
        put_text(&mut details, "greeting", greeting);
    }
    session(report.peer, details, outcome(&report.ended, "greeted"))
}
