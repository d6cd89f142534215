//! Connections through a balancer before their PROXY protocol header is complete.
//!
//! They have no slot and no session yet, and get no byte. One that is closed before it has sent any was a health check,
//! and leaves no trace but a debug record. If a header names no client, it is probably that of a health check too. Then
//! the session starts with the first byte after the header, or, since the server may have to speak first, after a while.

use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use slab::Slab;

use super::{Engine, millis};
use crate::net::dial::reason;
use crate::net::engine::slot::{PendingEnd, Wakeup};
use crate::net::engine::{ServerControl, Service};
use crate::net::peer::unmapped;
use crate::net::quote::Quote;
use crate::net::stack::Direction;
use crate::net::system::{Stream, System};
use crate::net::{ProxyHeader, ProxyHeaderError, ProxyOrigin};

/// Bit of the keys of these connections that the keys of slots do not have.
const KEY: usize = 1 << (usize::BITS - 2);
/// Time in milliseconds until a session starts if neither a client's address nor another byte has come. A balancer closes
/// the connection of a health check at once.
const UNNAMED_MS: u64 = 1000;
/// Size in bytes of a read. It must be more than a header.
const READ: usize = 1024;
/// What is probably wrong if no header comes.
const NO_HEADER: &str =
    "the balancer sends none (send-proxy-v2 is missing), or the client connects directly";

/// The connections that wait for their header.
pub(super) struct Headers<K> {
    waiting: Slab<Waiting<K>>,
    /// Keys of those that may have bytes to read.
    readable: VecDeque<usize>,
    /// When they are refused, in ascending order. Entries of connections that have left are ignored.
    refusals: VecDeque<Due>,
    /// When the sessions of those without a client start, as `refusals`.
    starts: VecDeque<Due>,
    /// Number of connections so far.
    count: u64,
    /// Whether the server stops.
    pub(super) is_stopping: bool,
}

#[derive(Clone, Copy)]
struct Due {
    at: u64,
    key: usize,
    number: u64,
}

struct Waiting<K> {
    stream: K,
    peer: SocketAddr,
    /// Distinguishes the connections that have had the same key.
    number: u64,
    /// Part of a header.
    bytes: Vec<u8>,
    /// Whether a header has come that names no client.
    is_unnamed: bool,
    is_readable: bool,
    /// Whether an end of stream has been reported.
    is_ended: bool,
}

/// Result of reading.
enum Received {
    /// Not enough bytes yet.
    Part,
    /// The peer has closed or reset the connection.
    End,
    /// A header, and the place of the bytes after it.
    Header(ProxyOrigin, Range<usize>),
    /// Anything else, in this number of bytes.
    Other(ProxyHeaderError, usize),
}

impl<K> Default for Headers<K> {
    fn default() -> Self {
        Self {
            waiting: Slab::new(),
            readable: VecDeque::new(),
            refusals: VecDeque::new(),
            starts: VecDeque::new(),
            count: 0,
            is_stopping: false,
        }
    }
}

impl<K: Stream> Headers<K> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns whether a connection may have bytes to read.
    pub(super) fn is_readable(&self) -> bool {
        !self.readable.is_empty()
    }

    /// Handles an event of a connection that has no slot. It is read later: its session must not get a slot that another
    /// event of the same batch refers to.
    pub(super) fn wake(&mut self, key: usize, is_ended: bool) {
        if key & KEY == 0 {
            return;
        }
        let key = key & !KEY;
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        waiting.is_ended |= is_ended;
        if !std::mem::replace(&mut waiting.is_readable, true) {
            self.readable.push_back(key);
        }
    }

    /// Returns the time of the next timer.
    pub(super) fn next_due(&mut self) -> Option<u64> {
        let Self { waiting, refusals, starts, .. } = self;
        [refusals, starts].into_iter().filter_map(|queue| Some(front(waiting, queue)?.at)).min()
    }

    /// Returns a connection whose timer has expired.
    fn pop_expired(&mut self, now: u64) -> Option<usize> {
        let Self { waiting, refusals, starts, .. } = self;
        [starts, refusals].into_iter().find_map(|queue| {
            front(waiting, queue).filter(|due| due.at <= now)?;
            queue.pop_front().map(|due| due.key)
        })
    }
}

/// Returns the first timer of a connection that still waits, and removes those before it.
fn front<K>(waiting: &Slab<Waiting<K>>, queue: &mut VecDeque<Due>) -> Option<Due> {
    while let Some(due) = queue.front() {
        if waiting.get(due.key).is_some_and(|waiting| waiting.number == due.number) {
            return Some(*due);
        }
        queue.pop_front();
    }
    None
}

