//! The three drivers, over transports that may return anything.

use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use socklab_core::driver::asynch::{FaultOf, Halves};
use socklab_core::driver::{Error, Next, asynch, blocking, datagrams, nonblocking, polled};
use socklab_core::machine::{EventView, Machine};
use socklab_core::{datagram, echo, math, udp};

use crate::machines::{Bytes, DATAGRAM_MACHINES, MACHINES};
use crate::world::{Datagrams, Fault, Net, Player, Wire};
use crate::{Function, Kept, of_each_datagram_machine, of_each_machine};

const fn over_embedded_io<M: Machine>() -> Kept<8> {
    type Of<M> = blocking::Connection<Wire, M, Bytes, Bytes>;
    Kept([
        Of::<M>::new as Function,
        Of::<M>::next as Function,
        Of::<M>::command as Function,
        Of::<M>::write_payload as Function,
        Of::<M>::flush as Function,
        Of::<M>::listen as Function,
        Of::<M>::timed_out as Function,
        Of::<M>::time_out as Function,
    ])
}

/// The blocking driver of each machine.
pub static BLOCKING: [Kept<8>; MACHINES] = of_each_machine!(over_embedded_io);

const fn over_ready<M: Machine>() -> Kept<8> {
    type Of<M> = polled::Connection<Wire, M, Bytes, Bytes>;
    Kept([
        Of::<M>::new as Function,
        Of::<M>::next as Function,
        Of::<M>::command as Function,
        Of::<M>::write_payload as Function,
        Of::<M>::flush as Function,
        Of::<M>::listen as Function,
        Of::<M>::timed_out as Function,
        Of::<M>::time_out as Function,
    ])
}

/// The polled driver of each machine.
pub static POLLED: [Kept<8>; MACHINES] = of_each_machine!(over_ready);

const fn over_nal<M: Machine>() -> Kept<7> {
    type Connection<M> = nonblocking::Connection<Net, M, Bytes, Bytes>;
    Kept([
        Connection::<M>::new as Function,
        Connection::<M>::next as Function,
        Connection::<M>::command as Function,
        Connection::<M>::write_payload as Function,
        Connection::<M>::fault as Function,
        Connection::<M>::idle as Function,
        Connection::<M>::time_out as Function,
    ])
}

/// The non-blocking driver of each machine.
pub static NONBLOCKING: [Kept<7>; MACHINES] = of_each_machine!(over_nal);

type Pool<M> = nonblocking::Server<Net, M, Player<M>, Bytes, Bytes, 2>;

