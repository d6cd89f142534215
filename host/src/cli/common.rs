//! What the commands share: options, addresses, failures, running a server.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use socklab_core::machine::{Machine, StreamEnd};
use socklab_core::wire::Dissect;

use super::events::unfinished;
use crate::net::{self, BindError, Delivery, DialError, Limits, Observer, Server, Service, Target};
use crate::ui::{
    Keyboard, Lines, LogWriter, Output, Place, Trace, json_line, one_line, say, streams,
};

/// The two ends of a protocol. What they are for is said at their arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Role<C: Args, S: Args> {
    Client(End<C>),
    Server(End<S>),
}

/// One end of a protocol: its own arguments, and the options that all ends have. These are not global
/// options of clap's: `completions` and `man` would have them too.
#[derive(Debug)]
pub(super) struct End<A> {
    args: A,
    common: Common,
}

impl<A: Args> Args for End<A> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = A::augment_args(command);
        let about = command.get_about().cloned().unwrap_or_default();
        Common::augment_args(command).about(about)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<A: Args> FromArgMatches for End<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let common = Common::from_arg_matches(matches)?;
        Ok(Self { args: A::from_arg_matches(matches)?, common })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What a command does.
pub(super) trait Run {
    fn run(self, common: &Common) -> Result<(), Failure>;
}

impl<C: Args + Run, S: Args + Run> Role<C, S> {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Client(End { args, common }) => {
                common.start_log();
                common.end_on_interrupt()?;
                args.run(&common)
            }
            Self::Server(End { args, common }) => {
                common.start_log();
                args.run(&common)
            }
        }
    }
}

/// Options of every client and server.
#[derive(Debug, Args)]
#[command(next_display_order = 100)]
pub(super) struct Common {
    /// Limit for connecting and for an idle connection: 30 (seconds), 500ms, 2min or none [default:
    /// 30s; none while a person is to type]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    timeout: Option<Timeout>,
    /// Show every message on stderr: time, direction, bytes, meaning
    #[arg(long)]
    trace: bool,
    /// Write events as JSON lines on stdout, errors of usage included
    #[arg(long)]
    json: bool,
    /// Log connections, retries and time-outs on stderr
    #[arg(short, long, overrides_with = "verbose")]
    verbose: bool,
}

/// A time to wait, or no limit.
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

/// A pause: a time with its unit, since seconds and milliseconds are both likely; or 0.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Duration::ZERO),
        Ok(1e-6..1e6) => Err(format!("a time needs a unit: {text}ms or {text}s?")),
        _ => humantime::parse_duration(text)
            .map_err(|_| "expected a time such as 30ms, 2s or 1min, or 0 for none".into()),
    }
}

/// How a server keeps its messages apart, for peers that take one `recv` for one message.
#[derive(Debug, Args)]
pub(super) struct Pace {
    /// Pause between messages, for peers that treat one read as one message; 0 for none
    #[arg(long = "pace", value_name = "TIME", default_value = "30ms", value_parser = pause,
          allow_negative_numbers = true)]
    pub(super) time: Duration,
}

/// How many clients a server serves at a time.
#[derive(Debug, Args)]
pub(super) struct MaxClients {
    /// Number of clients that are served at a time; more of them wait until another leaves
    #[arg(long, value_name = "N", default_value_t = net::DEFAULT_CLIENTS,
          value_parser = max_clients, allow_negative_numbers = true)]
    max_clients: usize,
}

fn max_clients(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of at least 1".into()),
        Ok(count) => Ok(count),
    }
}

/// Where a client connects: `HOST`, `HOST:PORT` or `HOST PORT`. Without it, to a server inside the same
/// process.
#[derive(Debug, Args)]
pub(super) struct Address<const PORT: u16> {
    /// The server's name or IP address [default: a built-in server]
    #[arg(value_name = "HOST[:PORT]", value_parser = host)]
    pub(super) host: Option<Host>,
    #[arg(help = port_help::<PORT>(), value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// The help of a client's port.
pub(super) fn port_help<const PORT: u16>() -> String {
    format!("The server's port [default: {PORT}]")
}

impl<const PORT: u16> Address<PORT> {
    fn target(&self) -> Result<Option<Target>, Failure> {
        self.host.as_ref().map(|host| host.target(self.port, PORT)).transpose()
    }
}

/// A host, perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    pub(super) port: Option<u16>,
}