impl<K: Stream> Waiting<K> {
    /// Returns whether a header names no client, or only the addresses of this connection. Health checks with version 1
    /// have such a header.
    fn is_balancer(&self, origin: ProxyOrigin) -> bool {
        match origin {
            ProxyOrigin::Unnamed => true,
            ProxyOrigin::Other => false,
            // A client of another connection may have the same address as the balancer has in this one.
            ProxyOrigin::Client { source, destination } => {
                let is_local = |local| unmapped(local) == unmapped(destination);
                unmapped(source) == self.peer && self.stream.local_addr().is_ok_and(is_local)
            }
        }
    }

    /// Reads until the header is complete or the socket is empty. `buffer` has [`READ`] bytes.
    fn read(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            let have = self.bytes.len();
            buffer[..have].copy_from_slice(&self.bytes);
            let have = match self.stream.read(&mut buffer[have..]) {
                Ok(0) => return Received::End,
                Ok(n) => have + n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Received::Part,
                Err(_) => return Received::End,
            };
            if self.is_unnamed {
                return Received::Header(ProxyOrigin::Unnamed, 0..have);
            }
            match ProxyHeader::parse(&buffer[..have]) {
                Ok(None) => self.bytes = buffer[..have].to_vec(),
                Ok(Some(ProxyHeader { length, origin }))
                    if length == have && self.is_balancer(origin) =>
                {
                    self.is_unnamed = true;
                    self.bytes = Vec::new();
                }
                Ok(Some(ProxyHeader { length, origin })) => {
                    return Received::Header(origin, length..have);
                }
                Err(e) => return Received::Other(e, have),
            }
        }
    }
}

impl<S: Service, N: System> Engine<S, N> {
    /// Waits for the header of a new connection.
    pub(super) fn await_header(
        &mut self,
        mut stream: N::Stream,
        peer: SocketAddr,
        limit: Duration,
    ) {
        let key = self.headers.waiting.vacant_key();
        if let Err(e) = self.system.register(&mut stream, key | KEY, false) {
            log::warn!("{peer}: cannot register the connection for events: {}", reason(&e));
            self.client_left();
            return;
        }
        if S::RESETS {
            stream.set_reset_on_close(true);
        }
        self.headers.count += 1;
        let number = self.headers.count;
        self.headers.waiting.insert(Waiting {
            stream,
            peer,
            number,
            bytes: Vec::new(),
            is_unnamed: false,
            is_readable: false,
            is_ended: false,
        });
        let at = self.now.saturating_add(millis(limit));
        self.headers.refusals.push_back(Due { at, key, number });
    }

    /// Reads from the connections that have had an event.
    pub(super) fn read_headers(&mut self) {
        while self.is_ready
            && let Some(key) = self.headers.readable.pop_front()
        {
            let Some(waiting) = self.headers.waiting.get_mut(key) else { continue };
            waiting.is_readable = false;
            let was_unnamed = waiting.is_unnamed;
            let received = waiting.read(&mut self.input[..READ]);
            let Waiting { peer, number, is_unnamed, ref bytes, .. } = *waiting;
            match received {
                Received::Part if is_unnamed && self.headers.is_stopping => self.drop_waiting(key),
                Received::Part if is_unnamed && !was_unnamed => {
                    let at = self.now.saturating_add(UNNAMED_MS);
                    self.headers.starts.push_back(Due { at, key, number });
                }
                Received::Part => {}
                Received::End if bytes.is_empty() => {
                    log::debug!("{peer}: closed without a message, as a health check is");
                    self.drop_waiting(key);
                }
                Received::End => {
                    let quote = Quote::new(bytes);
                    self.refuse(
                        key,
                        format_args!("closed in the middle of its PROXY header"),
                        &quote,
                    );
                }
                Received::Header(origin, input) => self.start_proxied(key, origin, input),
                Received::Other(e, have) => {
                    let bytes = &self.input[..have];
                    let (quote, advice) = (Quote::new(bytes), advice(e, bytes));
                    self.refuse(key, format_args!("{e}{advice}"), &quote);
                }
            }
        }
    }

