//! `socklab file`.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use socklab_core::file::client::{Client as Machine, Error as Cause};
use socklab_core::file::{Form, Request};

use super::common::{Common, Failure, Listen, Run, ServerOptions};
use super::events::{connected, emit, session, undelivered};
use crate::file::{
    self, BUFFER, Client, Fetched, Local, Options, Outcome, Progress, Report, Service,
};
use crate::net::{self, DialError, Target};
use crate::proxy::Side;
use crate::sys;
use crate::ui::messages::Conversation;
use crate::ui::signals;
use crate::ui::{Bar, put_text, say, say_last, streams};

const PORT: u16 = 12001;

/// Shortest time between two updates of the progress bar: bytes arrive far more often.
const REDRAW: Duration = Duration::from_millis(100);

/// Fetch a file: socklab file client HOST:PORT:REMOTE LOCAL
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// The server and the name of the file on it; without HOST:PORT, a built-in server of the current
    /// folder
    #[arg(value_name = "[HOST:PORT:]REMOTE",
          value_parser = OsStringValueParser::new().try_map(|text| Remote::parse(&text)))]
    remote: Remote,
    /// The file to write, or - for standard output [default: the last part of REMOTE, in the current folder]
    local: Option<PathBuf>,
    /// Use the original course protocol (no size, no checksum)
    #[arg(long)]
    plain: bool,
    /// With --plain, send a newline after the name, for servers that read a line
    #[arg(long, requires = "plain")]
    newline: bool,
    /// With the plain protocol, accept a connection that closes without a byte as an empty file
    #[arg(long, conflicts_with = "checked")]
    allow_empty: bool,
    /// Never fall back to the plain protocol when the server does not answer
    #[arg(long, conflicts_with = "plain")]
    checked: bool,
    /// Continue an interrupted transfer
    #[arg(long, conflicts_with = "plain")]
    resume: bool,
    /// Print no progress bar and no summary
    #[arg(short, long)]
    quiet: bool,
}

/// Serve the files in a folder
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// The folder to serve; nothing outside it can be fetched
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    #[command(flatten)]
    server: ServerOptions,
}

/// The file to fetch, and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remote {
    /// `None` for a built-in server.
    target: Option<Target>,
    /// Name of the file, as requested.
    name: Vec<u8>,
}

impl Remote {
    /// Parses the argument by the rules of this system.
    fn parse(text: &OsStr) -> Result<Self, String> {
        let bytes = sys::file::requested_name(text).ok_or("expected a file's name in Unicode")?;
        Self::parse_bytes(bytes, sys::file::HAS_DRIVES)
    }

    /// Parses `HOST:PORT:REMOTE`, with an IPv6 host in brackets, or `REMOTE` alone. The latter contains no colon, or a
    /// slash before it.
    ///
    /// On a system with drives a backslash is a slash, and `C:` is a drive.
    fn parse_bytes(bytes: &[u8], has_drives: bool) -> Result<Self, String> {
        const EXPECTED: &str = "expected HOST:PORT:REMOTE (an IPv6 host in brackets), or REMOTE \
                                alone for a built-in server; a name with a colon starts with ./";
        let is_slash = |byte: u8| byte == b'/' || (has_drives && byte == b'\\');
        if bytes.windows(3).take_while(|three| three[0] != b'/').any(|three| three == b"://") {
            return Err(
                "expected HOST:PORT:REMOTE, not a URL, such as localhost:12001:a.txt".into()
            );
        }
        if let [drive, b':', ..] = bytes
            && has_drives
            && drive.is_ascii_alphabetic()
        {
            let drive = char::from(*drive);
            return Err(format!(
                "{drive}: is a drive: expected a path below the current folder, or HOST:PORT:REMOTE (a host \
                 whose name is one letter by its IP address)"
            ));
        }
        let host_end = match bytes {
            [b'[', ..] => bytes.iter().position(|byte| *byte == b']').map(|at| at + 1),
            _ => bytes.iter().position(|byte| *byte == b':' || is_slash(*byte)),
        };
        let (host, rest) = match host_end.map(|at| bytes.split_at(at)) {
            Some((host, [b':', rest @ ..])) => (host, rest),
            Some((_, [slash, ..])) if is_slash(*slash) && !bytes.starts_with(b"[") => {
                return Ok(Self { target: None, name: bytes.to_owned() });
            }
            None if bytes.is_empty() => return Err("expected a file's name".into()),
            None if !bytes.starts_with(b"[") => {
                return Ok(Self { target: None, name: bytes.to_owned() });
            }
            _ => return Err(EXPECTED.into()),
        };
        let colon = rest.iter().position(|byte| *byte == b':').ok_or(EXPECTED)?;
        let (port, name) = (&rest[..colon], &rest[colon + 1..]);
        let host = std::str::from_utf8(host).map_err(|_| EXPECTED)?;
        let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
        let port = port.filter(|port| *port > 0).ok_or("expected a port from 1 to 65535")?;
        if host.is_empty() || host == "[]" {
            return Err("expected a host before the first colon".into());
        }
        if name.is_empty() {
            return Err("expected a file's name after the port".into());
        }
        Ok(Self { target: Some(Target::new(host, port)), name: name.to_owned() })
    }

