//! What the steps of a case do with datagrams.
//!
//! A server under test is found with the first message of the case, which is sent again for as long as the system reports
//! that nothing receives there. A copy that was refused has not arrived, so the program gets the message once: a program
//! that counts its messages, or ends after one, notices nothing. To learn of the refusal, the socket of the first message
//! is connected. The sockets of further clients are not, and see replies from any address.
//!
//! Where the system reports nothing, as behind some packet filters, the message is sent until something arrives.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socklab_core::datagram::Datagram;

use super::super::failure::{Failure, Kind, seconds};
use super::super::program::alone;
use super::super::setup::Role;
use super::limit::Handover;
use super::{HANDOVER, MORE, Outcome, STARTUP, Talk, plural, system};
use crate::net::{Direction, reason};
use crate::proxy::Flow;
use crate::ui::messages::flow;
use crate::ui::recording::Event;

/// Time in which the system reports that nothing receives at a port of this machine.
const REFUSAL: Duration = Duration::from_millis(50);
/// Number of datagrams that are sent to learn whether the system reports it when nothing receives.
const PROBES: usize = 3;
/// Time after which a client may send a message again.
const AGAIN: Duration = Duration::from_millis(100);
/// Number of datagrams that are kept until a step takes them. A program may send without an end.
const KEPT: usize = 1024;
/// Number of datagrams that are read at a time.
const READS: usize = 256;

/// A datagram that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) struct Arrived {
    pub(in crate::check) from: SocketAddr,
    pub(in crate::check) bytes: Vec<u8>,
}

/// A socket of the tester.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// `None` after the close.
    socket: Option<UdpSocket>,
    /// Whether it receives from the program's address alone.
    is_connected: bool,
    /// Datagrams that no step has taken.
    pub(super) inbox: VecDeque<Arrived>,
    /// Whether the system has reported that a datagram did not arrive.
    is_refused: bool,
    /// Whether the system reports that at all.
    has_reports: bool,
}

impl Mailbox {
    const fn new(socket: UdpSocket, is_connected: bool) -> Self {
        let inbox = VecDeque::new();
        Self { socket: Some(socket), is_connected, inbox, is_refused: false, has_reports: true }
    }

