//! `socklab check`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::common::Failure;
use crate::check::{self, PROTOCOLS, Plan, Role, Setup, Target, Verdict, Wire};

/// Test a client or server that somebody else has written
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The protocol
    protocol: String,
    /// What the program is: client or server
    role: String,
    /// Port that is fixed in the program
    #[arg(long)]
    port: Option<u16>,
    /// What is typed
    #[arg(long)]
    stdin: Option<String>,
    /// Limit of each wait
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Number of cases at a time
    #[arg(long, default_value = "4")]
    jobs: usize,
    /// The program and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

impl CheckArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let protocol = PROTOCOLS.iter().find(|p| p.name == self.protocol).expect("protocol");
        let role = if self.role == "client" { Role::Client } else { Role::Server };
        let setup = Arc::new(Setup {
            protocol: protocol.name,
            role,
            target: Target::Command(self.command),
            port: self.port,
            stdin: self.stdin,
            timeout: self.timeout,
            seed: 1,
            wire: Wire::default(),
            cancelled: AtomicBool::new(false),
        });
        let cases = (protocol.cases)(role, &setup.wire);
        let plan = Plan { jobs: self.jobs, fail_fast: false, total: None };
        let results = check::run(protocol, &setup, &cases, plan, &mut |result| {
            print!("{}", check::report::text::result(result, ""));
        })
        .map_err(|f| Failure::System(format!("{f:?}")))?;
        let failed = results.iter().filter(|r| matches!(r.verdict, Verdict::Fail(_))).count();
        if failed > 0 { Err(Failure::Peer(format!("{failed} failed"))) } else { Ok(()) }
    }
}