    /// Returns the last part of the name: the default name of the local file.
    fn base(&self) -> Result<PathBuf, Failure> {
        sys::file::last_part(&self.name)
            .map_err(|reason| Failure::Usage(format!("LOCAL is missing: {reason}")))
    }
}

impl Run for ClientArgs {
    fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let local = self.local.clone().or_else(|| self.remote.base().ok());
        let local = local.filter(|local| local.as_os_str() != "-");
        // The built-in server serves the current folder.
        let is_served = self.remote.target.is_none();
        let remote = is_served.then(|| sys::file::served_path(&self.remote.name).ok()).flatten();
        let local = local.map(|local| ("LOCAL", local));
        local.into_iter().chain(remote.map(|remote| ("REMOTE", remote.into()))).collect()
    }

    fn run(self, common: &Common) -> Result<(), Failure> {
        let local = match &self.local {
            Some(local) => local.clone(),
            None => self.remote.base()?,
        };
        let stdout = local.as_os_str() == "-";
        // Checked before a file is created or a request is sent.
        let form = if self.plain { Form::Plain } else { Form::Checked { offset: 0 } };
        let request = Request { name: self.remote.name.as_slice(), form };
        if request.emit(&mut [0; 2048]).is_err() {
            return Err(Failure::Usage(
                "REMOTE cannot be requested: it contains a newline, or is too long for a line of \
                 1024 bytes"
                    .into(),
            ));
        }
        let interrupts = Interrupts::watch(common)?;
        let destination = if stdout {
            let stdout = streams::check_stdout().and_then(|()| sys::file::stdout());
            let file = stdout.map_err(Failure::stdout)?;
            Local::direct(file, Path::new("standard output"))
        } else {
            Local::open(&local, self.resume).map_err(|e| Failure::System(e.to_string()))?
        };
        self.check(&destination, stdout, common)?;
        interrupts.start_dialling(destination);
        let fetch = |target: &Target| self.fetch(target, &local, &interrupts, common);
        match &self.remote.target {
            Some(target) => fetch(target),
            None => common.built_in("file", serve(Path::new("."))?, fetch),
        }
    }
}

fn serve(root: &Path) -> Result<Service, Failure> {
    Service::new(root).map_err(|e| {
        let reason = net::reason(&e);
        Failure::System(format!("cannot serve the folder {}: {reason}", root.display()))
    })
}

