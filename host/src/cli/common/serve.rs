//! Running a server.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use socklab_core::wire::Dissect;

use super::super::events::unfinished;
use super::{Common, Failure, ServerOptions, several};
use crate::net::{
    self, DatagramServer, DatagramService, Limits, Observer, ParallelService, Server,
};
use crate::proxy::Side;
use crate::sys;
use crate::ui::messages::{Conversation, Dissectors};
use crate::ui::recording::Observed;
use crate::ui::signals;
use crate::ui::{Lines, Stderr, Trace, TraceOutput, json_line, streams};

impl Common {
    /// Runs a server until Ctrl-C or SIGTERM.
    ///
    /// The result of each session is written as a line to stderr, and with `--json` as the value of `report_json` to
    /// stdout.
    pub(in crate::cli) fn serve<R, W, S>(
        &self,
        addrs: impl ToSocketAddrs + fmt::Debug,
        options: &ServerOptions,
        limits: Limits,
        service: S,
        report_json: fn(&S::Report) -> Value,
    ) -> Result<(), Failure>
    where
        R: Dissect + Send + 'static,
        W: Dissect + Send + 'static,
        S: ParallelService + 'static,
    {
        self.serve_dissected(
            addrs,
            options,
            limits,
            Conversation::new::<R, W>,
            service,
            report_json,
        )
    }

    /// Runs a server as [`serve`](Self::serve) does, with other dissectors for its trace.
    pub(in crate::cli) fn serve_dissected<S: ParallelService + 'static>(
        &self,
        addrs: impl ToSocketAddrs + fmt::Debug,
        options: &ServerOptions,
        limits: Limits,
        dissectors: Dissectors,
        service: S,
        report_json: fn(&S::Report) -> Value,
    ) -> Result<(), Failure> {
        let console = Console::start(self)?;
        let observers = self.server_observers(&console, dissectors);
        let (for_reports, for_notices) = (console.reporter(), console.reporter());
        let server = Server::bind_threads(addrs, options.threads, service)?
            .limits(limits)
            .observer(observers)
            .on_report(move |report| for_reports.report(&report, || report_json(&report)))
            .on_notice(move |notice| for_notices.report(&notice, || unfinished(&notice)));
        if let Some(capture) = self.capture() {
            capture.on_ready(server.resumer());
        }
        let announce = listening(server.local_addr());
        console.run(&server.stopper(), announce, || server.run().map(|_| ()))
    }

    /// Runs a server for datagrams until Ctrl-C or SIGTERM, or until its service ends it.
    ///
    /// `service` gets the writer of log lines and events. `summary` is called at the end.
    pub(in crate::cli) fn serve_datagrams<S: DatagramService + 'static>(
        &self,
        addrs: impl ToSocketAddrs + fmt::Debug,
        buffer: usize,
        dissectors: Dissectors,
        service: impl FnOnce(Reporter) -> S,
        summary: impl FnOnce(&S, &Reporter),
    ) -> Result<(), Failure> {
        let console = Console::start(self)?;
        let observers = self.server_observers(&console, dissectors);
        let reporter = console.reporter();
        let server = DatagramServer::bind(addrs, service(console.reporter()), buffer)?;
        let server = server.observer(observers);
        if let Some(capture) = self.capture() {
            capture.on_ready(server.resumer());
        }
        let announce = listening(server.local_addr());
        console.run(&server.stopper(), announce, || {
            server.run().map(|service| summary(&service, &reporter))
        })
    }

    /// Returns the observers of a server.
    fn server_observers(
        &self,
        console: &Console,
        dissectors: Dissectors,
    ) -> Option<Box<dyn Observer>> {
        let trace = self.trace.then(|| {
            let output = TraceOutput::Lines(console.log().clone());
            Box::new(Trace::new(output, Side::Server, dissectors)) as Box<dyn Observer>
        });
        let capture = self.capture().map(|capture| Box::new(capture.server()) as _);
        let picture = self.picture().map(|picture| {
            picture.recorder(Observed::Side(Side::Server), dissectors).observer(Side::Server)
        });
        several([capture, picture, trace])
    }
}