    /// Opens a socket that can send to an address.
    fn open(to: SocketAddr) -> std::io::Result<UdpSocket> {
        let local: IpAddr = match to.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((local, 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Connects the socket to itself, so that the system refuses what others send to it, and the socket can still send.
    ///
    /// # Errors
    ///
    /// That of the system.
    fn refuse_replies(&self, to: SocketAddr) -> std::io::Result<()> {
        // macOS does not let a connected socket send to another address. There, the close must be faster than the reply.
        let Some(socket) = &self.socket else { return Ok(()) };
        if self.is_connected || !cfg!(target_os = "linux") {
            return Ok(());
        }
        socket.connect((to.ip(), socket.local_addr()?.port()))
    }

    /// Reads what has arrived. Returns the new datagrams.
    fn read(&mut self) -> Vec<Arrived> {
        // The longest datagram has 65,507 bytes.
        let mut buffer = vec![0; 65_536];
        let mut all = Vec::new();
        let Some(socket) = &self.socket else { return all };
        for _ in 0..READS {
            match socket.recv_from(&mut buffer) {
                Ok((n, from)) => {
                    let bytes = buffer.get(..n).unwrap_or_default().to_vec();
                    all.push(Arrived { from, bytes });
                }
                // Windows has another name for the report.
                Err(e) if is_refusal(&e) => self.is_refused = true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        all
    }

    /// Sends a datagram.
    pub(super) fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> std::io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let send = || {
            let sent =
                if self.is_connected { socket.send(bytes) } else { socket.send_to(bytes, to) };
            sent.map(|_| ())
        };
        match send() {
            // It reports that an earlier datagram did not arrive, and this one was not sent.
            Err(e) if is_refusal(&e) => send(),
            sent => sent,
        }
    }
}

fn is_refusal(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}

/// Returns the failure of a datagram that the system does not send, as some do not send the longest ones.
fn unsendable(bytes: &[u8], e: &std::io::Error) -> Box<Failure> {
    let text =
        format!("this system does not send a datagram of {} bytes: {}", bytes.len(), reason(e));
    Failure::new(Kind::System, text).into()
}

impl Talk {
    /// Opens the socket of another client. It becomes the current one.
    pub(in crate::check) fn open(&mut self) -> Outcome {
        let to = self.place.addr;
        let socket = Mailbox::open(to).map_err(|e| system(&e))?;
        let is_connected = !self.has_started;
        if is_connected {
            socket.connect(to).map_err(|e| system(&e))?;
        }
        self.mailboxes.push(Mailbox::new(socket, is_connected));
        self.current = self.mailboxes.len() - 1;
        Ok(())
    }

    /// Opens our socket, if the program is a client: one socket for all clients.
    pub(super) fn open_server(&mut self) -> Outcome {
        if !self.mailboxes.is_empty() {
            return Ok(());
        }
        let socket = match self.place.socket.take() {
            Some(socket) => socket,
            None => self.bound()?,
        };
        self.mailboxes.push(Mailbox::new(socket, false));
        Ok(())
    }

    fn bound(&self) -> Outcome<UdpSocket> {
        let socket = UdpSocket::bind(self.place.addr);
        let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        socket.map_err(|e| system(&e))
    }

    /// Opens our socket again at the same port, as a server that was started again.
    pub(in crate::check) fn reopen(&mut self) -> Outcome {
        let socket = match self.close_socket(true)? {
            Some(socket) => socket,
            None => self.bound()?,
        };
        self.mailbox()?.socket = Some(socket);
        self.note("the tester closes its socket and opens it again");
        Ok(())
    }

    /// Closes the current socket, and waits until no process has a copy: a program that is being started has one until it
    /// is executed, and for a moment more. Then the address can be bound again. Returns a socket that is, if it is wanted.
    fn close_socket(&mut self, is_wanted: bool) -> Outcome<Option<UdpSocket>> {
        let Some(socket) = self.mailbox()?.socket.take() else { return Ok(None) };
        let local = socket.local_addr().map_err(|e| system(&e))?;
        drop(socket);
        let socket = self.wait(HANDOVER, |_| {
            let _alone = alone();
            let socket = UdpSocket::bind(local);
            let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            // Without a copy in a program that is being started.
            Ok(socket.ok().map(|socket| is_wanted.then_some(socket)))
        })?;
        Ok(socket.flatten())
    }

    /// Closes the current socket. The system reports to the program that its next datagrams do not arrive.
    pub(in crate::check) fn vanish(&mut self) -> Outcome {
        if self.setup.role == Role::Client {
            self.open_server()?;
        }
        self.close_socket(false)?;
        self.note("the tester closes its socket");
        Ok(())
    }

    /// Sends a datagram as another client, whose socket is closed when the reply arrives.
    ///
    /// A close after the datagram was sent could be late: the program may be faster than this thread, and a program that is
    /// being started has a copy of the socket for a moment.
    pub(in crate::check) fn post_and_vanish(&mut self, bytes: &[u8]) -> Outcome {
        self.open()?;
        let to = self.place.addr;
        self.mailbox()?.refuse_replies(to).map_err(|e| system(&e))?;
        self.post(bytes)?;
        self.vanish()
    }

    /// Returns whether the program has received, or sent, a datagram.
    pub(in crate::check) const fn has_found(&self) -> bool {
        self.has_started
    }

    pub(super) fn mailbox(&mut self) -> Outcome<&mut Mailbox> {
        // All clients send to one socket.
        let number = if self.setup.role == Role::Server { self.current } else { 0 };
        self.mailboxes
            .get_mut(number)
            .ok_or_else(|| Box::new(Failure::new(Kind::System, "the case has no socket")))
    }

    /// Records in words what happens.
    fn note(&mut self, text: &str) {
        self.record(&Event::Note(text));
    }

    pub(super) fn record_datagram(&mut self, number: usize, flow: Flow, bytes: &[u8]) {
        self.recording.record(number as u64 + 1, &Event::Datagram(flow, Datagram::whole(bytes)));
    }

    /// Reads what has arrived at all sockets.
    pub(super) fn read_datagrams(&mut self) {
        let theirs = flow(self.setup.our_side(), Direction::Received);
        for i in 0..self.mailboxes.len() {
            let Some(mailbox) = self.mailboxes.get_mut(i) else { continue };
            for arrived in mailbox.read() {
                match self.setup.role {
                    Role::Server => self.record_datagram(i, theirs, &arrived.bytes),
                    Role::Client => {
                        let number = self.number_of(arrived.from);
                        self.record_datagram(number, theirs, &arrived.bytes);
                    }
                    // A relay records what it sends.
                    Role::Pair => {}
                }
                if let Some(mailbox) = self.mailboxes.get_mut(i)
                    && mailbox.inbox.len() < KEPT
                {
                    mailbox.inbox.push_back(arrived);
                }
            }
        }
    }

    /// Returns the number of a client, from 0.
    pub(super) fn number_of(&mut self, client: SocketAddr) -> usize {
        self.clients.iter().position(|known| *known == client).unwrap_or_else(|| {
            self.clients.push(client);
            self.clients.len() - 1
        })
    }

    /// Sends a datagram to the program. A server is started first, and found with this.
    pub(in crate::check) fn post(&mut self, bytes: &[u8]) -> Outcome {
        if self.setup.role != Role::Server {
            let Some(client) = self.client else {
                return Err(Failure::new(Kind::System, "no client has sent a datagram").into());
            };
            return self.post_to(client, bytes);
        }
        if self.mailboxes.is_empty() {
            self.open()?;
        }
        let to = self.place.addr;
        if self.has_started {
            return self.post_to(to, bytes);
        }
        if self.program.is_none() && !self.setup.command().is_empty() {
            self.learn_of_reports(to)?;
        }
        self.start()?;
        self.find(to, bytes)
    }

    fn post_to(&mut self, to: SocketAddr, bytes: &[u8]) -> Outcome {
        // A server notices no pause between two messages, but a client may send its message again.
        self.stalls.written(self.setup.role != Role::Server);
        match self.mailbox()?.send(to, bytes) {
            // What the system reports shows when something is expected.
            Err(e) if !is_refusal(&e) => return Err(unsendable(bytes, &e)),
            _ => {}
        }
        let number = self.current;
        self.sent.push(bytes.to_vec());
        self.record_datagram(number, self.our_flow(), bytes);
        Ok(())
    }

    /// Learns, before the program is started, whether the system reports that nothing receives at its port. Wine keeps the
    /// first report of a socket to itself (its server reads the error of the socket), and the message would be lost.
    fn learn_of_reports(&mut self, to: SocketAddr) -> Outcome {
        for _ in 0..PROBES {
            match self.mailbox()?.send(to, b"") {
                Err(e) if !is_refusal(&e) => return Err(system(&e)),
                _ => {}
            }
            let reported = self.wait(REFUSAL, |talk| {
                let mailbox = talk.mailbox()?;
                mailbox.read();
                Ok(mailbox.is_refused.then_some(()))
            })?;
            if reported.is_some() {
                self.mailbox()?.is_refused = false;
                return Ok(());
            }
        }
        self.mailbox()?.has_reports = false;
        Ok(())
    }

    /// Sends the first datagram again and again, until the system does not report that nothing receives it. Without
    /// reports, until something arrives.
    fn find(&mut self, to: SocketAddr, bytes: &[u8]) -> Outcome {
        let gone = |handover: &Handover| {
            let rest = handover.remainder();
            let text = format!("the program ended before it received at its port{rest}");
            Box::new(Failure::new(Kind::NotListening, text))
        };
        let mut handover = Handover::default();
        let mut sent: Option<Instant> = None;
        let found = self.wait(STARTUP, |talk| {
            if let Some(at) = sent {
                let mailbox = talk.mailbox()?;
                let arrived = mailbox.read();
                mailbox.inbox.extend(arrived);
                let has_arrived = !mailbox.inbox.is_empty();
                if has_arrived || (mailbox.has_reports && !mailbox.is_refused) {
                    return Ok((has_arrived || at.elapsed() >= REFUSAL).then_some(()));
                }
                if !mailbox.has_reports && at.elapsed() < AGAIN {
                    return Ok(None);
                }
            }
            if handover.is_over(talk.program.as_mut()) {
                return Err(gone(&handover));
            }
            let mailbox = talk.mailbox()?;
            mailbox.is_refused = false;
            sent = match mailbox.send(to, bytes) {
                Ok(()) => Some(Instant::now()),
                Err(e) if is_refusal(&e) => None,
                Err(e) => return Err(unsendable(bytes, &e)),
            };
            Ok(None)
        })?;
        if found.is_none() && handover.has_begun() {
            return Err(gone(&handover));
        }
        // Without reports it may have received the message, and not replied.
        if found.is_none() && self.mailbox()?.has_reports {
            let text = format!(
                "the program does not receive datagrams at {to} within {}: the system reports that nothing receives there",
                seconds(STARTUP)
            );
            return Err(Failure::new(Kind::NotListening, text).into());
        }
        self.has_started = true;
        self.sent.push(bytes.to_vec());
        self.record_datagram(self.current, self.our_flow(), bytes);
        let arrived: Vec<_> = self.mailbox()?.inbox.iter().map(|a| a.bytes.clone()).collect();
        for bytes in arrived {
            let theirs = flow(self.setup.our_side(), Direction::Received);
            self.record_datagram(self.current, theirs, &bytes);
        }
        Ok(())
    }

    /// Waits for the next datagram at the current socket. `None` means that none has come within `limit`. A client is
    /// started first.
    pub(in crate::check) fn arrival(&mut self, limit: Duration) -> Outcome<Option<Arrived>> {
        if self.setup.role != Role::Server {
            self.open_server()?;
            self.start()?;
        }
        let arrived = self.wait(limit, |talk| {
            talk.read_datagrams();
            Ok(talk.mailbox()?.inbox.pop_front())
        })?;
        if let Some(arrived) = &arrived {
            self.took(arrived);
        }
        Ok(arrived)
    }

    /// Notes that a step has taken a datagram.
    fn took(&mut self, arrived: &Arrived) {
        self.sent.clear();
        (self.has_started, self.has_answered) = (true, true);
        if self.setup.role != Role::Server {
            self.stalls.written(false);
            self.client = Some(arrived.from);
            self.current = self.number_of(arrived.from);
        }
    }

    /// Waits for the next datagram, and fails without one: `what` names it.
    pub(in crate::check) fn expect(&mut self, what: &str) -> Outcome<Arrived> {
        enum Got {
            Datagram(Arrived),
            Refused,
            Exited,
        }
        let role = self.setup.role;
        let is_first = role != Role::Server && !self.has_started;
        let limit = if is_first { STARTUP } else { self.setup.timeout };
        if role != Role::Server {
            self.open_server()?;
            self.start()?;
        }
        let mut handover = Handover::default();
        let got = self.wait(limit, |talk| {
            talk.read_datagrams();
            let mailbox = talk.mailbox()?;
            if let Some(arrived) = mailbox.inbox.pop_front() {
                return Ok(Some(Got::Datagram(arrived)));
            }
            if mailbox.is_refused && role == Role::Server {
                return Ok(Some(Got::Refused));
            }
            Ok(handover.is_over(talk.program.as_mut()).then_some(Got::Exited))
        })?;
        // One that has ended before the limit does not send any more.
        let got = got.or_else(|| handover.has_begun().then_some(Got::Exited));
        match got {
            Some(Got::Datagram(arrived)) => {
                self.took(&arrived);
                Ok(arrived)
            }
            Some(Got::Refused) => {
                if let (false, Some(message)) = (self.has_answered, self.sent.pop()) {
                    // The report about the first message came late. It does so once.
                    self.has_answered = true;
                    self.find(self.place.addr, &message)?;
                    return self.expect(what);
                }
                let addr = self.place.addr;
                let text = format!(
                    "{what} did not arrive: the system reports that nothing receives at {addr} any more"
                );
                Err(Failure::new(Kind::Closed, text).into())
            }
            Some(Got::Exited) if is_first => {
                let text = "the program ended without a datagram";
                Err(Failure::new(Kind::NotConnected, text).into())
            }
            Some(Got::Exited) => {
                let text = format!("the program ended without {what}");
                Err(Failure::new(Kind::Closed, text).into())
            }
            None if is_first => {
                let (addr, limit) = (self.place.addr, seconds(limit));
                let text = format!("no datagram arrived at {addr} within {limit}");
                Err(Failure::new(Kind::NotConnected, text).into())
            }
            None => Err(self.missing(what, limit)),
        }
    }

    /// Returns why nothing has arrived.
    fn missing(&mut self, what: &str, limit: Duration) -> Box<Failure> {
        let text = format!("{what} did not arrive within {}", seconds(limit));
        if self.setup.role != Role::Server {
            return Failure::new(Kind::Silent, text).into();
        }
        match self.other_source() {
            Ok(Some(from)) => {
                let text = format!(
                    "the reply comes from {from}, not from {}, where the message was sent to",
                    self.place.addr
                );
                let failure = Box::new(Failure::new(Kind::Silent, text));
                failure.hint(OTHER_SOURCE)
            }
            Ok(None) => Failure::new(Kind::Silent, text).into(),
            Err(failure) => failure,
        }
    }

    /// Adds to the failure of a reply that did not arrive that it has arrived at another client, if it has.
    pub(in crate::check) fn at_another_client(
        &self,
        failure: Box<Failure>,
        expected: &[u8],
    ) -> Box<Failure> {
        let others = self.mailboxes.iter().enumerate().filter(|(i, _)| *i != self.current);
        let mut inboxes = others.flat_map(|(i, mailbox)| mailbox.inbox.iter().map(move |a| (i, a)));
        let found = inboxes.find(|(_, arrived)| arrived.bytes == expected);
        let Some((i, _)) = found.filter(|_| failure.kind == Kind::Silent) else { return failure };
        let text = format!("{}, but at the tester's client {}", failure.message, i + 1);
        Box::new(Failure { message: text, ..*failure }).hint(OTHER_CLIENT)
    }

    /// Sends the last message once more, from a socket that is not connected. Returns the address from which a reply
    /// comes, if it is not that of the program.
    fn other_source(&mut self) -> Outcome<Option<SocketAddr>> {
        let Some(message) = self.sent.last().cloned() else { return Ok(None) };
        if !self.mailbox()?.is_connected {
            return Ok(None);
        }
        self.open()?;
        self.post_to(self.place.addr, &message)?;
        let arrived = self.arrival(2 * MORE)?;
        Ok(arrived.map(|arrived| arrived.from).filter(|from| *from != self.place.addr))
    }

    /// Receives exactly these bytes in the next datagram.
    pub(in crate::check) fn expect_exactly(&mut self, what: &str, expected: &[u8]) -> Outcome {
        let arrived = self.expect(what)?;
        self.is_from_program(&arrived)?;
        if arrived.bytes == expected {
            return Ok(());
        }
        let failure = Failure::new(Kind::Different, format!("{what} is wrong"));
        Err(failure.bytes(expected, arrived.bytes).into())
    }

    /// Checks that a reply comes from the address that the message was sent to.
    pub(in crate::check) fn is_from_program(&self, arrived: &Arrived) -> Outcome {
        let (from, addr) = (arrived.from, self.place.addr);
        if self.setup.role != Role::Server || from == addr {
            return Ok(());
        }
        let text =
            format!("the reply comes from {from}, not from {addr}, where the message was sent to");
        let failure = Failure::new(Kind::Different, text).bytes([], arrived.bytes.clone());
        Err(Box::new(failure).hint(OTHER_SOURCE))
    }

    /// Receives a message of a client, which may send an earlier one again if its reply took long.
    pub(in crate::check) fn expect_message(&mut self, what: &str, expected: &[u8]) -> Outcome {
        loop {
            let arrived = self.expect(what)?;
            let is_again = self.received.as_ref().is_some_and(|(bytes, at)| {
                *bytes == arrived.bytes && arrived.bytes != expected && at.elapsed() >= AGAIN
            });
            if is_again {
                continue;
            }
            if arrived.bytes == expected {
                self.received = Some((arrived.bytes, Instant::now()));
                return Ok(());
            }
            let failure = Failure::new(Kind::Different, format!("{what} is wrong"));
            return Err(failure.bytes(expected, arrived.bytes).into());
        }
    }

    /// Checks that no datagram arrives at any socket for a time. A client may send its last message again then.
    pub(in crate::check) fn no_datagram(&mut self, time: Duration) -> Outcome {
        let start = Instant::now();
        let got = self.wait(time, |talk| {
            talk.read_datagrams();
            for mailbox in &mut talk.mailboxes {
                let received = talk.received.as_ref();
                let is_again = |arrived: &Arrived| {
                    start.elapsed() >= AGAIN
                        && received.is_some_and(|(bytes, _)| *bytes == arrived.bytes)
                };
                mailbox.inbox.retain(|arrived| !is_again(arrived));
                if let Some(arrived) = mailbox.inbox.front() {
                    return Ok(Some(arrived.clone()));
                }
            }
            Ok(None)
        })?;
        let Some(arrived) = got else { return Ok(()) };
        let n = arrived.bytes.len();
        let text = format!("the program sent another datagram, of {n} byte{}", plural(n));
        Err(Failure::new(Kind::Unexpected, text).bytes([], arrived.bytes).into())
    }

    /// Returns whether a datagram has arrived that no step has taken, within this time.
    pub(in crate::check) fn has_datagram(&mut self, time: Duration) -> Outcome<bool> {
        let got = self.wait(time, |talk| {
            talk.read_datagrams();
            Ok((!talk.mailbox()?.inbox.is_empty()).then_some(()))
        })?;
        Ok(got.is_some())
    }

    /// Sends a datagram to the client from another port.
    pub(in crate::check) fn post_as_stranger(&mut self, bytes: &[u8]) -> Outcome {
        let Some(client) = self.client else { return Ok(()) };
        let socket = Mailbox::open(client).map_err(|e| system(&e))?;
        let port = socket.local_addr().map_err(|e| system(&e))?.port();
        self.stalls.written(true);
        let sent = Mailbox::new(socket, false).send(client, bytes);
        sent.map_err(|e| system(&e))?;
        let n = bytes.len();
        self.note(&format!("the tester sends {n} bytes from another port, {port}"));
        Ok(())
    }
}

/// What to do about a reply that went to another client.
const OTHER_CLIENT: &str =
    "reply to the address that recvfrom() returned with this message, not to that of another one";
/// What to do about a reply from another port.
const OTHER_SOURCE: &str = "send the reply with the socket that received the message: a client may take only what comes from that port";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::super::super::program::Terminals;
    use super::super::super::setup::tests::setup;
    use super::super::super::setup::{Inputs, Setup};
    use super::*;

    /// Posts a message to a server that receives only later. Returns the number of copies that it got.
    fn copies(has_reports: Option<bool>) -> usize {
        const LATE: Duration = Duration::from_millis(300);
        let setup = Setup { protocol: "udp", role: Role::Server, ..setup(&[], None) };
        let mut talk =
            Talk::new(&Arc::new(setup), Inputs::default(), Terminals::default(), None).unwrap();
        let to = talk.place.addr;
        talk.open().unwrap();
        match has_reports {
            Some(has_reports) => talk.mailbox().unwrap().has_reports = has_reports,
            None => talk.learn_of_reports(to).unwrap(),
        }
        let server = thread::spawn(move || {
            thread::sleep(LATE);
            let socket = UdpSocket::bind(to).unwrap();
            let mut buffer = [0; 64];
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let (n, from) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(&buffer[..n], from).unwrap();
            socket.set_read_timeout(Some(LATE)).unwrap();
            1 + (0..9).take_while(|_| socket.recv_from(&mut buffer).is_ok()).count()
        });
        talk.post(b"message").unwrap();
        assert_eq!(talk.expect("the reply").unwrap().bytes, b"message");
        server.join().unwrap()
    }

    #[test]
    fn a_late_server_gets_the_first_message_once() {
        assert_eq!(copies(None), 1);
    }

    #[test]
    fn a_late_server_is_found_without_reports() {
        // It may get more than one: each is sent because no reply has arrived.
        assert!(copies(Some(false)) >= 1);
    }
}
