//! What all cases of a run share: the program's command, the address, the limits.

mod place;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use socklab_core::wire::{Dissect, Transport};

pub(super) use self::place::Place;
use super::program::Launch;
use crate::proxy::Side;
use crate::ui::messages::{Dissectors, dissectors};
use crate::ui::recording::Observed;

/// The end that the program under test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
    /// Both ends, with a relay between them.
    Pair,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Pair => "pair",
        }
    }
}

/// The program under test.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Program and arguments, with placeholders.
    Command(Vec<String>),
    /// A server that already runs.
    Running(SocketAddr),
    /// Client and server, both under test.
    Pair { client: Vec<String>, server: Vec<String> },
}

/// Variant of a protocol, as pairs of a key and a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(BTreeMap<String, String>);

impl Wire {
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// Returns the value of a key, or its default.
    pub(crate) fn get<'w>(&'w self, key: &str, default: &'w str) -> &'w str {
        self.0.get(key).map_or(default, String::as_str)
    }
}

/// What all cases of a run share.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Name of the protocol.
    pub(crate) protocol: &'static str,
    pub(crate) role: Role,
    pub(crate) target: Target,
    /// Port that is fixed in the program.
    pub(crate) port: Option<u16>,
    /// Form of what is typed: see [`Setup::first_lines`].
    pub(crate) stdin: Option<String>,
    /// Limit of each wait.
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
    pub(crate) wire: Wire,
    /// Whether the program is started once for all cases.
    pub(crate) keep: bool,
    /// End of the time for all cases together.
    pub(crate) deadline: Option<Instant>,
    /// Whether the run has been interrupted.
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// What a case gives to the program when it starts: typed lines or arguments, and files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// Name of the placeholder, and the values in the order in which they are typed.
    pub(super) values: Vec<(&'static str, String)>,
    /// Whether the standard input ends after the values.
    pub(super) ends: bool,
    /// Folder of the case with its files.
    pub(super) folder: Option<PathBuf>,
}

impl Setup {
    /// Returns the values of the placeholders of a case.
    fn placeholders(&self, addr: SocketAddr, inputs: &Inputs) -> Vec<(String, Vec<String>)> {
        let mut all = vec![
            ("host".to_owned(), vec![addr.ip().to_string()]),
            ("port".to_owned(), vec![addr.port().to_string()]),
        ];
        if let Some(folder) = &inputs.folder {
            all.push(("dir".to_owned(), vec![folder.display().to_string()]));
        }
        for (name, value) in &inputs.values {
            match all.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(value.clone()),
                None => all.push(((*name).to_owned(), vec![value.clone()])),
            }
        }
        all
    }

    /// Returns how the program is started for a case.
    pub(super) fn launch(&self, command: &[String], addr: SocketAddr, inputs: &Inputs) -> Launch {
        let placeholders = self.placeholders(addr, inputs);
        let mut words = Vec::new();
        for word in command {
            // A word that is a placeholder of several values becomes several words.
            let whole = placeholders.iter().find(|(name, _)| *word == format!("{{{name}}}"));
            match whole {
                Some((_, values)) => words.extend(values.iter().cloned()),
                None => words.push(filled(word, &placeholders)),
            }
        }
        let is_used = |name: &str| command.iter().any(|word| word.contains(&format!("{{{name}}}")));
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        let mut args: Vec<String> = words.collect();
        // A program that is not given its folder finds its files in the current one.
        let folder = inputs.folder.clone().filter(|_| !is_used("dir"));
        if folder.is_some() {
            for arg in &mut args {
                if let Ok(path) = std::path::absolute(arg.as_str())
                    && Path::new(arg.as_str()).is_relative()
                    && path.exists()
                {
                    *arg = path.display().to_string();
                }
            }
        }
        let host = addr.ip().to_string();
        Launch { program, args, folder, host, port: addr.port(), has_terminal: false }
    }

    /// Returns the command of the program: of a pair, that of the client.
    pub(super) fn command(&self) -> &[String] {
        match &self.target {
            Target::Command(command) | Target::Pair { client: command, .. } => command,
            Target::Running(_) => &[],
        }
    }

    /// Returns the setup of the server of a pair.
    pub(super) fn server_of_pair(&self) -> Self {
        let server = match &self.target {
            Target::Pair { server, .. } => server.clone(),
            Target::Command(_) | Target::Running(_) => Vec::new(),
        };
        Self {
            role: Role::Server,
            target: Target::Command(server),
            stdin: None,
            wire: self.wire.clone(),
            cancelled: Arc::clone(&self.cancelled),
            ..*self
        }
    }

    /// Returns whether a value of a case is an argument of the command.
    pub(super) fn is_argument(&self, name: &str) -> bool {
        let placeholder = format!("{{{name}}}");
        self.command().iter().any(|word| word.contains(&placeholder))
    }

    /// Returns the names of the values of a case that are typed: those that neither the command nor `--stdin` names.
    pub(super) fn typed_names(&self, inputs: &Inputs) -> Vec<&'static str> {
        let form = self.stdin.as_deref().unwrap_or_default();
        let mut names: Vec<&str> = inputs.values.iter().map(|(name, _)| *name).collect();
        names.dedup();
        names.retain(|name| !self.is_argument(name) && !form.contains(&format!("{{{name}}}")));
        names
    }

    /// Returns what is typed at the start: the lines of `--stdin` that have no `{message}`, and the values of the case
    /// that are not arguments.
    pub(super) fn first_lines(&self, addr: SocketAddr, inputs: &Inputs) -> Vec<String> {
        let placeholders = self.placeholders(addr, inputs);
        let mut lines = Vec::new();
        let form = self.stdin.as_deref().unwrap_or(MESSAGE);
        for line in form.split('\n').filter(|line| !line.contains(MESSAGE)) {
            lines.push(filled(line, &placeholders) + "\n");
        }
        for (name, value) in &inputs.values {
            let is_typed_elsewhere = form.contains(&format!("{{{name}}}")) && *name != "message";
            if !self.is_argument(name) && !is_typed_elsewhere {
                lines.push(self.typed(value));
            }
        }
        lines
    }

    /// Returns the text that types a line: the line of `--stdin` that has `{message}`.
    pub(super) fn typed(&self, line: &str) -> String {
        let form = self.stdin.as_deref().unwrap_or(MESSAGE);
        let form = form.split('\n').find(|form| form.contains(MESSAGE)).unwrap_or(MESSAGE);
        form.replace(MESSAGE, line) + "\n"
    }

    /// Returns our end of the connections.
    pub(super) const fn our_side(&self) -> Side {
        match self.role {
            Role::Client | Role::Pair => Side::Server,
            Role::Server => Side::Client,
        }
    }

    /// Returns whether the protocol is over datagrams.
    pub(super) fn is_datagrams(&self) -> bool {
        is_datagrams(self.protocol)
    }

    /// Returns who makes the reads and writes that are recorded.
    pub(super) const fn observed(&self) -> Observed {
        match self.role {
            Role::Client | Role::Server => Observed::Side(self.our_side()),
            Role::Pair => Observed::Proxy,
        }
    }

    /// Returns the dissectors of the protocol.
    pub(super) fn dissectors(&self) -> Dissectors {
        let header = self.wire.get("header", "4").parse().unwrap_or(4);
        dissectors(self.protocol, header)
    }

    /// Returns whether cases can run at the same time.
    pub(crate) fn is_parallel(&self) -> bool {
        self.port.is_none() && self.shared_reason().is_none()
    }

    /// Returns why the program is not started for each case, if that is so.
    pub(super) fn shared_reason(&self) -> Option<&'static str> {
        match &self.target {
            Target::Running(_) => Some("the case must start the program, and --connect does not"),
            Target::Command(_) if self.keep => {
                Some("the case must start the program by itself, and --keep starts it once for all")
            }
            Target::Command(_) | Target::Pair { .. } => None,
        }
    }

    /// Returns whether the command has no place for the port, although the program does not have a fixed one.
    pub(super) fn lacks_port(&self) -> bool {
        matches!(&self.target, Target::Command(words) if !words.iter().any(|word| word.contains("{port}")))
            && self.port.is_none()
    }

    /// Returns whether the time for all cases together is over.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        /// Returns whether a protocol is over datagrams.
        pub(super) fn is_datagrams(protocol: &str) -> bool {
            let transport = match protocol {
                $(stringify!($module) => <socklab_core::$module::ClientBytes as Dissect>::TRANSPORT,)*
                _ => Transport::Stream,
            };
            transport == Transport::Datagrams
        }
    };
}