/// Returns the function that announces the address of a server.
fn listening(addr: SocketAddr) -> impl FnOnce(&Reporter) {
    move |reporter| {
        let event = || json!({ "event": "listening", "address": addr.to_string() });
        reporter.report(format_args!("listening on {addr}"), event);
    }
}

/// What a person and a program see of a server: its log on stderr, its events on stdout, and how it stops on a signal.
pub(in crate::cli) struct Console {
    reporter: Reporter,
    signals: signals::Signals,
    /// Stopped if the events cannot be written.
    stopper: Arc<OnceLock<net::Stopper>>,
}

impl Console {
    /// Starts the writers.
    ///
    /// This is done before the server listens: a program that reads the address may send a signal at once.
    pub(in crate::cli) fn start(common: &Common) -> Result<Self, Failure> {
        type Writer = Box<dyn io::Write + Send>;
        let lines = |writer: Writer, dropped: fn(u64) -> String, stop: Box<dyn FnOnce() + Send>| {
            Lines::new(writer, dropped, stop).map_err(|e| Failure::System(e.to_string()))
        };
        let signals = signals::watch(common.ends()).map_err(|e| Failure::signals(&e))?;

        let dropped = |n| format!("({n} log lines dropped: the reader is too slow)");
        let log = lines(Box::new(Stderr), dropped, Box::new(|| {}))?;
        log.redirect_log();
        let stopper = Arc::new(OnceLock::<net::Stopper>::new());
        let on_failure = Arc::clone(&stopper);
        let events = common
            .json
            .then(|| {
                lines(
                    Box::new(streams::stdout()),
                    |n| json_line(&json!({ "event": "lost", "events": n })),
                    // Without a reader of its events, the server has no purpose.
                    Box::new(move || {
                        if let Some(stopper) = on_failure.get() {
                            stopper.stop();
                        }
                    }),
                )
            })
            .transpose()?;
        sys::net::raise_socket_limit();
        Ok(Self { reporter: Reporter { log, events }, signals, stopper })
    }

    pub(in crate::cli) const fn log(&self) -> &Lines {
        &self.reporter.log
    }

    pub(in crate::cli) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Calls `announce`, and then `serve` until the stopper ends it.
    pub(in crate::cli) fn run(
        self,
        stopper: &net::Stopper,
        announce: impl FnOnce(&Reporter),
        serve: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Failure> {
        let Self { reporter, mut signals, stopper: on_failure } = self;
        let _ = on_failure.set(stopper.clone());
        let closer = signals.closer();
        let stopper = stopper.clone();
        let watcher = std::thread::spawn(move || {
            for _ in signals.forever() {
                signals::record_stop();
                stopper.stop();
            }
        });
        announce(&reporter);
        let ended = serve();
        closer.close();
        let _ = watcher.join();
        log::debug!("stopped");
        reporter.event(|| json!({ "event": "stopped" }));
        let Reporter { log, events } = reporter;
        streams::record_result(log.finish());
        if let Some(events) = events {
            events.finish().map_err(Failure::stdout)?;
        }
        ended.map_err(|e| Failure::System(format!("cannot wait for the network: {e}")))
    }
}

/// Writer of a server's log lines and events.
#[derive(Clone)]
pub(in crate::cli) struct Reporter {
    log: Lines,
    /// Events as JSON lines, if `--json` is given.
    events: Option<Lines>,
}

impl Reporter {
    /// Writes a line to the log, and an event.
    pub(in crate::cli) fn report(&self, line: impl fmt::Display, event: impl FnOnce() -> Value) {
        self.log(line);
        self.event(event);
    }

    /// Writes a line to the log.
    pub(in crate::cli) fn log(&self, line: impl fmt::Display) {
        self.log.line(line);
    }

    /// Writes an event.
    pub(in crate::cli) fn event(&self, event: impl FnOnce() -> Value) {
        if let Some(events) = &self.events {
            events.line(json_line(&event()));
        }
    }
}
