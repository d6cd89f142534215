//! Load generator: one thread with several sockets, each with a fixed number of datagrams in flight.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Number of characters that the server removes.
const REMOVED: usize = 10;

/// Kind of load.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) sockets: usize,
    /// Number of datagrams in flight for each socket. All of them together fit into the receive buffer of the server, so
    /// that none is lost. Linux has 208 KiB by default, frees a quarter of that late, and counts 1280 bytes for a
    /// datagram of 500.
    pub(crate) in_flight: usize,
    /// Length of a datagram in bytes.
    pub(crate) size: usize,
}

impl Load {
    /// Returns the number of datagrams in flight together.
    pub(crate) const fn together(self) -> usize {
        self.sockets * self.in_flight
    }
}

/// Sends datagrams and receives their answers: as many as are in flight together, `rounds` times. Returns the number of
/// lost ones.
pub(crate) fn run(addr: SocketAddr, load: Load, rounds: usize) -> usize {
    let message = vec![b'x'; load.size];
    let mut answer = [0; 2048];
    let sockets: Vec<UdpSocket> = (0..load.sockets).map(|_| dial(addr)).collect();
    let send = |socket: &UdpSocket| {
        assert_eq!(socket.send(&message).expect("cannot send"), load.size);
    };
    for socket in &sockets {
        (0..load.in_flight).for_each(|_| send(socket));
    }
    let mut lost = 0;
    for left in (0..rounds).rev() {
        for socket in &sockets {
            for _ in 0..load.in_flight {
                match socket.recv(&mut answer) {
                    Ok(n) => assert_eq!(n, load.size - REMOVED),
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        lost += 1;
                    }
                    Err(e) => panic!("cannot receive: {e}"),
                }
                if left > 0 {
                    send(socket);
                }
            }
        }
    }
    lost
}

fn dial(addr: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("no free port");
    socket.connect(addr).expect("cannot connect");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("cannot set a time-out");
    socket
}
