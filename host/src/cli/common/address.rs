//! Addresses on the command line.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use clap::Args;

use super::Failure;
use crate::net::Target;

/// Address that a client connects to: `HOST`, `HOST:PORT` or `HOST PORT`. Without one, it is a built-in server in the
/// same process.
#[derive(Debug, Args)]
pub(in crate::cli) struct Address<const PORT: u16> {
    /// The server's name or IP address [default: a built-in server]
    #[arg(value_name = "HOST[:PORT]", value_parser = host)]
    pub(in crate::cli) host: Option<Host>,
    #[arg(help = port_help::<PORT>(), value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// Address that a client connects to, as [`Address`] has it, and the messages that it sends.
#[derive(Debug, Args)]
pub(in crate::cli) struct Messages<const PORT: u16> {
    /// The server's name or IP address [default: a built-in server]
    #[arg(value_name = "HOST[:PORT]", value_parser = host)]
    host: Option<Host>,
    // With a port in `host`, this is the first message.
    #[arg(help = port_help::<PORT>())]
    port: Option<String>,
    /// The messages [default: each line of stdin is one]
    messages: Vec<String>,
}

impl<const PORT: u16> Messages<PORT> {
    /// Returns the target, or `None` for a built-in server, and the messages.
    pub(in crate::cli) fn target(&self) -> Result<(Option<Target>, Vec<String>), Failure> {
        let mut messages = self.messages.clone();
        let Some(host) = &self.host else { return Ok((None, messages)) };
        let port = match &self.port {
            Some(message) if host.port.is_some() => {
                messages.insert(0, message.clone());
                None
            }
            Some(text) => Some(text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                Failure::Usage(format!(
                    "invalid value '{text}' for '[PORT]': expected a number from 1 to 65535; see --help"
                ))
            })?),
            None => None,
        };
        Ok((Some(host.target(port, PORT)?), messages))
    }
}

/// Returns the help text of a client's port.
fn port_help<const PORT: u16>() -> String {
    format!("The server's port [default: {PORT}]")
}

impl<const PORT: u16> Address<PORT> {
    /// Returns the target, or `None` for a built-in server.
    pub(super) fn target(&self) -> Result<Option<Target>, Failure> {
        self.host.as_ref().map(|host| host.target(self.port, PORT)).transpose()
    }
}

/// A host, optionally with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Host {
    name: String,
    pub(in crate::cli) port: Option<u16>,
}

impl Host {
    /// Returns the name or IP address, and the port.
    pub(in crate::cli) fn parts(&self) -> (&str, Option<u16>) {
        (&self.name, self.port)
    }

    /// Returns the target with the port of the host or the separate `port`, otherwise with `default`.
    ///
    /// Both ports at once are an error.
    pub(in crate::cli) fn target(
        &self,
        port: Option<u16>,
        default: u16,
    ) -> Result<Target, Failure> {
        match (self.port, port) {
            (Some(one), Some(other)) => Err(two_ports(one, other)),
            (one, other) => Ok(Target::new(&self.name, one.or(other).unwrap_or(default))),
        }
    }
}

fn two_ports(one: u16, other: u16) -> Failure {
    Failure::Usage(format!("the port is given twice, as {one} and as {other}; see --help"))
}

/// Parses a host. The errors name what is often given instead: a port alone, or a URL.
pub(in crate::cli) fn host(text: &str) -> Result<Host, String> {
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

/// Splits an address into the host and the text after the colon, if there is a port. The brackets of an IPv6 address
/// are removed.
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

/// Address that a server listens on: `PORT`, `BIND:PORT` or `BIND PORT`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Listen<const PORT: u16> {
    #[arg(value_name = "[BIND:]PORT", help = listen_help::<PORT>(), value_parser = bind)]
    at: Option<Bind>,
    // Hidden: the help of the first argument describes both.
    #[arg(hide = true)]
    port: Option<u16>,
}

fn listen_help<const PORT: u16>() -> String {
    format!(
        "Address to listen on: PORT, BIND:PORT or BIND PORT; port 0 selects a free port [default: \
         127.0.0.1:{PORT}]"
    )
}

/// First argument of the address that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bind {
    Port(u16),
    AddressAndPort(String, u16),
    /// An address; the port is the second argument.
    Address(String),
}

fn bind(text: &str) -> Result<Bind, String> {
    let (host, port) = split_port(text)?;
    let number =
        |port: &str| port.parse().map_err(|_| "expected a port from 0 to 65535".to_owned());
    match (host, port) {
        ("", Some(_)) => Err("expected an address before the colon, such as 0.0.0.0:8000".into()),
        (port, None) if port.bytes().all(|b| b.is_ascii_digit()) => number(port).map(Bind::Port),
        (host, Some(port)) => Ok(Bind::AddressAndPort(host.to_owned(), number(port)?)),
        (host, None) => Ok(Bind::Address(host.to_owned())),
    }
}

impl<const PORT: u16> Listen<PORT> {
    /// Returns the addresses to bind to.
    pub(in crate::cli) fn addrs(
        &self,
    ) -> Result<impl ToSocketAddrs + fmt::Debug + use<PORT>, Failure> {
        let local = || Ipv4Addr::LOCALHOST.to_string();
        let (host, port) = match (self.at.clone(), self.port) {
            (None, port) => (local(), port.unwrap_or(PORT)),
            (Some(Bind::Port(port)), None) => (local(), port),
            (Some(Bind::AddressAndPort(host, port)), None) => (host, port),
            (Some(Bind::Address(host)), Some(port)) => (host, port),
            (Some(Bind::Port(one) | Bind::AddressAndPort(_, one)), Some(other)) => {
                return Err(two_ports(one, other));
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

/// Parses the address that a proxy listens on: `PORT` or `BIND:PORT`.
pub(in crate::cli) fn listen_at(text: &str) -> Result<ListenAddr, String> {
    match bind(text)? {
        Bind::Port(port) => Ok(ListenAddr { host: Ipv4Addr::LOCALHOST.to_string(), port }),
        Bind::AddressAndPort(host, port) => Ok(ListenAddr { host, port }),
        Bind::Address(_) => Err("expected PORT or BIND:PORT, such as 9000 or 0.0.0.0:9000".into()),
    }
}

#[derive(Clone)]
pub(in crate::cli) struct ListenAddr {
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