impl Host {
    /// The target with this host, its own port or this one; else the protocol's.
    pub(super) fn target(&self, port: Option<u16>, default: u16) -> Result<Target, Failure> {
        match (self.port, port) {
            (Some(one), Some(other)) => Err(twice(one, other)),
            (one, other) => Ok(Target::new(&self.name, one.or(other).unwrap_or(default))),
        }
    }
}

fn twice(one: u16, other: u16) -> Failure {
    Failure::Usage(format!("the port is given twice, as {one} and as {other}; see --help"))
}

/// A host, and not what is often typed in its place.
pub(super) fn host(text: &str) -> Result<Host, String> {
    let (name, port) = split_port(text)?;
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port @ 1..)) => Some(port),
        Some(_) => return Err("expected a port from 1 to 65535 after the colon".into()),
    };
    match name {
        "" => Err("expected HOST or HOST:PORT, such as localhost:8000".into()),
        _ if name.bytes().all(|b| b.is_ascii_digit()) => {
            Err(format!("expected a host before the port, such as localhost:{name}"))
        }
        _ => Ok(Host { name: name.to_owned(), port }),
    }
}

/// Takes an address apart at the colon before its port, if it has one. An IPv6 address with a port
/// stands in brackets, which are removed.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(format!("expected an address, not a URL; try {host}"));
    }
    let is_ipv6 = |host: &str| {
        host.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
    };
    if is_ipv6(text) {
        return Ok((text, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) if is_ipv6(inner) => Ok((inner, port)),
        None if !host.contains(':') && !host.starts_with('[') => Ok((host, port)),
        _ => {
            Err("expected an IPv6 address with a port to be in brackets, such as [::1]:8000".into())
        }
    }
}

/// Where a server listens: `PORT`, `BIND:PORT` or `BIND PORT`.
#[derive(Debug, Args)]
pub(super) struct Listen<const PORT: u16> {
    #[arg(value_name = "[BIND:]PORT", help = listen_help::<PORT>(), value_parser = bind)]
    at: Option<Bind>,
    // Not shown: the help of the first says it.
    #[arg(hide = true)]
    port: Option<u16>,
}

fn listen_help<const PORT: u16>() -> String {
    format!(
        "Where to listen, as PORT, BIND:PORT or BIND PORT; port 0 takes a free one [default: \
         127.0.0.1:{PORT}]"
    )
}

/// The first word of where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bind {
    Port(u16),
    /// An address and a port.
    Both(String, u16),
    /// An address; the port is the second word.
    Address(String),
}

fn bind(text: &str) -> Result<Bind, String> {
    let (host, port) = split_port(text)?;
    let number =
        |port: &str| port.parse().map_err(|_| "expected a port from 0 to 65535".to_owned());
    match (host, port) {
        ("", Some(_)) => Err("expected an address before the colon, such as 0.0.0.0:8000".into()),
        (port, None) if port.bytes().all(|b| b.is_ascii_digit()) => number(port).map(Bind::Port),
        (host, Some(port)) => Ok(Bind::Both(host.to_owned(), number(port)?)),
        (host, None) => Ok(Bind::Address(host.to_owned())),
    }
}

impl<const PORT: u16> Listen<PORT> {
    /// What a listener binds to.
    pub(super) fn addrs(&self) -> Result<impl ToSocketAddrs + fmt::Debug + use<PORT>, Failure> {
        let local = || Ipv4Addr::LOCALHOST.to_string();
        let (host, port) = match (self.at.clone(), self.port) {
            (None, port) => (local(), port.unwrap_or(PORT)),
            (Some(Bind::Port(port)), None) => (local(), port),
            (Some(Bind::Both(host, port)), None) => (host, port),
            (Some(Bind::Address(host)), Some(port)) => (host, port),
            (Some(Bind::Port(one) | Bind::Both(_, one)), Some(other)) => {
                return Err(twice(one, other));
            }
            (Some(Bind::Address(host)), None) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                return Err(Failure::Usage(format!(
                    "expected a port after the address, such as {host}:{PORT}"
                )));
            }
        };
        Ok(ListenAddr { host, port })
    }
}