fn poll<M: Machine>(
    pool: &mut Pool<M>,
    stack: &mut Net,
    now: u32,
    open: fn(SocketAddr) -> (M, Player<M>),
    report: fn(nonblocking::Ended<'_, Player<M>, M::Error, Fault>),
) -> nb::Result<(), Fault> {
    pool.poll(stack, now, open, report)
}

const fn pool<M: Machine>() -> Kept<7> {
    Kept([
        Pool::<M>::new as Function,
        Pool::<M>::set_pace as Function,
        Pool::<M>::set_timeout as Function,
        Pool::<M>::wait as Function,
        Pool::<M>::clients as Function,
        Pool::<M>::command as Function,
        poll::<M> as Function,
    ])
}

/// The server pool of each machine. It works without knowing the application.
pub static POOL: [Kept<7>; MACHINES] = of_each_machine!(pool);

const fn over_datagrams<M: datagram::Machine<SocketAddr>>() -> Kept<9> {
    type Client<M> = datagrams::Client<Datagrams, M, Bytes>;
    type Server<M> = datagrams::Server<Datagrams, M, Bytes>;
    Kept([
        Client::<M>::send as Function,
        Client::<M>::next as Function,
        Client::<M>::received as Function,
        Client::<M>::timer as Function,
        Client::<M>::timed_out as Function,
        Client::<M>::unreachable as Function,
        Server::<M>::next as Function,
        Server::<M>::received as Function,
        Server::<M>::unreachable as Function,
    ])
}

/// Both ends of the driver for datagrams, with each machine over datagrams.
pub static DATAGRAMS: [Kept<9>; DATAGRAM_MACHINES] = of_each_datagram_machine!(over_datagrams);

/// What an application calls with a udp client that remembers 4 messages and does not count, and with a udp server, over
/// `embedded-nal`, with buffers of 64 bytes.
pub static NAL_DATAGRAMS: Kept<7> = {
    type Client = datagrams::Client<Datagrams, udp::Client<SocketAddr, 4, ()>, Small>;
    type Server = datagrams::Server<Datagrams, udp::Server, Small>;
    Kept([
        Client::send as Function,
        Client::next as Function,
        Client::received as Function,
        Client::timer as Function,
        Client::timed_out as Function,
        Server::next as Function,
        Server::received as Function,
    ])
};

type Small = [u8; 64];

/// Functions that a client's application calls.
const fn client<M: Machine>() -> Kept<4> {
    type Connection<M> = nonblocking::Connection<Net, M, Small, Small>;
    Kept([
        Connection::<M>::new as Function,
        Connection::<M>::next as Function,
        Connection::<M>::command as Function,
        Connection::<M>::write_payload as Function,
    ])
}

/// A client of math and of echo, over `embedded-nal`, with buffers of 64 bytes.
pub static NAL_CLIENTS: [Kept<4>; 2] = [client::<math::Client>(), client::<echo::Client>()];

type SmallPool<M> = nonblocking::Server<Net, M, Player<M>, Small, Small, 2>;

fn serve<M: Machine>(
    pool: &mut SmallPool<M>,
    stack: &mut Net,
    now: u32,
    open: fn(SocketAddr) -> (M, Player<M>),
    report: fn(nonblocking::Ended<'_, Player<M>, M::Error, Fault>),
) -> nb::Result<(), Fault> {
    pool.poll(stack, now, open, report)
}

/// Functions that a server's firmware calls.
const fn server<M: Machine>() -> Kept<3> {
    Kept([
        SmallPool::<M>::new as Function,
        serve::<M> as Function,
        SmallPool::<M>::wait as Function,
    ])
}

/// A server of math and of echo for two clients at a time, with buffers of 64 bytes.
pub static NAL_SERVERS: [Kept<3>; 2] = [server::<math::Server>(), server::<echo::Server>()];

type Wires = Halves<Wire, Wire>;
type Async<M> = asynch::Connection<Wires, M, Bytes, Bytes>;
type Failed<M> = Error<<M as Machine>::Error, FaultOf<Wires>>;
type NextResult<'c, M> = Result<Next<EventView<'c, M>>, Failed<M>>;

/// Polls `next` until it is ready or `enough` returns `true`. It may be dropped at each point.
fn next<'c, M: Machine>(
    connection: &'c mut Async<M>,
    enough: fn() -> bool,
) -> Option<NextResult<'c, M>> {
    let mut next = pin!(connection.next());
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = next.as_mut().poll(&mut context) {
            return Some(result);
        }
        if enough() {
            return None;
        }
    }
}

/// Does what [`next`] does, for `flush`.
fn flush<M: Machine>(
    connection: &mut Async<M>,
    enough: fn() -> bool,
) -> Option<Result<(), Failed<M>>> {
    let mut flush = pin!(connection.flush());
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(flushed) = flush.as_mut().poll(&mut context) {
            return Some(flushed);
        }
        if enough() {
            return None;
        }
    }
}

/// As [`next`], of `command` and `write_payload`.
fn send<M: Machine>(
    connection: &mut Async<M>,
    command: M::Command<'_>,
    payload: &[u8],
    enough: fn() -> bool,
) -> Option<Result<(), Failed<M>>> {
    let mut send = pin!(async {
        connection.command(command).await?;
        connection.write_payload(payload).await?;
        connection.listen().await
    });
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(sent) = send.as_mut().poll(&mut context) {
            return Some(sent);
        }
        if enough() {
            return None;
        }
    }
}

const fn over_async<M: Machine>() -> Kept<7> {
    Kept([
        Async::<M>::new as Function,
        next::<M> as Function,
        flush::<M> as Function,
        send::<M> as Function,
        Async::<M>::idle as Function,
        Async::<M>::timed_out as Function,
        Async::<M>::time_out as Function,
    ])
}

/// The async driver of each machine.
pub static ASYNCH: [Kept<7>; MACHINES] = of_each_machine!(over_async);