    /// Handles the timers that have expired.
    pub(super) fn expire_headers(&mut self) {
        while self.is_ready
            && let Some(key) = self.headers.pop_expired(self.now)
        {
            let Some(waiting) = self.headers.waiting.get(key) else { continue };
            if waiting.is_unnamed {
                self.start_proxied(key, ProxyOrigin::Unnamed, 0..0);
                continue;
            }
            let limit = self.limits.proxy_header.unwrap_or_default();
            let quote = Quote::new(&waiting.bytes);
            if waiting.bytes.is_empty() {
                self.refuse(
                    key,
                    format_args!("no PROXY header within {limit:?}: {NO_HEADER}"),
                    &quote,
                );
            } else {
                self.refuse(key, format_args!("incomplete PROXY header after {limit:?}"), &quote);
            }
        }
    }

    /// Starts the session of a connection whose header is complete.
    fn start_proxied(&mut self, key: usize, origin: ProxyOrigin, input: Range<usize>) {
        if self.control() != ServerControl::Serve || !self.count_client() {
            self.drop_waiting(key);
            return;
        }
        let Waiting { mut stream, peer, is_ended, .. } = self.headers.waiting.remove(key);
        let key = self.slots.vacant_key();
        if let Err(e) = self.system.reregister(&mut stream, key, false) {
            log::warn!("{peer}: cannot register the connection for events: {}", reason(&e));
            self.client_left();
            return;
        }
        let (client, local) = match origin {
            ProxyOrigin::Client { source, destination } => {
                log::debug!("{}: connected to {destination} through {peer}", unmapped(source));
                (unmapped(source), Some(unmapped(destination)))
            }
            ProxyOrigin::Other | ProxyOrigin::Unnamed => {
                log::debug!("{peer}: connected, without a client's address");
                (peer, None)
            }
        };
        // The machine's turn needs the buffer.
        let input = self.input[input].to_vec();
        self.start(stream, client, local);
        if let Some(slot) = self.slots.get_mut(key) {
            if is_ended {
                slot.pending_end = PendingEnd::End;
            }
            if !input.is_empty() {
                slot.store_input(&input, &mut self.buffers);
                self.buffered_bytes += self.buffers.bytes(slot.buffered);
                if let Some(observer) = &mut self.observer {
                    observer.moved(key, client, Direction::Received, &input);
                }
            }
        }
        // What arrives later gives an event.
        self.turn(key, if input.is_empty() { Wakeup::Opened } else { Wakeup::Event });
        if self.headers.is_stopping {
            self.turn(key, Wakeup::Stop);
        }
    }

    /// Closes a connection with a reset, and logs why.
    fn refuse(&mut self, key: usize, why: fmt::Arguments<'_>, quote: &Quote) {
        if let Some(waiting) = self.headers.waiting.get(key) {
            log::warn!("{}: refused, {why}{}", waiting.peer, quote.suffix());
            waiting.stream.set_reset_on_close(true);
            self.drop_waiting(key);
        }
    }

    fn drop_waiting(&mut self, key: usize) {
        self.headers.waiting.remove(key);
        self.client_left();
    }

    /// Closes the connections whose header names no client, when the server stops. Those whose header is under way may
    /// be of clients that the balancer has just accepted.
    pub(super) fn stop_headers(&mut self) {
        self.headers.is_stopping = true;
        self.drop_all_waiting(|waiting| waiting.is_unnamed);
    }

    /// Closes all connections that wait.
    pub(super) fn close_headers(&mut self) {
        self.drop_all_waiting(|_| true);
    }

    fn drop_all_waiting(&mut self, is_dropped: impl Fn(&Waiting<N::Stream>) -> bool) {
        let waiting = self.headers.waiting.iter();
        let keys: Vec<usize> =
            waiting.filter(|(_, waiting)| is_dropped(waiting)).map(|(key, _)| key).collect();
        for key in keys {
            self.drop_waiting(key);
        }
    }
}

/// Returns what is probably wrong if the first bytes are not a header.
fn advice(e: ProxyHeaderError, bytes: &[u8]) -> String {
    let is_http =
        [&b"GET "[..], b"HEAD ", b"OPTIONS "].iter().any(|method| bytes.starts_with(method));
    match e {
        ProxyHeaderError::Missing if is_http => {
            " but a request of HTTP: the balancer must use TCP, also for its health checks".into()
        }
        ProxyHeaderError::Missing if bytes.starts_with(&[0x16, 3]) => {
            " but TLS: the balancer must not encrypt the connection".into()
        }
        ProxyHeaderError::Missing => format!(": {NO_HEADER}"),
        _ => String::new(),
    }
}