struct ListenAddr {
    host: String,
    port: u16,
}

impl fmt::Debug for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl ToSocketAddrs for ListenAddr {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.host.as_str(), self.port).to_socket_addrs()
    }
}

/// Why the program fails: one line, and the code it exits with.
#[derive(Debug)]
pub(super) enum Failure {
    /// The peer or the protocol: 1.
    Peer(String),
    /// Wrong usage: 2.
    Usage(String),
    /// Could not connect, bind, read or write: 3.
    System(String),
    /// A person interrupted it before what was asked for was done, and what else is to say of that: 130,
    /// as a shell has it for a program that SIGINT ended.
    Interrupted(String),
    /// The person had enough of a game: 1.
    Left,
}

impl Failure {
    pub(super) const INTERRUPTED: Self = Self::Interrupted(String::new());

    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::Peer(_) | Self::Left => 1,
            Self::Interrupted(_) => 130,
            Self::Usage(_) => 2,
            Self::System(_) => 3,
        }
    }

    /// Results could not be written.
    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err wants")]
    pub(super) fn stdout(e: io::Error) -> Self {
        Self::System(match e.kind() {
            io::ErrorKind::BrokenPipe => {
                "standard output was closed before everything was written".into()
            }
            _ => format!("cannot write to standard output: {}", net::reason(&e)),
        })
    }

    /// What was to be said could not be written.
    pub(super) fn stderr(e: &io::Error) -> Self {
        Self::System(format!("cannot write to standard error: {}", net::reason(e)))
    }

    pub(super) fn stdin(e: &io::Error) -> Self {
        Self::System(format!("cannot read standard input: {}", net::reason(e)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(text) | Self::Usage(text) | Self::System(text) => f.write_str(text),
            Self::Interrupted(more) => write!(f, "interrupted{more}"),
            Self::Left => f.write_str("you quit before the game was over"),
        }
    }
}

impl From<DialError> for Failure {
    fn from(e: DialError) -> Self {
        let hint = match e {
            DialError::Resolve(..) => "; or leave the address out to use a built-in server",
            _ => "",
        };
        Self::System(format!("{e}{hint}"))
    }
}

impl From<BindError> for Failure {
    fn from(e: BindError) -> Self {
        Self::System(e.to_string())
    }
}

impl<P: fmt::Display> From<net::Error<P>> for Failure {
    fn from(e: net::Error<P>) -> Self {
        match e {
            net::Error::Dial(e) => e.into(),
            net::Error::Protocol(..) => Self::Peer(e.to_string()),
            net::Error::TimedOut(e, time, quote) => Self::Peer(format!(
                "{e} ({}; --timeout changes that){}",
                humantime::format_duration(time),
                quote.suffix()
            )),
            net::Error::Io(_) => Self::System(e.to_string()),
            net::Error::Refused(e) => Self::Usage(e.to_string()),
        }
    }
}