impl ClientArgs {
    /// Checks that the destination is neither the output of events nor the served file itself. `is_stdout` is set if it is
    /// standard output by its name.
    fn check(&self, destination: &Local, is_stdout: bool, common: &Common) -> Result<(), Failure> {
        let is_stdout = sys::file::stdout().is_ok_and(|stdout| {
            // Except /dev/null, which events and the file may share.
            (!sys::file::is_device(&stdout) || stdout.is_terminal())
                && (is_stdout || destination.is_file(&stdout))
        });
        if is_stdout && common.output(false).is_json() {
            return Err(Failure::Usage(
                "--json writes to standard output, and LOCAL is the same file: give another one"
                    .into(),
            ));
        }
        // The built-in server serves the current folder.
        if self.remote.target.is_none()
            && sys::file::served_path(&self.remote.name)
                .is_ok_and(|served| destination.is_path(served))
        {
            return Err(Failure::Usage(
                "LOCAL and REMOTE are the same file: give another LOCAL, or the address of a server"
                    .into(),
            ));
        }
        Ok(())
    }

    fn fetch(
        &self,
        target: &Target,
        local: &Path,
        interrupts: &Interrupts,
        common: &Common,
    ) -> Result<(), Failure> {
        let client = dial(target, common)?;
        let (destination, e) = match self.attempt(client, local, interrupts, common, self.plain)? {
            Attempt::Done => return Ok(()),
            Attempt::Failed(destination, e) => (destination, e),
        };
        // Falls back to the plain form only if no byte was received: otherwise a refusal could be taken for the file. A
        // transfer cannot be resumed in the plain form.
        if self.plain || self.checked || self.resume || !e.is_unanswered() {
            // Removes a useless partial file before the error is reported.
            drop(destination);
            return Err(self.failure(e, self.plain));
        }
        let warning = format!(
            "{}; requesting the file again with the plain protocol, which cannot verify it (--checked \
             forbids that)",
            e.cause
        );
        say(format_args!("warning: {warning}"));
        emit(&mut common.output(false), || json!({ "event": "fallback", "message": warning }))?;
        interrupts.start_dialling(destination);
        if interrupts.caught() {
            return Err(Failure::INTERRUPTED);
        }
        let client = match dial(target, common) {
            Ok(client) => client,
            Err(local_error @ DialError::System(_)) => return Err(local_error.into()),
            // The server has probably ended after its first client.
            Err(refused) => {
                return Err(Failure::Peer(format!(
                    "{}, and the second attempt failed: {refused}; if the server uses the plain protocol, try \
                     --plain",
                    e.cause
                )));
            }
        };
        match self.attempt(client, local, interrupts, common, true)? {
            Attempt::Done => Ok(()),
            Attempt::Failed(destination, e) => {
                drop(destination);
                Err(self.failure(e, true))
            }
        }
    }

    /// Fetches the file in one form.
    ///
    /// # Errors
    ///
    /// An interrupt, or a failure of writing to standard output. A failed transfer is [`Attempt::Failed`].
    fn attempt(
        &self,
        client: net::Client<Machine>,
        local: &Path,
        interrupts: &Interrupts,
        common: &Common,
        plain: bool,
    ) -> Result<Attempt, Failure> {
        let name = &self.remote.name;
        let mut output = common.output(false);
        let dissectors = if plain { Conversation::plain_file } else { Conversation::file };
        let client = common.observe(client, Side::Client, dissectors);
        let Some(mut destination) = interrupts.start_fetching(client.waker()) else {
            return Err(Failure::INTERRUPTED);
        };
        connected(&mut output, client.peer())?;
        let client = Client::from(client);
        let bar = self.bar(destination.length(), plain, common);
        let start = Instant::now();
        let mut drawn = None::<Instant>;
        let progress = |Progress { got, size }: Progress| {
            if let Some(bar) = &bar
                // Nothing has been received: the bar would look complete.
                && (got > 0 || size.is_some())
                && drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW)
            {
                drawn = Some(Instant::now());
                bar.set_length(size.unwrap_or(got));
                bar.set_position(got);
            }
            if interrupts.caught() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let Self { allow_empty, newline, .. } = *self;
        let options = Options { plain, allow_empty, newline };
        let fetched = client.fetch(name, &mut destination, options, progress);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        match fetched {
            Ok(fetched) => {
                emit(&mut output, || {
                    let mut event = json!({ "event": "file", "bytes": fetched.size });
                    put_text(&mut event, "local", local.as_os_str().as_encoded_bytes());
                    if fetched.resumed > 0 {
                        event["resumed"] = fetched.resumed.into();
                    }
                    if let Some(crc) = fetched.crc {
                        event["crc32"] = format!("{crc:08x}").into();
                    }
                    event
                })?;
                if !self.quiet {
                    say(summary(local, &fetched, start.elapsed().as_secs_f64()));
                }
                Ok(Attempt::Done)
            }
            Err(e) => Ok(Attempt::Failed(destination, e)),
        }
    }

