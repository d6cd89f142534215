//! What the commands share: options, addresses, failures, running a server.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use socklab_core::machine::Machine;
use socklab_core::wire::Dissect;

use super::events::unfinished;
use crate::net::{self, BindError, DialError, Limits, Observer, Server, Service, Target};
use crate::ui::{
    Keyboard, Lines, LogWriter, Output, Place, Trace, json_line, one_line, say, say_last,
};

/// The two ends of a protocol. What they are for stands at their arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Role<C: Args, S: Args> {
    Client(C),
    Server(S),
}

/// What a command does.
pub(super) trait Run {
    fn run(self, common: &Common) -> Result<(), Failure>;
}

impl<C: Args + Run, S: Args + Run> Run for Role<C, S> {
    fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Client(client) => client.run(common),
            Self::Server(server) => server.run(common),
        }
    }
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_display_order = 100)]
pub(super) struct Common {
    /// Limit for connecting and for an idle connection: 30 (seconds), 500ms, 2min or none [default:
    /// 30s; none while a person is to type]
    #[arg(long, global = true, value_name = "TIME", allow_negative_numbers = true)]
    timeout: Option<Timeout>,
    /// Show every message on stderr: time, direction, bytes, meaning
    #[arg(long, global = true)]
    trace: bool,
    /// Write events as JSON lines on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Log connections, retries and time-outs on stderr
    #[arg(short, long, global = true, overrides_with = "verbose")]
    verbose: bool,
}

/// A time to wait, or none: for ever.
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
        match time(text) {
            Ok(Duration::ZERO) => Err("it has to be more than 0; use \"none\" for no limit".into()),
            Ok(time) => Ok(Self(Some(time))),
            Err(_) => Err("expected a time such as 30, 500ms or 2min, or none".into()),
        }
    }
}

/// A time: seconds, or with a unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    time.ok_or_else(|| "expected a time such as 30ms, 2 or 1min; 0 is none".into())
}

/// How a server keeps its messages apart, for peers that take one `recv` for one message.
#[derive(Debug, Args)]
pub(super) struct Pace {
    /// The pause between two messages, for peers that take one read for one message: 30ms, or seconds
    /// without a unit; 0: none
    #[arg(long = "pace", value_name = "TIME", default_value = "30ms", value_parser = time,
          allow_negative_numbers = true)]
    pub(super) time: Duration,
}

/// Where a client connects; without it, to a server inside the same process.
#[derive(Debug, Args)]
pub(super) struct Address {
    /// The server's name or address [default: a built-in server]
    #[arg(value_parser = host)]
    pub(super) host: Option<String>,
    /// The server's port [default: the protocol's own]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
}

/// A host, and not what beginners type in its place.
fn host(text: &str) -> Result<String, String> {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.rsplit_once(':') {
        _ if is_port(text) => Err(format!("a host stands before the port: localhost {text}")),
        Some((host, port)) if is_port(port) && (!host.contains(':') || host.ends_with(']')) => {
            Err(format!("host and port are two words: {host} {port}"))
        }
        _ => Ok(text.to_owned()),
    }
}

impl Address {
    fn target(&self, default_port: u16) -> Option<Target> {
        let host = self.host.as_deref()?;
        Some(Target::new(host, self.port.unwrap_or(default_port)))
    }
}

/// Where a server listens: `PORT` or `BIND:PORT`.
#[derive(Clone, Debug)]
pub(super) struct Listen(String, u16);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host.trim_start_matches('[').trim_end_matches(']'), port),
            None => ("127.0.0.1", text),
        };
        if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("expected PORT, or an address with a port such as [::]:8000".into());
        }
        if host.is_empty() {
            return Err("expected an address before the colon, such as 0.0.0.0:8000".into());
        }
        let port = port.parse().map_err(|_| "expected a port from 0 to 65535")?;
        Ok(Self(host.to_owned(), port))
    }
}

