//! Code that the commands share: options, addresses, failures, and running clients and servers.

mod address;
mod failure;
mod outputs;
mod picture;
mod recordings;
mod serve;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use socklab_core::datagram::DATAGRAM_MAX;
use socklab_core::machine::{Machine, StreamEnd};
use socklab_core::wire::Dissect;

pub(super) use self::address::{Address, Host, Listen, ListenAddr, Messages, host, listen_at};
pub(super) use self::failure::Failure;
pub(super) use self::outputs::distinct;
pub(super) use self::picture::Picture;
pub(super) use self::recordings::Recordings;
pub(super) use self::serve::{Console, Reporter};
use super::events::unfinished;
use crate::net::{
    self, DatagramServer, DatagramService, Delivery, EventOf, Limits, Observer, Running, Server,
    Service, Target,
};
use crate::proxy::Side;
use crate::text::one_line;
use crate::ui::messages::{Conversation, Dissectors};
use crate::ui::recording::Observed;
use crate::ui::signals::{self, Signal};
use crate::ui::{Capture, Keyboard, LogWriter, Output, Trace, TraceOutput, run_within, say};

/// The two ends of a protocol. The help text of each stands at its arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Role<C: Args + Run, S: Args + Run> {
    Client(End<C>),
    Server(End<S>),
}

/// Arguments of one end of a protocol, followed by the options that all ends have.
///
/// The latter are not global options of clap, because `completions` and `man` would accept those too.
#[derive(Debug)]
pub(super) struct End<A> {
    args: A,
    common: Common,
}

impl<A: Args + Run> Args for End<A> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = A::augment_args(command);
        let about = command.get_about().cloned().unwrap_or_default();
        A::adjust(Common::augment_args(command).about(about))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<A: Args + Run> FromArgMatches for End<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let common = Common::from_arg_matches(matches)?;
        Ok(Self { args: A::from_arg_matches(matches)?, common })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A command that can be run.
pub(super) trait Run {
    fn run(self, common: &Common) -> Result<(), Failure>;

    /// Returns the files that the arguments name, with the words for them. The files of [`Common`] must be others.
    fn files(&self) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }

    /// Changes the options of [`Common`] for this command, such as their help.
    fn adjust(command: clap::Command) -> clap::Command {
        command
    }
}

impl<C: Args + Run, S: Args + Run> Role<C, S> {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Client(end) => end.run_with(Common::end_on_interrupt),
            Self::Server(end) => end.run(),
        }
    }
}

impl<A: Args + Run> End<A> {
    /// Runs a command that ends on a signal as servers do.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.run_with(|_| Ok(()))
    }

    fn run_with(self, watch: fn(&Common) -> Result<(), Failure>) -> Result<(), Failure> {
        let Self { args, mut common } = self;
        common.start_log();
        let files = args.files();
        let files: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_path())).collect();
        distinct(
            &[("--pcap", common.pcap.as_deref()), ("--html", common.html.as_deref())],
            &files,
        )?;
        common.start_capture()?;
        common.start_picture()?;
        watch(&common)?;
        let mut result = args.run(&common);
        if signals::end_off() && !matches!(result, Err(Failure::Interrupted(_))) {
            result = Err(Failure::INTERRUPTED);
        }
        let interrupted = u32::from(matches!(result, Err(Failure::Interrupted(_))));
        let stops = signals::stops().max(interrupted);
        let written = common.recordings().finish(result.as_ref().err().cloned(), stops);
        result.and(written)
    }
}

/// Options of all clients and servers.
#[derive(Debug, Args)]
#[command(next_display_order = 100)]
pub(super) struct Common {
    /// Limit for connecting and for an idle connection: 30 (seconds), 500ms, 2min or none [default:
    /// 30s; none while waiting for a person]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    timeout: Option<Timeout>,
    /// Show every message on stderr: time, direction, bytes, meaning
    #[arg(long)]
    trace: bool,
    /// Write a capture for Wireshark or tcpdump: the bytes as packets between client and server
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// The capture, while the command runs
    #[arg(skip)]
    capture: Option<Arc<Capture>>,
    /// Write a page for a browser: an arrow for each message, with the reads and writes that made it up
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The page, while the command runs
    #[arg(skip)]
    picture: Option<Arc<Picture>>,
    /// Write events as JSON lines to stdout, usage errors included
    #[arg(long)]
    json: bool,
    /// Log connections, retries and timeouts to stderr
    #[arg(short, long, overrides_with = "verbose")]
    verbose: bool,
}