    /// Returns a progress bar for a terminal. With a trace there is none, because the trace shows more.
    fn bar(&self, resumed: u64, is_plain: bool, common: &Common) -> Option<Bar> {
        if self.quiet || common.traces() || !io::stderr().is_terminal() {
            return None;
        }
        let style = "{bar:30} {percent:>3}%  {decimal_bytes} of {decimal_total_bytes}  \
                     {decimal_bytes_per_sec}  {eta} left";
        let plain = "{spinner} {decimal_bytes}  {decimal_bytes_per_sec}  {elapsed}";
        let style = ProgressStyle::with_template(if is_plain { plain } else { style }).ok()?;
        let bar = ProgressBar::no_length().with_style(style).with_position(resumed);
        // The rate must not include the bytes of an earlier transfer.
        bar.reset_eta();
        Some(Bar::new(bar))
    }

    fn failure(&self, e: file::Error, is_plain: bool) -> Failure {
        // The partial file may belong to another file. Then every attempt to resume fails.
        let is_stale = self.resume
            && matches!(
                &e.cause,
                file::Failure::Refused(_)
                    | file::Failure::Net(net::Error::Protocol(Cause::Size { .. }, _))
            );
        let is_text = is_text(&e.cause);
        let kept = e.kept.as_ref().map_or_else(String::new, |(path, n)| {
            let s = if *n == 1 { "" } else { "s" };
            let advice = match (is_stale, is_text) {
                (_, true) => ", but they are useless",
                (true, _) => "; if they belong to another file, fetch it without --resume",
                _ => "; use --resume to continue",
            };
            format!("; {n} byte{s} kept in {}{advice}", path.display())
        });
        let hint = match &e.cause {
            file::Failure::Net(net::Error::Protocol(e, _) | net::Error::TimedOut(e, ..))
                if e.may_be_plain() && !is_plain =>
            {
                "; if the server uses the plain protocol, try --plain"
            }
            file::Failure::Empty => "; use --allow-empty to accept an empty file",
            _ if is_text => {
                "; that size is text: if the server uses the plain protocol, try --plain"
            }
            _ => "",
        };
        let complete = |text: String| format!("{text}{hint}{kept}");
        match e.cause {
            file::Failure::Net(e) => match Failure::from(e) {
                Failure::System(text) => Failure::System(complete(text)),
                Failure::Peer(text) => Failure::Peer(complete(text)),
                failure => failure,
            },
            file::Failure::Local(e) => Failure::System(complete(e.to_string())),
            file::Failure::Interrupted => Failure::Interrupted(kept),
            cause => Failure::Peer(complete(cause.to_string())),
        }
    }
}

/// Returns whether the server replied with text that starts like a reply of the checked form, such as `+OK ...`. The
/// size in that reply then consists of printable characters.
fn is_text(cause: &file::Failure) -> bool {
    let file::Failure::Net(
        net::Error::Protocol(Cause::Truncated { size: Some(size), .. }, _)
        | net::Error::TimedOut(Cause::Truncated { size: Some(size), .. }, ..),
    ) = cause
    else {
        return false;
    };
    size.to_be_bytes().iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}