impl Common {
    /// How long to wait for a connection, and for a program.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map_or(Some(net::DEFAULT_TIMEOUT), |timeout| timeout.0)
    }

    /// How long to wait for a person: without a limit, if none is given.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.timeout.and_then(|timeout| timeout.0)
    }

    pub(super) const fn traces(&self) -> bool {
        self.trace
    }

    pub(super) fn output(&self, raw: bool) -> Output {
        Output::new(self.json, raw)
    }

    /// `peer` was to read `what`, which was the last word of the protocol.
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

    /// Warnings, and with `-v` our own debug records; RUST_LOG says otherwise, as everywhere.
    fn start_log(&self) {
        let mut log = env_logger::Builder::new();
        log.filter_level(log::LevelFilter::Warn).parse_default_env();
        if self.verbose {
            log.filter_module("socklab", log::LevelFilter::Debug);
        }
        log.format(|f, record| {
            use io::Write as _;
            // A peer may have its words in it.
            let text = one_line(&record.args().to_string());
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

    /// Ends a client that is interrupted, with the line and the event of that, unless it has something to
    /// put in order first.
    fn end_on_interrupt(&self) -> Result<(), Failure> {
        /// Standard output may be a pipe that no one reads.
        const WRITING: Duration = Duration::from_secs(1);

        let mut signals = crate::ui::signals::watch(&[SIGINT, SIGTERM])
            .map_err(|e| Failure::System(format!("cannot watch for signals: {e}")))?;
        let json = self.json;
        std::thread::Builder::new()
            .name("interrupt".into())
            .spawn(move || {
                // One is enough: it ends the program, or is handled elsewhere, as all that follow.
                if signals.forever().next().is_none() || crate::ui::signals::is_taken() {
                    return;
                }
                let (done, written) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    let _ = super::fail(&Failure::INTERRUPTED, json);
                    let _ = done.send(());
                });
                let _ = written.recv_timeout(WRITING);
                std::process::exit(Failure::INTERRUPTED.code().into());
            })
            .map_err(|e| Failure::System(e.to_string()))?;
        Ok(())
    }

    /// The trace of a client, when one is wanted.
    pub(super) fn client_trace<R, S>(&self) -> Option<Box<dyn Observer>>
    where
        R: Dissect + Send + 'static,
        S: Dissect + Send + 'static,
    {
        self.trace.then(|| Box::new(Trace::<R, S>::new(Place::Stderr)) as _)
    }

    /// A client connected to `target`, as every command wants it: with its time-out, and traced if
    /// that is wanted.
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
        Ok(self.watched::<R, S, M>(client))
    }

    /// A client that shows what a person wants to know: its trace, and that a message is not complete.
    pub(super) fn watched<R, S, M>(&self, client: net::Client<M>) -> net::Client<M>
    where
        R: Dissect + Send + 'static,
        S: Dissect + Send + 'static,
        M: Machine,
    {
        self.noticing(client).observed(self.client_trace::<R, S>())
    }

    /// A client that says on stderr, and as an event, that a message is not complete.
    pub(super) fn noticing<M: Machine>(&self, client: net::Client<M>) -> net::Client<M> {
        let json = self.json;
        client.noticing(move |notice| {
            say(&notice);
            // When stdout fails, the next result says so.
            let _ = Output::new(json, false).event(&unfinished(&notice));
        })
    }

    /// The same for a client that has come to a server with one person.
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
        let client = net::Client::accepted(accepted, machine, net::DEFAULT_BUFFER, self.patience())
            .map_err(|e| Failure::System(format!("cannot wait for the network: {e}")))?;
        Ok(self.watched::<R, S, M>(client))
    }

    /// Runs a client against `address`, or against a server inside this process when there is none.
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

    /// As [`dial`](Self::dial), for an address that was taken apart.
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

    /// Runs a client against a server inside this process.
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
        let running = server.start().map_err(|e| Failure::System(e.to_string()))?;
        let addr = running.local_addr();
        say(format_args!("no address given: a built-in {name} server runs on {addr}"));
        // A client that failed ends the program: its server is dropped with it.
        client(&addr.into())?;
        running.stop().map_err(|e| Failure::System(e.to_string()))
    }

    /// What a server of programs allows its clients.
    pub(super) fn limits(&self, clients: &MaxClients) -> Limits {
        Limits { idle: self.timeout(), clients: clients.max_clients, ..Limits::default() }
    }

    /// What a server allows whose clients are people: they may think as long as they like.
    pub(super) fn with_people(&self, pace: &Pace, clients: &MaxClients) -> Limits {
        Limits { idle: self.patience(), pace: pace.time, ..self.limits(clients) }
    }

    /// Serves until Ctrl-C or SIGTERM. Each session's end is a line on stderr, and an `event`.
    pub(super) fn serve<R, W, S>(
        &self,
        addrs: impl ToSocketAddrs + fmt::Debug,
        limits: Limits,
        service: S,
        event: fn(&S::Report) -> Value,
    ) -> Result<(), Failure>
    where
        R: Dissect + Send + 'static,
        W: Dissect + Send + 'static,
        S: Service,
    {
        let trace = |lines| Box::new(Trace::<R, W>::new(Place::Lines(lines))) as _;
        self.serve_traced(addrs, limits, trace, service, event)
    }

    /// As [`serve`](Self::serve), with a trace that takes more than two dissectors.
    pub(super) fn serve_traced<S: Service>(
        &self,
        addrs: impl ToSocketAddrs + fmt::Debug,
        limits: Limits,
        trace: impl FnOnce(Lines) -> Box<dyn Observer>,
        service: S,
        event: fn(&S::Report) -> Value,
    ) -> Result<(), Failure> {
        type Writer = Box<dyn io::Write + Send>;
        let lines = |writer: Writer, lost: fn(u64) -> String, stop: Box<dyn FnOnce() + Send>| {
            Lines::new(writer, lost, stop).map_err(|e| Failure::System(e.to_string()))
        };
        // Before the address is printed: a program that reads it may send a signal at once.
        let mut signals = crate::ui::signals::watch(&[SIGINT, SIGTERM])
            .map_err(|e| Failure::System(format!("cannot watch for signals: {e}")))?;

        let lost = |n| format!("({n} log lines dropped: the reader is too slow)");
        let errors = lines(Box::new(anstream::stderr()), lost, Box::new(|| {}))?;
        errors.take_log();
        let stop = std::sync::Arc::new(std::sync::OnceLock::<net::Stopper>::new());
        let stopped = std::sync::Arc::clone(&stop);
        let events = self
            .json
            .then(|| {
                // No one reads the events any more: the server has no purpose.
                lines(
                    Box::new(io::stdout()),
                    |n| json_line(&json!({ "event": "lost", "events": n })),
                    Box::new(move || {
                        if let Some(stopper) = stopped.get() {
                            stopper.stop();
                        }
                    }),
                )
            })
            .transpose()?;
        let sessions = Sessions { errors: errors.clone(), events: events.clone() };
        let trace = self.trace.then(|| trace(errors.clone()));

        raise_descriptor_limit();
        let (told, noticed) = (sessions.clone(), sessions.clone());
        let server = Server::bind(addrs, service)?
            .limits(limits)
            .observed(trace)
            .reporting(move |report| told.tell(&report, || event(&report)))
            .noticing(move |notice| noticed.tell(&notice, || unfinished(&notice)));
        let stopper = server.stopper();
        let _ = stop.set(stopper.clone());
        let handle = signals.handle();
        let watcher = std::thread::spawn(move || {
            for _ in &mut signals {
                stopper.stop();
            }
        });
        let addr = server.local_addr();
        sessions.errors.line(format_args!("listening on {addr}"));
        sessions.event(&json!({ "event": "listening", "address": addr.to_string() }));

        let ended = server.run().map(|_| ());
        handle.close();
        let _ = watcher.join();
        log::debug!("stopped");
        sessions.event(&json!({ "event": "stopped" }));
        drop(sessions);
        streams::written(errors.finish());
        if let Some(events) = events {
            events.finish().map_err(Failure::stdout)?;
        }
        ended.map_err(|e| Failure::System(format!("cannot wait for the network: {e}")))
    }
}

/// A person, or a script in their place.
pub(super) fn keyboard() -> Result<Keyboard, Failure> {
    Keyboard::new().map_err(|e| Failure::stdin(&e))
}

/// As many clients as the system allows: the limit that a shell sets is for programs that still use
/// `select`, which ends at 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused: then it is as many as before.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Where a server tells of its sessions.
#[derive(Clone)]
struct Sessions {
    errors: Lines,
    events: Option<Lines>,
}

impl Sessions {
    /// A session is over: its line for people, its event for programs.
    fn tell(&self, line: impl fmt::Display, event: impl FnOnce() -> Value) {
        self.errors.line(line);
        if let Some(events) = &self.events {
            events.line(json_line(&event()));
        }
    }

    fn event(&self, event: &Value) {
        if let Some(events) = &self.events {
            events.line(json_line(event));
        }
    }
}
