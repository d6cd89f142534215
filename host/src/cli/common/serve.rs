//! Running a server.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use socklab_core::wire::Dissect;

use super::super::events::unfinished;
use super::{Common, Failure};
use crate::net::{self, Limits, Observer, Server, Service};
use crate::sys;
use crate::ui::signals::{self, Signal};
use crate::ui::{Lines, Trace, TraceOutput, json_line, streams};

impl Common {
    /// Runs a server until Ctrl-C or SIGTERM.
    ///
    /// The result of each session is written as a line to stderr, and with `--json` as the value of `report_json` to
    /// stdout.
    pub(in crate::cli) fn serve<R, W, S>(
        &self,
        addrs: impl ToSocketAddrs + fmt::Debug,
        limits: Limits,
        service: S,
        report_json: fn(&S::Report) -> Value,
    ) -> Result<(), Failure>
    where
        R: Dissect + Send + 'static,
        W: Dissect + Send + 'static,
        S: Service,
    {
        let trace = |lines| Box::new(Trace::<R, W>::new(TraceOutput::Lines(lines))) as _;
        self.serve_traced(addrs, limits, trace, service, report_json)
    }

    /// Runs a server as [`serve`](Self::serve) does, with a trace that the caller creates.
    pub(in crate::cli) fn serve_traced<S: Service>(
        &self,
        addrs: impl ToSocketAddrs + fmt::Debug,
        limits: Limits,
        trace: impl FnOnce(Lines) -> Box<dyn Observer>,
        service: S,
        report_json: fn(&S::Report) -> Value,
    ) -> Result<(), Failure> {
        type Writer = Box<dyn io::Write + Send>;
        let lines = |writer: Writer, dropped: fn(u64) -> String, stop: Box<dyn FnOnce() + Send>| {
            Lines::new(writer, dropped, stop).map_err(|e| Failure::System(e.to_string()))
        };
        // Before the address is printed: a program that reads the address may send a signal at once.
        let mut signals = signals::watch(&[Signal::Interrupt, Signal::Terminate])
            .map_err(|e| Failure::System(format!("cannot watch for signals: {e}")))?;

        let dropped = |n| format!("({n} log lines dropped: the reader is too slow)");
        let log = lines(Box::new(anstream::stderr()), dropped, Box::new(|| {}))?;
        log.redirect_log();
        let stopper_cell = Arc::new(OnceLock::<net::Stopper>::new());
        let on_failure = Arc::clone(&stopper_cell);
        let events = self
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
        let reporter = Reporter { log: log.clone(), events: events.clone() };
        let trace = self.trace.then(|| trace(log.clone()));

        sys::net::raise_socket_limit();
        let (for_reports, for_notices) = (reporter.clone(), reporter.clone());
        let server = Server::bind(addrs, service)?
            .limits(limits)
            .observer(trace)
            .on_report(move |report| for_reports.report(&report, || report_json(&report)))
            .on_notice(move |notice| for_notices.report(&notice, || unfinished(&notice)));
        let stopper = server.stopper();
        let _ = stopper_cell.set(stopper.clone());
        let closer = signals.closer();
        let watcher = std::thread::spawn(move || {
            for _ in signals.forever() {
                stopper.stop();
            }
        });
        let addr = server.local_addr();
        reporter.log.line(format_args!("listening on {addr}"));
        reporter.event(&json!({ "event": "listening", "address": addr.to_string() }));

        let ended = server.run().map(|_| ());
        closer.close();
        let _ = watcher.join();
        log::debug!("stopped");
        reporter.event(&json!({ "event": "stopped" }));
        drop(reporter);
        streams::record_result(log.finish());
        if let Some(events) = events {
            events.finish().map_err(Failure::stdout)?;
        }
        ended.map_err(|e| Failure::System(format!("cannot wait for the network: {e}")))
    }
}

/// Writer of a server's log lines and events.
#[derive(Clone)]
struct Reporter {
    log: Lines,
    /// Events as JSON lines, if `--json` is given.
    events: Option<Lines>,
}

impl Reporter {
    /// Writes a line to the log, and an event.
    fn report(&self, line: impl fmt::Display, event: impl FnOnce() -> Value) {
        self.log.line(line);
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