fn dial(target: &Target, common: &Common) -> Result<net::Client<Machine>, DialError> {
    net::Client::dial(target, Machine::new(), BUFFER, common.timeout())
}

/// Result of an attempt.
enum Attempt {
    /// The file is complete, and its event and summary have been written.
    Done,
    /// The attempt failed. The destination can be used again.
    Failed(Local, file::Error),
}

/// Returns the summary of a complete transfer.
fn summary(local: &Path, fetched: &Fetched, seconds: f64) -> String {
    let Fetched { size, resumed, crc } = *fetched;
    let s = if size == 1 { "" } else { "s" };
    let mut text = format!("{}: {size} byte{s}", local.display());
    if resumed > 0 {
        text += &format!(", resumed at byte {resumed}");
    }
    #[expect(clippy::cast_precision_loss, reason = "it is shown to a person")]
    let rate = (size - resumed) as f64 / seconds / 1e6;
    text += &format!(", {seconds:.1} s, {rate:.1} MB/s");
    text + &match crc {
        Some(crc) => format!(", CRC-32 {crc:08x} verified"),
        None => ", not verified: the plain protocol has no checksum".to_owned(),
    }
}

/// Handler of Ctrl-C and SIGTERM during a transfer: the partial file is cleaned up before the program ends.
struct Interrupts {
    caught: Arc<AtomicBool>,
    stage: Arc<Mutex<Stage>>,
}

/// Stage of the program, which decides what a signal does.
enum Stage {
    /// There is nothing to clean up: a signal ends the program at once.
    Idle,
    /// A signal drops the destination and ends the program, because dialling cannot be interrupted.
    Dialling(Local),
    /// A signal wakes the transfer, which cleans up and returns.
    Fetching(Arc<mio::Waker>),
}

impl Interrupts {
    fn watch(common: &Common) -> Result<Self, Failure> {
        let mut signals = signals::watch(common.ends()).map_err(|e| Failure::signals(&e))?;
        // Not earlier: a signal before this line ends the program elsewhere.
        signals::claim().map_err(|e| Failure::signals(&e))?;
        let this = Self { caught: Arc::default(), stage: Arc::new(Mutex::new(Stage::Idle)) };
        let (caught, stage) = (Arc::clone(&this.caught), Arc::clone(&this.stage));
        let recordings = common.recordings();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    // Locked until the program ends, so that the main thread cannot change the stage meanwhile.
                    let mut stage = lock(&stage);
                    let again = caught.swap(true, Ordering::Relaxed);
                    if let Stage::Fetching(waker) = &*stage
                        && !again
                    {
                        let _ = waker.wake();
                    } else {
                        *stage = Stage::Idle;
                        if let Err(e) = recordings.end_interrupted() {
                            say_last(format!("socklab: {e}"));
                        }
                        signals::end_by(signal);
                    }
                }
            })
            .map_err(|e| Failure::System(e.to_string()))?;
        Ok(this)
    }

    /// Keeps the destination while the client connects.
    fn start_dialling(&self, destination: Local) {
        *lock(&self.stage) = Stage::Dialling(destination);
    }

    /// Returns the destination once the client is connected. From now on a signal wakes `waker`. Returns `None` after a
    /// signal.
    fn start_fetching(&self, waker: Arc<mio::Waker>) -> Option<Local> {
        match std::mem::replace(&mut *lock(&self.stage), Stage::Fetching(waker)) {
            Stage::Dialling(destination) => Some(destination),
            Stage::Idle | Stage::Fetching(_) => None,
        }
    }

    /// Returns whether a signal was received.
    fn caught(&self) -> bool {
        self.caught.load(Ordering::Relaxed)
    }
}

/// Drops the destination if the client could not connect. The thread would keep it until the program ends.
impl Drop for Interrupts {
    fn drop(&mut self) {
        *lock(&self.stage) = Stage::Idle;
    }
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let service = serve(&self.root)?;
        common.serve_dissected(
            self.listen.addrs()?,
            &self.server,
            common.limits(&self.server),
            Conversation::file,
            service,
            report_json,
        )
    }
}

