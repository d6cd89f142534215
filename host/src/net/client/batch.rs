//! Batches of inbound payload: the system reports a socket as readable only once many bytes have arrived.
//!
//! A sender on the same machine, or on a very fast network, wakes a receiver that has emptied the socket with the next
//! segment. Each wake costs more than moving the bytes of a segment. With the low-water mark of the socket
//! (`SO_RCVLOWAT`) there is one wake for [`MARK`] bytes.
//!
//! The mark delays bytes, so these rules limit it:
//!
//! - It is set only while more than [`REMAINING`] bytes of payload are expected, which includes the mark.
//! - It is set only if the payload arrives so fast that [`MARK`] bytes take a quarter of [`TICK`].
//! - A wait with the mark ends after [`TICK`] at the latest, and the caller reads what has arrived. Then the mark stays
//!   off until the payload arrives fast again.
//! - The end of the stream, a reset and a full receive buffer are reported at once in any case.
//!
//! Only Linux has a mark that works with a poll. It is not used with an observer, which records the time of each read.

use std::time::{Duration, Instant};

use socklab_core::machine::Machine;

use super::super::stack::borrow;
use super::Client;
use crate::sys::extra::net::set_low_water;

/// Low-water mark while it is set, in bytes: as many as one `splice` moves.
const MARK: usize = 1 << 20;

/// Smallest number of payload bytes that must be expected for the mark to be set.
const REMAINING: u64 = 4 * MARK as u64;

/// Number of received bytes over which the speed is measured.
const SAMPLE: u64 = 4 * MARK as u64;

/// Longest wait with the mark set, and longest time in which [`SAMPLE`] bytes must arrive.
const TICK: Duration = Duration::from_millis(10);

/// State of the low-water mark of a client's socket.
pub(super) struct Batch {
    /// The mark may be set: the system supports it and the client wants it.
    is_enabled: bool,
    /// The last sample has arrived fast, and no wait has reached [`TICK`] since.
    is_fast: bool,
    /// Number of bytes received at the start of the current sample, and the time of its start.
    sample: (u64, Instant),
    /// Longest time in which a sample must arrive.
    sample_time: Duration,
    /// The mark is set.
    is_set: bool,
}

impl Batch {
    pub(super) fn disabled() -> Self {
        let sample = (0, Instant::now());
        Self { is_enabled: false, is_fast: false, sample, sample_time: TICK, is_set: false }
    }

    /// Returns whether the mark should be set now. `received` is the number of bytes received so far, `remaining` the
    /// number of payload bytes that are expected.
    fn wants_mark(&mut self, received: u64, remaining: u64, now: Instant) -> bool {
        if received - self.sample.0 >= SAMPLE {
            self.is_fast = now - self.sample.1 <= self.sample_time;
            self.sample = (received, now);
        }
        self.is_fast && remaining >= REMAINING
    }

    /// Records that a wait with the mark has reached [`TICK`].
    const fn expire(&mut self, received: u64, now: Instant) {
        self.is_fast = false;
        self.sample = (received, now);
    }
}

impl<M: Machine> Client<M> {
    /// Allows the system to report inbound payload in batches while it arrives fast.
    pub(crate) const fn batch_payload(&mut self) {
        self.batch.is_enabled = true;
    }

    /// Sets or removes the low-water mark for the next wait. Returns the longest time to wait, if the mark is set.
    pub(super) fn update_mark(&mut self, now: Instant) -> Option<Duration> {
        let remaining = self.connection.inbound_remaining();
        let wanted = self.batch.is_enabled
            && !self.stack.has_observer()
            && self.batch.wants_mark(self.stack.received, remaining, now);
        self.set_mark(wanted);
        self.batch.is_set.then_some(TICK)
    }