impl Listen {
    /// What a listener binds to.
    pub(super) fn addrs(&self) -> impl ToSocketAddrs + fmt::Debug {
        ListenAddr(self)
    }
}

impl fmt::Debug for ListenAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listen(host, port) = self.0;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

struct ListenAddr<'l>(&'l Listen);

impl ToSocketAddrs for ListenAddr<'_> {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.0.0.as_str(), self.0.1).to_socket_addrs()
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
    /// The person pressed Ctrl-C before what was asked for was done: 1.
    Interrupted,
    /// The person had enough of a game: 1.
    Left,
}

impl Failure {
    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::Peer(_) | Self::Interrupted | Self::Left => 1,
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

    pub(super) fn stdin(e: &io::Error) -> Self {
        Self::System(format!("cannot read standard input: {}", net::reason(e)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(text) | Self::Usage(text) | Self::System(text) => f.write_str(text),
            Self::Interrupted => f.write_str("interrupted"),
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

    /// How long to wait for a person: as long as it takes, if nobody says otherwise.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.timeout.and_then(|timeout| timeout.0)
    }

    pub(super) const fn traces(&self) -> bool {
        self.trace
    }

    pub(super) fn output(&self, raw: bool) -> Output {
        Output::new(self.json, raw)
    }

    pub(super) fn start_log(&self) {
        let level = if self.verbose { log::LevelFilter::Debug } else { log::LevelFilter::Warn };
        env_logger::Builder::new()
            .filter_level(log::LevelFilter::Warn)
            .filter_module("socklab", level)
            .format(|f, record| {
                use io::Write as _;
                writeln!(f, "socklab: {}", record.args())
            })
            .target(env_logger::Target::Pipe(Box::new(LogWriter)))
            .init();
    }

    /// Says why the program fails.
    pub(super) fn report(&self, failure: &Failure) {
        // When stdout itself is what failed, stderr still says it.
        let event = json!({
            "event": "error", "message": failure.to_string(), "code": failure.code(),
        });
        let _ = self.output(false).event(&event);
        say_last(format!("socklab: {}", one_line(&failure.to_string())));
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
    pub(super) fn dial<S>(
        &self,
        address: &Address,
        port: u16,
        name: &str,
        service: impl FnOnce() -> S,
        client: impl FnOnce(&Target) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        S: Service + Send + 'static,
        S::State: Send,
        S::Machine: Send,
    {
        match address.target(port) {
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
    pub(super) fn limits(&self) -> Limits {
        Limits { idle: self.timeout(), ..Limits::default() }
    }

    /// What a server allows whose clients are people: they may think as long as they like.
    pub(super) fn with_people(&self, pace: &Pace) -> Limits {
        Limits { idle: self.patience(), pace: pace.time, ..Limits::default() }
    }

    /// Serves until Ctrl-C or SIGTERM. Each session's end is a line on stderr, and an `event`.
    pub(super) fn serve<R, W, S>(
        &self,
        listen: &Listen,
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
        self.serve_traced(listen, limits, trace, service, event)
    }

    /// As [`serve`](Self::serve), with a trace that takes more than two dissectors.
    pub(super) fn serve_traced<S: Service>(
        &self,
        listen: &Listen,
        limits: Limits,
        trace: impl FnOnce(Lines) -> Box<dyn Observer>,
        service: S,
        event: fn(&S::Report) -> Value,
    ) -> Result<(), Failure> {
        type Writer = Box<dyn io::Write + Send>;
        let lines = |writer: Writer, lost: fn(u64) -> String, stop: Box<dyn FnOnce() + Send>| {
            Lines::new(writer, lost, stop).map_err(|e| Failure::System(e.to_string()))
        };
        // Before the address is printed: whoever reads it may send a signal at once.
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
                // Nobody reads the events any more: the server has no purpose.
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
        let server = Server::bind(listen.addrs(), service)?
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
        let _ = errors.finish();
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