/// Returns the event of a session.
fn report_json(report: &Report) -> Value {
    let outcome = match &report.outcome {
        Outcome::Sent => ("sent", None),
        Outcome::Refused(reason) => ("refused", Some(reason.clone())),
        Outcome::Malformed(e) => ("malformed", Some(e.to_string())),
        Outcome::Unreadable(reason) => ("reset", Some(reason.clone())),
        Outcome::Failed(e, quote) => ("failed", Some(format!("{e}{}", quote.suffix()))),
        Outcome::Internal(e) => ("failed", Some(e.to_string())),
        Outcome::Undelivered => ("failed", Some(undelivered())),
        Outcome::Stopped => ("stopped", None),
    };
    let mut details = json!({});
    if let Some(asked) = &report.asked {
        put_text(&mut details, "name", &asked.name);
        details["form"] = if asked.form == Form::Plain { "plain" } else { "checked" }.into();
        details["offset"] = asked.form.offset().into();
        details["size"] = asked.size.into();
        details["sent"] = report.sent.into();
    }
    session(report.peer, details, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(Option<String>, String), String> {
        let Remote { target, name } = Remote::parse_bytes(text.as_bytes(), false)?;
        Ok((target.map(|target| target.to_string()), String::from_utf8(name).unwrap()))
    }

    fn from(target: &str, name: &str) -> Result<(Option<String>, String), String> {
        Ok(((!target.is_empty()).then(|| target.to_owned()), name.to_owned()))
    }

    #[test]
    fn a_remote_file_is_host_port_and_name() {
        assert_eq!(parsed("host:12001:a.txt"), from("host:12001", "a.txt"));
        assert_eq!(parsed("10.0.0.1:1:/etc/x:y"), from("10.0.0.1:1", "/etc/x:y"));
        assert_eq!(parsed("[::1]:80:dir/a b"), from("[::1]:80", "dir/a b"));
        assert_eq!(parsed("host:1:sub/../a"), from("host:1", "sub/../a"));
    }

    #[test]
    fn a_name_alone_is_for_the_built_in_server() {
        assert_eq!(parsed("a.txt"), from("", "a.txt"));
        assert_eq!(parsed("dir/a:1:b"), from("", "dir/a:1:b"));
        assert_eq!(parsed("./a:1:b"), from("", "./a:1:b"));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "host:", "host:12001", "host:12001:", "host:0:a", "host:x:a", ":1:a"] {
            assert!(parsed(text).is_err(), "{text}");
        }
        for text in ["[::1]", "[::1]:1", "[::1", "[]:1:a", "::1:80:a", "host:70000:a"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_a_letter_can_be_a_drive_it_is_no_host() {
        let parse = |text: &str| Remote::parse_bytes(text.as_bytes(), true);
        for text in [r"C:\x", "c:x", "C:", "C:12001:a.txt", "z:/a"] {
            assert!(parse(text).is_err_and(|e| e.contains("is a drive")), "{text}");
        }
        assert_eq!(parse(r"dir\a:1:b").map(|remote| remote.target), Ok(None));
        assert_eq!(parse(r"10.0.0.1:1:C:\x").map(|remote| remote.name), Ok(br"C:\x".to_vec()));
        assert_eq!(parsed("C:12001:a.txt"), from("C:12001", "a.txt"));
    }

    #[test]
    fn the_last_part_of_a_name_is_the_default_local_name() {
        let base = |name: &str| Remote { target: None, name: name.into() }.base();
        assert_eq!(base("a/b/c.txt").unwrap(), Path::new("c.txt"));
        assert_eq!(base("/c").unwrap(), Path::new("c"));
        for name in ["..", "/", "a/", "a/.."] {
            assert!(base(name).is_err(), "{name}");
        }
    }
}
