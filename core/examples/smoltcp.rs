//! On smoltcp, as a microcontroller runs it: both ends on one loopback interface.
//!
//! Each end is a [`Session`], whose buffers smoltcp's sockets fill and empty.
//!
//! `cargo run -p socklab-core --example smoltcp`

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use socklab_core::machine::{EventView, Machine, StreamEnd};
use socklab_core::session::{Polled, Session, Want};
use socklab_core::{echo, math};

mod common;
use common::{MESSAGES, QUIZ, describe, replied};

type End<M> = Session<M, [u8; 64], [u8; 128]>;

/// Moves what can be moved between a session and its socket.
fn carry<M: Machine>(session: &mut End<M>, socket: &mut tcp::Socket<'_>) {
    if socket.can_send() {
        let sent = socket.send_slice(session.transmit()).unwrap_or_default();
        session.transmitted(sent);
    }
    let space = session.recv_space();
    if socket.can_recv() && !space.is_empty() {
        let received = socket.recv_slice(space).unwrap_or_default();
        session.received(received);
    } else if socket.state() == tcp::State::CloseWait && !socket.can_recv() {
        session.ended(StreamEnd::Closed);
    }
}

/// Polls a session until it needs the network. Returns whether it has finished.
fn go<'c, M: Machine>(
    session: &mut End<M>,
    mut event: impl FnMut(EventView<'_, M>),
    mut command: impl FnMut() -> Option<M::Command<'c>>,
) -> bool {
    loop {
        match session.poll().expect("the peer keeps to the protocol") {
            Polled::Event(e) => event(session.view(e)),
            // smoltcp sends by itself.
            Polled::Want(Want::Flush) => session.flushed(),
            Polled::Want(Want::Boundary) => {}
            Polled::Want(Want::Command | Want::ReadOrWrite) => match command() {
                Some(c) => session.command(c).expect("there is space, and it is our turn"),
                None => return false,
            },
            Polled::Want(want) => return want.is_last(),
        }
    }
}

/// One interface with two connected sockets.
struct Net {
    device: Loopback,
    interface: Interface,
    sockets: SocketSet<'static>,
    client: SocketHandle,
    server: SocketHandle,
    now: Instant,
}

impl Net {
    fn new() -> Self {
        let mut device = Loopback::new(Medium::Ip);
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        let address = IpAddress::v4(127, 0, 0, 1);
        interface.update_ip_addrs(|list| list.push(IpCidr::new(address, 8)).unwrap());
        let mut sockets = SocketSet::new(Vec::new());
        let socket = || {
            let buffer = || tcp::SocketBuffer::new(vec![0; 256]);
            tcp::Socket::new(buffer(), buffer())
        };
        let (client, server) = (sockets.add(socket()), sockets.add(socket()));
        sockets.get_mut::<tcp::Socket<'_>>(server).listen(8000).unwrap();
        let dialling = sockets.get_mut::<tcp::Socket<'_>>(client);
        dialling.connect(interface.context(), (address, 8000), 49152).unwrap();
        Self { device, interface, sockets, client, server, now: Instant::ZERO }
    }

    /// Moves packets and bytes once. The time jumps to when the interface wants to be polled next.
    fn poll<C: Machine, S: Machine>(&mut self, client: &mut End<C>, server: &mut End<S>) {
        self.interface.poll(self.now, &mut self.device, &mut self.sockets);
        carry(client, self.sockets.get_mut(self.client));
        carry(server, self.sockets.get_mut(self.server));
        let delay = self.interface.poll_delay(self.now, &self.sockets);
        self.now += delay.unwrap_or(Duration::from_millis(1));
        assert!(self.now < Instant::from_secs(60), "both ends wait");
    }
}

fn session<M: Machine>(machine: M) -> End<M> {
    Session::new(machine, [0; 64], [0; 128]).unwrap()
}

fn math() -> Vec<String> {
    let (mut client, mut server) = (session(math::Client::new()), session(math::Server::new()));
    let (mut net, mut lines, mut commands) = (Net::new(), Vec::new(), QUIZ.into_iter());
    loop {
        net.poll(&mut client, &mut server);
        go(&mut server, |_| (), || commands.next());
        if go(&mut client, |e| lines.push(describe(e)), || None) {
            return lines;
        }
    }
}

fn echo() -> Vec<String> {
    use echo::client::Command::{Finish, Send};
    let (mut client, mut server) = (session(echo::Client::new()), session(echo::Server::new()));
    let mut commands = MESSAGES.into_iter().map(Send).chain([Finish]);
    let (mut net, mut lines) = (Net::new(), Vec::new());
    loop {
        net.poll(&mut client, &mut server);
        go(&mut server, |_| (), || None);
        if go(&mut client, |e| replied(&mut lines, e), || commands.next()) {
            return lines;
        }
    }
}

pub(crate) fn transcript() -> Vec<String> {
    [math(), echo()].concat()
}

fn main() {
    transcript().iter().for_each(|line| println!("{line}"));
}