socklab_core::for_each_protocol!(protocols);

/// Placeholder of a line that is typed.
const MESSAGE: &str = "{message}";

/// Returns text with its placeholders replaced. Several values are joined by a space.
fn filled(text: &str, placeholders: &[(String, Vec<String>)]) -> String {
    let mut text = text.to_owned();
    for (name, values) in placeholders {
        text = text.replace(&format!("{{{name}}}"), &values.join(" "));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::check) fn setup(command: &[&str], stdin: Option<&str>) -> Setup {
        Setup {
            protocol: "add",
            role: Role::Client,
            target: Target::Command(command.iter().map(ToString::to_string).collect()),
            port: None,
            stdin: stdin.map(str::to_owned),
            timeout: Duration::from_secs(1),
            seed: 0,
            wire: Wire::default(),
            keep: false,
            deadline: None,
            cancelled: Arc::default(),
        }
    }

    fn inputs(values: &[(&'static str, &str)]) -> Inputs {
        let values = values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Inputs { values, ..Inputs::default() }
    }

    #[test]
    fn values_are_typed_unless_they_are_arguments() {
        let addr = "127.0.0.1:7".parse().unwrap();
        let values = inputs(&[("name", "Ada"), ("number", "42")]);
        let typed = setup(&["p", "{host}", "{port}"], None);
        assert_eq!(typed.first_lines(addr, &values), ["Ada\n", "42\n"]);
        let Target::Command(words) = &typed.target else { unreachable!() };
        assert_eq!(typed.launch(words, addr, &values).args, ["127.0.0.1", "7"]);

        let given = setup(&["p", "--to={host}:{port}", "{name}"], None);
        assert_eq!(given.first_lines(addr, &values), ["42\n"]);
        let Target::Command(words) = &given.target else { unreachable!() };
        assert_eq!(given.launch(words, addr, &values).args, ["--to=127.0.0.1:7", "Ada"]);
    }

    #[test]
    fn several_messages_are_several_arguments() {
        let addr = "127.0.0.1:7".parse().unwrap();
        let setup = setup(&["p", "{message}"], None);
        let Target::Command(words) = &setup.target else { unreachable!() };
        let values = inputs(&[("message", "one"), ("message", "two words")]);
        assert_eq!(setup.launch(words, addr, &values).args, ["one", "two words"]);
        assert!(setup.first_lines(addr, &values).is_empty());
    }

    #[test]
    fn the_form_of_the_input_has_a_beginning_and_a_line_for_each_message() {
        let addr = "127.0.0.1:7".parse().unwrap();
        let setup = setup(&["p"], Some("{host}\n{port}\nsay {message}"));
        let values = inputs(&[("message", "one"), ("message", "two")]);
        let lines = ["127.0.0.1\n", "7\n", "say one\n", "say two\n"];
        assert_eq!(setup.first_lines(addr, &values), lines);
        assert_eq!(setup.typed("three"), "say three\n");
    }
}