    /// Removes the mark if a wait with it has reached [`TICK`] since `start`. The caller reads what has arrived.
    pub(super) fn expire_mark(&mut self, start: Instant) {
        let now = Instant::now();
        if self.batch.is_set && now - start >= TICK {
            self.batch.expire(self.stack.received, now);
            self.set_mark(false);
        }
    }

    /// Sets or removes the mark.
    pub(super) fn set_mark(&mut self, wanted: bool) {
        if wanted == self.batch.is_set {
            return;
        }
        let bytes = if wanted { MARK } else { 1 };
        match borrow(self.connection.socket()).map(|socket| set_low_water(&socket, bytes)) {
            Some(true) => self.batch.is_set = wanted,
            // The mark stays as it is. While it is set, each wait stays limited.
            _ => self.batch.is_enabled = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;

    use socket2::SockRef;
    use socklab_core::driver::Next;
    use socklab_core::file::client::{Client as Machine, Command, Error as Cause, Event};
    use socklab_core::file::{Form, Request};
    use socklab_core::machine::StreamEnd;

    use super::super::super::stack::{Direction, Observer};
    use super::super::Error;
    use super::*;
    use crate::sys::extra::net::Pipe;

    const CHECKED: Form = Form::Checked { offset: 0 };
    const LIMIT: Duration = Duration::from_secs(20);

    /// A client that has requested a file, and its peer, which has read the request.
    struct Pair {
        client: Client<Machine>,
        /// `None` if the client reads instead of splicing.
        pipe: Option<Pipe>,
        peer: TcpStream,
    }

    /// What the client received last.
    #[derive(Debug, PartialEq, Eq)]
    enum Got {
        Bytes,
        Crc(u32),
        Closed,
    }

    impl Pair {
        /// The payload always counts as fast, until a wait reaches the tick.
        fn new(form: Form, splices: bool, timeout: Duration) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let target = listener.local_addr().unwrap().into();
            let machine = Machine::new();
            let mut client = Client::dial(&target, machine, 256 << 10, Some(LIMIT)).unwrap();
            client = client.timeout(Some(timeout));
            client.batch_payload();
            client.batch.sample_time = Duration::MAX;
            client.batch.is_fast = true;
            client.command(Command::FetchLine(Request { name: b"f", form })).unwrap();
            assert!(client.try_next().unwrap().is_none());
            let (mut peer, _) = listener.accept().unwrap();
            let mut byte = [0];
            while byte != *b"\n" {
                peer.read_exact(&mut byte).unwrap();
            }
            Self { client, pipe: if splices { Pipe::new() } else { None }, peer }
        }

        /// Pairs that splice and pairs that read.
        fn both(form: Form, timeout: Duration) -> [Self; 2] {
            [true, false].map(|splices| Self::new(form, splices, timeout))
        }

        /// Sets the mark as the next wait would. Returns whether it is set.
        fn update(&mut self) -> bool {
            let tick = self.client.update_mark(Instant::now());
            assert_eq!(tick, self.client.batch.is_set.then_some(TICK));
            self.client.batch.is_set
        }

        /// Returns whether this system has the mark.
        fn is_supported() -> bool {
            set_low_water(&SockRef::from(&unconnected()), MARK)
        }

        /// Waits until the mark is off because the tick has been reached. An event may end a single wait earlier: that
        /// the socket is writable, for example.
        fn expire(&mut self) {
            let start = Instant::now();
            while self.client.batch.is_set {
                assert!(start.elapsed() < LIMIT);
                self.client.wait().unwrap();
            }
        }

        /// Receives until there are `bytes` bytes in all, or the stream ends.
        fn receive(&mut self, bytes: u64) -> Result<Got, Error<Cause>> {
            let start = Instant::now();
            while self.client.stack.received < bytes {
                assert!(start.elapsed() < LIMIT, "{} of {bytes}", self.client.stack.received);
                let spliced = self.pipe.as_ref().and_then(|pipe| self.client.splice(pipe));
                match (spliced, &self.pipe) {
                    (Some(n @ 1..), Some(pipe)) => {
                        let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
                        pipe.empty(&null.unwrap(), n, &mut 0).unwrap();
                        continue;
                    }
                    (Some(0), _) => {}
                    _ => match self.client.try_next()? {
                        Some(Next::Event(Event::Crc(crc))) => return Ok(Got::Crc(crc)),
                        Some(Next::Event(Event::Closed)) => return Ok(Got::Closed),
                        Some(_) => continue,
                        None => {}
                    },
                }
                self.client.wait()?;
            }
            Ok(Got::Bytes)
        }
    }

    #[test]
    fn one_byte_of_a_peer_that_stalls_is_received_and_the_timeout_follows() {
        let timeout = Duration::from_millis(300);
        for mut pair in Pair::both(Form::Plain, timeout) {
            assert_eq!(pair.update(), Pair::is_supported());
            let start = Instant::now();
            pair.peer.write_all(b"x").unwrap();
            pair.expire();
            assert_eq!(pair.receive(1).unwrap(), Got::Bytes);
            assert!(!pair.update());
            match pair.receive(2) {
                Err(Error::TimedOut(Cause::Truncated { how, got: 1, size: None }, after, _)) => {
                    assert_eq!((how, after), (StreamEnd::TimedOut, timeout));
                }
                other => panic!("{other:?}"),
            }
            let took = start.elapsed();
            assert!(took >= timeout && took < LIMIT, "{took:?}");
        }
    }

    #[test]
    fn a_silent_peer_times_out_although_the_mark_is_set() {
        for timeout in [1, 5, 300].map(Duration::from_millis) {
            for mut pair in Pair::both(Form::Plain, timeout) {
                let start = Instant::now();
                assert!(matches!(pair.receive(1), Err(Error::TimedOut(..))));
                let took = start.elapsed();
                assert!(took < LIMIT, "{took:?}");
            }
        }
    }

    #[test]
    fn a_peer_that_sends_slowly_is_read_without_the_mark() {
        for mut pair in Pair::both(Form::Plain, LIMIT) {
            pair.update();
            pair.peer.write_all(b"x").unwrap();
            pair.expire();
            for n in 1..=30 {
                assert_eq!(pair.receive(n).unwrap(), Got::Bytes);
                assert!(!pair.update(), "after {n} bytes");
                pair.peer.write_all(b"x").unwrap();
            }
        }
    }

    #[test]
    fn the_end_is_reported_although_fewer_bytes_have_arrived() {
        for mut pair in Pair::both(Form::Plain, LIMIT) {
            pair.update();
            pair.peer.write_all(&[7; 1000]).unwrap();
            drop(std::mem::replace(&mut pair.peer, unconnected()));
            assert_eq!(pair.receive(u64::MAX).unwrap(), Got::Closed);
            assert_eq!(pair.client.stack.received, 1000);
        }
    }

    #[test]
    #[cfg_attr(windows, ignore = "Wine: a reset can arrive as an orderly end")]
    fn a_reset_is_reported_although_fewer_bytes_have_arrived() {
        for mut pair in Pair::both(Form::Plain, LIMIT) {
            pair.update();
            pair.peer.write_all(&[7; 1000]).unwrap();
            SockRef::from(&pair.peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(std::mem::replace(&mut pair.peer, unconnected()));
            match pair.receive(u64::MAX) {
                Err(Error::Protocol(Cause::Truncated { how: StreamEnd::Reset, .. }, _)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns a connection that is not used.
    fn unconnected() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn the_mark_is_off_before_the_last_bytes_whatever_the_size() {
        /// Number of bytes that the peer holds back at first.
        const TAIL: u64 = 10;

        let sizes = [TAIL, MARK as u64, REMAINING - 1, REMAINING, REMAINING + 1, 3 * REMAINING + 7];
        for (size, splices) in sizes.into_iter().flat_map(|size| [(size, true), (size, false)]) {
            let mut pair = Pair::new(CHECKED, splices, LIMIT);
            let mut peer = pair.peer.try_clone().unwrap();
            let (first, body) = (9 + size - TAIL, usize::try_from(size - TAIL).unwrap());
            let writer = thread::spawn(move || {
                peer.write_all(&[&b"+"[..], &size.to_be_bytes(), &vec![7; body]].concat())
            });
            while pair.client.stack.received < first {
                // Under load a wait may have reached the tick: the mark must be off for its other reason.
                pair.client.batch.is_fast = true;
                let next = pair.client.stack.received + 1;
                assert_eq!(pair.receive(next).unwrap(), Got::Bytes);
                let remaining = 9 + size - pair.client.stack.received;
                pair.client.batch.is_fast = true;
                let is_set = pair.update();
                assert!(!is_set || remaining >= REMAINING, "{remaining} of {size} remain");
            }
            writer.join().unwrap().unwrap();
            pair.peer.write_all(&[7; TAIL as usize]).unwrap();
            pair.peer.write_all(&[1, 2, 3, 4]).unwrap();
            assert_eq!(pair.receive(u64::MAX).unwrap(), Got::Crc(0x0102_0304));
        }
    }

    #[test]
    fn a_receive_buffer_smaller_than_the_mark_does_not_stall() {
        for mut pair in Pair::both(Form::Plain, LIMIT) {
            let socket = borrow(pair.client.connection.socket()).unwrap();
            socket.set_recv_buffer_size(16 << 10).unwrap();
            let mut peer = pair.peer.try_clone().unwrap();
            let writer = thread::spawn(move || peer.write_all(&vec![7; 1 << 20]));
            while pair.client.stack.received < 1 << 20 {
                pair.client.batch.is_fast = true;
                let next = pair.client.stack.received + 1;
                assert_eq!(pair.receive(next).unwrap(), Got::Bytes);
            }
            writer.join().unwrap().unwrap();
        }
    }

    #[test]
    fn an_observer_or_the_close_removes_the_mark() {
        struct Nothing;
        impl Observer for Nothing {
            fn moved(&mut self, _: usize, _: SocketAddr, _: Direction, _: &[u8]) {}
        }

        let mut pair = Pair::new(Form::Plain, false, LIMIT);
        pair.update();
        pair.client = pair.client.observer(Some(Box::new(Nothing)));
        assert!(!pair.update());

        let mut pair = Pair::new(Form::Plain, false, LIMIT);
        pair.update();
        // Fewer bytes than the mark, and the end only after them.
        pair.peer.write_all(b"surplus").unwrap();
        drop(std::mem::replace(&mut pair.peer, unconnected()));
        assert_eq!(pair.client.close().bytes, 7);
    }

    #[test]
    fn only_a_fast_sample_sets_the_mark_and_a_tick_removes_it() {
        let start = Instant::now();
        let mut batch = Batch::disabled();
        batch.sample = (0, start);
        let after = |ms| start + Duration::from_millis(ms);
        assert!(!batch.wants_mark(SAMPLE - 1, u64::MAX, after(1)));
        assert!(batch.wants_mark(SAMPLE, u64::MAX, after(10)));
        assert!(batch.wants_mark(SAMPLE + 1, REMAINING, after(10)));
        assert!(!batch.wants_mark(SAMPLE + 2, REMAINING - 1, after(10)));
        assert!(!batch.wants_mark(2 * SAMPLE, u64::MAX, after(21)), "11 ms for a sample");
        assert!(batch.wants_mark(3 * SAMPLE, u64::MAX, after(22)));
        batch.expire(3 * SAMPLE + 1, after(40));
        assert!(!batch.wants_mark(4 * SAMPLE, u64::MAX, after(41)));
        assert!(batch.wants_mark(4 * SAMPLE + 1, u64::MAX, after(42)));
    }
}
