//! Reads and writes of a connection.

use std::io::{self, ErrorKind};

use socklab_core::machine::{Machine, StreamEnd};

use super::{Buffers, Context, Flag, PendingEnd, Phase, Slot, timestamp};
use crate::net::engine::Service;
use crate::net::peer::Peers;
use crate::net::stack::{Direction, Observer};
use crate::net::system::{Stream, System};
use crate::sys::net as system;

/// Result of a read.
pub(super) struct Unread {
    /// Number of unconsumed bytes, including those buffered before.
    pub(super) have: usize,
    /// Number of bytes read now.
    pub(super) fresh: usize,
    /// Whether the socket has no more bytes to read.
    pub(super) drained: bool,
}

impl Unread {
    pub(super) const NOTHING: Self = Self { have: 0, fresh: 0, drained: true };
}

impl<K: Stream, M: Machine, T> Slot<K, M, T> {
    /// Copies the buffered input to the scratch buffer, and reads once after it.
    pub(super) fn read_input<S, N>(&mut self, context: &mut Context<'_, S, N>) -> Unread
    where
        S: Service,
        N: System<Stream = K>,
    {
        let mut have = 0;
        if let Some(buffered) = context.buffers.get(self.buffered) {
            have = buffered.input.len();
            context.input[..have].copy_from_slice(&buffered.input);
        }
        let room = (context.input.len() - have).min(context.read_max);
        if self.end.is_some() || room == 0 {
            return Unread { have, fresh: 0, drained: self.end.is_some() };
        }
        let Some(n) = self.read(context, have) else {
            return Unread { have, fresh: 0, drained: true };
        };
        if n > 0 {
            self.last_progress = timestamp(context.now);
            if self.phase == Phase::IdleTimer {
                self.phase = Phase::Open;
            }
        }
        // A short read has emptied the socket, except for an end that is still to be read. This saves a read
        // that would return `WouldBlock`, which some systems need for the next event.
        let is_short = N::EDGE_TRIGGERED && n < room;
        let drained = self.end.is_some() || (is_short && self.pending_end == PendingEnd::Unknown);
        Unread { have: have + n, fresh: n, drained }
    }

    /// Reads once, to the scratch buffer from `at`. Returns `None` if there is nothing to read now. At the end of the
    /// stream, sets `end` and returns 0.
    pub(super) fn read<S: Service, N>(
        &mut self,
        context: &mut Context<'_, S, N>,
        at: usize,
    ) -> Option<usize> {
        let end = context.input.len().min(at.saturating_add(context.read_max));
        let buffer = &mut context.input[at..end];
        let n = loop {
            match self.stream.read(buffer) {
                Ok(0) if self.pending_end == PendingEnd::Reset => self.end = Some(StreamEnd::Reset),
                Ok(0) => self.end = Some(StreamEnd::Closed),
                Ok(n) => break n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => self.end = Some(StreamEnd::Reset),
            }
            break 0;
        };
        // A reset is reported with the end of the connection.
        if let Some(observer) = context.observer
            && self.end != Some(StreamEnd::Reset)
        {
            let peer = context.peers.get(&self.peer);
            observer.moved(context.key, peer, Direction::Received, &buffer[..n]);
        }
        Some(n)
    }

    /// Sends the buffered output. Returns whether all of it has been sent.
    pub(super) fn send_buffered<S: Service, N>(&mut self, context: &mut Context<'_, S, N>) -> bool {
        let Some(mut buffered) = context.buffers.take(&mut self.buffered) else { return true };
        let waiting = &buffered.output[buffered.sent..];
        buffered.sent +=
            self.send(waiting, context.now, context.observer, context.key, context.peers);
        let all = buffered.sent == buffered.output.len();
        if all {
            buffered.output.clear();
            buffered.sent = 0;
        }
        context.buffers.put(&mut self.buffered, buffered);
        self.release_buffers(context.buffers);
        all
    }

    /// Sends what the machine has just written, and buffers what the socket does not accept. Returns whether
    /// all of it has been sent.
    pub(super) fn send_new<S: Service, N>(
        &mut self,
        written: usize,
        context: &mut Context<'_, S, N>,
    ) -> bool {
        let fresh = &context.output[..written];
        let n = self.send(fresh, context.now, context.observer, context.key, context.peers);
        if n < written {
            let buffered = context.buffers.get_or_insert_default(&mut self.buffered);
            buffered.output.extend_from_slice(&fresh[n..]);
        }
        n == written
    }

    /// Sends bytes. Returns the number that the socket has accepted. When the peer has closed its receiving side
    /// or reset the connection, all of them count as accepted: the next reads return how the stream ended. So they do
    /// after a time-out that has discarded output.
    fn send(
        &mut self,
        bytes: &[u8],
        now: u64,
        observer: &mut Option<Box<dyn Observer>>,
        key: usize,
        peers: &Peers,
    ) -> usize {
        if self.end == Some(StreamEnd::TimedOut) && self.pending_end >= PendingEnd::WriteClosed {
            return bytes.len();
        }
        let mut sent = 0;
        self.flags.set(Flag::Full, false);
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(n) if n > 0 => {
                    self.last_progress = timestamp(now);
                    if let Some(observer) = observer {
                        let bytes = &bytes[sent..sent + n];
                        observer.moved(key, peers.get(&self.peer), Direction::Sent, bytes);
                    }
                    sent += n;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.flags.set(Flag::Full, true);
                    return sent;
                }
                // The peer has closed in order or by a reset. Only a read shows which.
                Err(e) if system::error_kind(&e) == ErrorKind::BrokenPipe => {
                    self.pending_end = self.pending_end.max(PendingEnd::WriteClosed);
                    return bytes.len();
                }
                Err(_) => {
                    self.pending_end = PendingEnd::Reset;
                    return bytes.len();
                }
                Ok(_) => return bytes.len(),
            }
        }
        sent
    }

    /// Registers the socket for writing when it refuses bytes. Where events are not edge-triggered, it is registered for
    /// reading only when it accepts bytes again.
    pub(in crate::net::engine) fn update_interest<N: System<Stream = K>>(
        &mut self,
        key: usize,
        system: &mut N,
    ) -> io::Result<()> {
        let is_full = self.flags.has(Flag::Full);
        let remains = N::EDGE_TRIGGERED && !is_full;
        if remains || self.flags.set(Flag::AwaitsWrite, is_full) == is_full {
            return Ok(());
        }
        system.reregister(&mut self.stream, key, is_full)
    }

    /// Stores the unconsumed input until the next turn.
    pub(in crate::net::engine) fn store_input(&mut self, rest: &[u8], buffers: &mut Buffers) {
        if self.buffered.is_none() && rest.is_empty() {
            return;
        }
        let buffered = buffers.get_or_insert_default(&mut self.buffered);
        buffered.input.clear();
        buffered.input.extend_from_slice(rest);
    }

    /// Frees the buffers if they are empty.
    pub(super) fn release_buffers(&mut self, buffers: &mut Buffers) {
        let buffered = buffers.get(self.buffered);
        if buffered.is_some_and(|it| it.input.is_empty() && it.output.is_empty()) {
            buffers.take(&mut self.buffered);
        }
    }
}