/// A limit of time; `None` for no limit.
#[derive(Clone, Copy, Debug)]
struct Timeout(Option<Duration>);

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => humantime::format_duration(time).fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let time = match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => humantime::parse_duration(text).ok(),
        };
        match time {
            Some(Duration::ZERO) => Err("must be more than 0; use \"none\" for no limit".into()),
            Some(time) => Ok(Self(Some(time))),
            None => Err("expected a time such as 30, 500ms or 2min, or none".into()),
        }
    }
}

/// Parses a limit of time that must exist.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    match text.parse::<Timeout>() {
        Ok(Timeout(Some(time))) => Ok(time),
        _ => Err("expected a time of more than 0, such as 5, 500ms or 2min".into()),
    }
}

/// Parses a pause: 0, or a time with a unit. Without a unit, both seconds and milliseconds would be likely.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Duration::ZERO),
        Ok(1e-6..1e6) => Err(format!("a time needs a unit: {text}ms or {text}s?")),
        _ => humantime::parse_duration(text)
            .map_err(|_| "expected a time such as 30ms, 2s or 1min, or 0 for none".into()),
    }
}

/// Pause between messages, for peers that treat one read as one message.
#[derive(Debug, Args)]
pub(super) struct Pace {
    /// Pause between messages, for peers that treat one read as one message; 0 for none
    #[arg(long = "pace", value_name = "TIME", default_value = "30ms", value_parser = pause,
          allow_negative_numbers = true)]
    pub(super) time: Duration,
}

/// Largest number of clients that a server serves at a time.
#[derive(Debug, Args)]
pub(super) struct MaxClients {
    /// Largest number of clients served at a time; further clients wait until one disconnects
    #[arg(long, value_name = "N", default_value_t = net::DEFAULT_CLIENTS,
          value_parser = max_clients, allow_negative_numbers = true)]
    pub(super) max_clients: usize,
}

/// Options of the servers that keep no state between sessions.
#[derive(Debug, Args)]
pub(super) struct ServerOptions {
    #[command(flatten)]
    clients: MaxClients,
    /// Threads that serve the clients: a number, or auto for one for each processor
    #[arg(long, value_name = "N", default_value = "1", value_parser = threads,
          allow_negative_numbers = true)]
    threads: NonZeroUsize,
    /// Serve behind a balancer such as HAProxy: every connection must begin with a PROXY protocol header, version 1 or 2,
    /// which names the client
    #[arg(long)]
    proxy_protocol: bool,
}

/// Parses a number of threads.
fn threads(text: &str) -> Result<NonZeroUsize, String> {
    /// Far more than are of use. Each has sockets and buffers of its own.
    const MAX: usize = 256;

    if text == "auto" {
        // If the system does not report the number of processors, one thread is a safe choice.
        return Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    }
    let threads = text.parse().ok().filter(|threads: &NonZeroUsize| threads.get() <= MAX);
    threads.ok_or_else(|| format!("expected a number from 1 to {MAX}, or auto"))
}

fn max_clients(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of at least 1".into()),
        Ok(count) => Ok(count),
    }
}

impl Common {
    /// Returns the limit for connecting and for waiting for a program.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout_or(net::DEFAULT_TIMEOUT)
    }

    /// Returns the limit, or `default` if none is given.
    pub(super) fn timeout_or(&self, default: Duration) -> Option<Duration> {
        self.timeout.map_or(Some(default), |timeout| timeout.0)
    }

    /// Returns the limit for waiting for a person: none by default.
    pub(super) fn person_timeout(&self) -> Option<Duration> {
        self.timeout.and_then(|timeout| timeout.0)
    }

    pub(super) const fn traces(&self) -> bool {
        self.trace
    }

    pub(super) const fn has_json(&self) -> bool {
        self.json
    }

    pub(super) fn output(&self, raw: bool) -> Output {
        Output::new(self.json, raw)
    }

    /// Checks that `peer` has read `what`, the last message of the protocol.
    pub(super) fn delivered(
        &self,
        delivery: Delivery,
        peer: &str,
        what: &str,
    ) -> Result<(), Failure> {
        if delivery == Delivery::Unknown {
            log::warn!("{peer} has not closed the connection: it may not have read {what}");
        }
        let Some(mut failure) = delivery.failure(peer, what) else { return Ok(()) };
        if delivery == Delivery::Unread(StreamEnd::TimedOut)
            && let Some(time) = self.timeout()
        {
            let time = humantime::format_duration(time);
            failure.push_str(&format!(" ({time}; --timeout changes that)"));
        }
        Err(Failure::Peer(failure))
    }

    /// Starts the log: warnings, and with `-v` this crate's debug records. RUST_LOG overrides both.
    fn start_log(&self) {
        let mut log = env_logger::Builder::new();
        log.filter_level(log::LevelFilter::Warn).parse_default_env();
        if self.verbose {
            log.filter_module("socklab", log::LevelFilter::Debug);
        }
        log.format(|f, record| {
            use io::Write as _;
            // A record may contain text from a peer.
            let text = one_line(record.args().to_string());
            match (record.level(), record.target().starts_with("socklab")) {
                (log::Level::Error | log::Level::Warn | log::Level::Info, true) => {
                    writeln!(f, "socklab: {text}")
                }
                (_, true) => writeln!(f, "socklab: debug: {text}"),
                (level, false) => {
                    let level = level.as_str().to_ascii_lowercase();
                    writeln!(f, "socklab: {level}: {}: {text}", record.target())
                }
            }
        })
        .target(env_logger::Target::Pipe(Box::new(LogWriter)))
        .init();
    }

    /// Returns the signals that end a client or a server in an orderly way. If the user leaves the terminal, only the
    /// files must be completed: a system that does not report that `nohup` is in use would lose its effect.
    pub(super) const fn ends(&self) -> &'static [Signal] {
        if self.pcap.is_none() && self.html.is_none() {
            &[Signal::Interrupt, Signal::Terminate]
        } else {
            &[Signal::Interrupt, Signal::Terminate, Signal::Hangup]
        }
    }

    /// Lets an interrupt end the client, with a message and an event, unless another part of the program handles it.
    pub(super) fn end_on_interrupt(&self) -> Result<(), Failure> {
        /// Limit for writing the message and the event: standard output may be a pipe that is not read.
        const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

        let (json, recordings) = (self.json, self.recordings());
        let end = move || {
            let failure = match recordings.end_interrupted() {
                Ok(()) => Failure::INTERRUPTED,
                Err(e) => Failure::Interrupted(format!("; {e}")),
            };
            run_within(WRITE_TIMEOUT, move || {
                let _ = super::fail(&failure, json);
            });
            std::process::exit(Failure::INTERRUPTED.code().into());
        };
        signals::end_on(self.ends(), end).map_err(|e| Failure::signals(&e))
    }

    /// Opens standard input, which is a person's terminal or a script.
    pub(super) fn keyboard(&self) -> Result<Keyboard, Failure> {
        Keyboard::new(self.ends()).map_err(|e| Failure::stdin(&e))
    }

    /// Starts the capture, if `--pcap` is given. A file that cannot be written is reported before anything is run.
    fn start_capture(&mut self) -> Result<(), Failure> {
        if let Some(path) = &self.pcap {
            self.capture = Some(recordings::start_capture(path)?);
        }
        Ok(())
    }

    /// Returns the capture, if `--pcap` is given.
    pub(super) const fn capture(&self) -> Option<&Arc<Capture>> {
        self.capture.as_ref()
    }

    /// Starts the picture, if `--html` is given. A file that cannot be written is reported before anything is run.
    fn start_picture(&mut self) -> Result<(), Failure> {
        self.picture = self.html.as_deref().map(Picture::create).transpose()?.map(Arc::new);
        Ok(())
    }

    /// Returns the picture, if `--html` is given.
    pub(super) const fn picture(&self) -> Option<&Arc<Picture>> {
        self.picture.as_ref()
    }

    /// Returns the files that must be complete before a signal ends the program.
    pub(super) fn recordings(&self) -> Recordings {
        let capture = self.capture.clone().zip(self.pcap.clone());
        Recordings { capture, picture: self.picture.clone() }
    }

    /// Connects a client to `target`, with its timeout, observers and notices.
    pub(super) fn connect<R, S, M>(
        &self,
        target: &Target,
        machine: M,
        buffer: usize,
    ) -> Result<net::Client<M>, Failure>
    where
        R: Dissect + Send + 'static,
        S: Dissect + Send + 'static,
        M: Machine,
    {
        let client = net::Client::dial(target, machine, buffer, self.timeout())?;
        Ok(self.observe(client, Side::Client, Conversation::new::<S, R>))
    }

    /// Adds the observers and the notices to a connection of which this program is that side.
    pub(super) fn observe<M: Machine>(
        &self,
        client: net::Client<M>,
        local: Side,
        dissectors: Dissectors,
    ) -> net::Client<M> {
        self.report_notices(client).observer(self.observers(local, dissectors))
    }

    /// Returns the observers of what this program exchanges as that side.
    pub(super) fn observers(
        &self,
        local: Side,
        dissectors: Dissectors,
    ) -> Option<Box<dyn Observer>> {
        let trace = || Box::new(Trace::new(TraceOutput::Stderr, local, dissectors)) as _;
        let trace = self.trace.then(trace);
        let capture = self.capture().map(|capture| Box::new(capture.connection(local)) as _);
        let picture = self
            .picture()
            .map(|picture| picture.recorder(Observed::Side(local), dissectors).observer(local));
        several([capture, picture, trace])
    }

    /// Makes a client report an incomplete message on stderr and as an event.
    pub(super) fn report_notices<M: Machine>(&self, client: net::Client<M>) -> net::Client<M> {
        let json = self.json;
        client.on_notice(move |notice| {
            say(&notice);
            // If stdout has failed, writing the next result reports it.
            let _ = Output::new(json, false).event(&unfinished(&notice));
        })
    }

    /// Adds timeout, observers and notices to a connection that a server with one player has accepted.
    pub(super) fn accepted<R, S, M>(
        &self,
        accepted: net::Accepted,
        machine: M,
    ) -> Result<net::Client<M>, Failure>
    where
        R: Dissect + Send + 'static,
        S: Dissect + Send + 'static,
        M: Machine,
    {
        let client =
            net::Client::accepted(accepted, machine, net::DEFAULT_BUFFER, self.person_timeout())
                .map_err(|e| Failure::System(format!("cannot wait for the network: {e}")))?;
        Ok(self.observe(client, Side::Server, Conversation::new::<R, S>))
    }

    /// Runs a client against `address`, or against a built-in server if there is none.
    pub(super) fn dial<S, const PORT: u16>(
        &self,
        address: &Address<PORT>,
        name: &str,
        service: impl FnOnce() -> S,
        client: impl FnOnce(&Target) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        S: Service + Send + 'static,
        S::State: Send,
        S::Machine: Send,
    {
        self.dial_target(address.target()?, name, service, client)
    }

    /// Runs a client as [`dial`](Self::dial) does, for an address that is already parsed.
    pub(super) fn dial_target<S>(
        &self,
        target: Option<Target>,
        name: &str,
        service: impl FnOnce() -> S,
        client: impl FnOnce(&Target) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        S: Service + Send + 'static,
        S::State: Send,
        S::Machine: Send,
    {
        match target {
            Some(target) => client(&target),
            None => self.built_in(name, service(), client),
        }
    }

    /// Runs a client against a built-in server, in a thread of this process.
    pub(super) fn built_in<S>(
        &self,
        name: &str,
        service: S,
        client: impl FnOnce(&Target) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        S: Service + Send + 'static,
        S::State: Send,
        S::Machine: Send,
    {
        let limits = Limits { idle: None, ..Limits::default() };
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0), service)?.limits(limits);
        with_running(name, server.start(), client)
    }

    /// Runs a client against `target`, or against a built-in server for datagrams if there is none.
    pub(super) fn dial_datagrams<S>(
        &self,
        target: Option<Target>,
        name: &str,
        service: impl FnOnce() -> S,
        client: impl FnOnce(&Target) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        S: DatagramService + Send + 'static,
        S::Machine: Send,
        EventOf<S>: Send,
    {
        let Some(target) = target else {
            let addr = (Ipv4Addr::LOCALHOST, 0);
            let server = DatagramServer::bind(addr, service(), DATAGRAM_MAX)?;
            return with_running(name, server.start(), client);
        };
        client(&target)
    }

    /// Returns the limits of a server whose clients are programs.
    pub(super) fn limits(&self, options: &ServerOptions) -> Limits {
        let (idle, clients) = (self.timeout(), options.clients.max_clients);
        let header = net::PROXY_HEADER_TIMEOUT;
        let proxy_header =
            options.proxy_protocol.then(|| idle.map_or(header, |idle| idle.min(header)));
        Limits { idle, clients, proxy_header, ..Limits::default() }
    }

    /// Returns the limits of a server whose clients are people. They may take any time to think.
    pub(super) fn person_limits(&self, pace: &Pace, options: &ServerOptions) -> Limits {
        Limits { idle: self.person_timeout(), pace: pace.time, ..self.limits(options) }
    }
}

/// Runs a client against a built-in server, and stops that.
fn with_running(
    name: &str,
    server: io::Result<Running>,
    client: impl FnOnce(&Target) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::System(e.to_string());
    let running = server.map_err(failed)?;
    let addr = running.local_addr();
    say(format_args!("no address given: a built-in {name} server runs on {addr}"));
    client(&addr.into())?;
    running.stop().map_err(failed)
}

/// Returns one observer for all, or `None` if there are none: then bytes may be transferred without a copy.
///
/// A capture should be the first: what a trace shows has been captured then.
fn several<const N: usize>(observers: [Option<Box<dyn Observer>>; N]) -> Option<Box<dyn Observer>> {
    let observers: Vec<_> = observers.into_iter().flatten().collect();
    (!observers.is_empty()).then(|| Box::new(observers) as _)
}
