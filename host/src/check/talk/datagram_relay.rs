//! A relay of datagrams between a client and a server that are both under test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::failure::{Failure, Kind, seconds};
use super::super::setup::Inputs;
use super::limit::Handover;
use super::relay::{Exchange, of_side};
use super::{Outcome, STARTUP, Talk};
use crate::proxy::Flow;
use crate::ui::recording::Event;

/// Time without a datagram after which a conversation is over, if the client has ended.
const QUIET: Duration = Duration::from_millis(100);

/// What a relay does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(in crate::check) struct Passing {
    /// Time for which each datagram is kept.
    pub(in crate::check) delay: Duration,
    /// Number of times that each reply is passed on.
    pub(in crate::check) replies: usize,
    /// Whether the first message is lost.
    pub(in crate::check) loses_first: bool,
}

impl Default for Passing {
    fn default() -> Self {
        Self { delay: Duration::ZERO, replies: 1, loses_first: false }
    }
}

/// A datagram that has arrived and not left.
struct Kept {
    due: Instant,
    flow: Flow,
    /// Number of the client, from 0.
    client: usize,
    bytes: Vec<u8>,
}

impl Exchange {
    /// Returns the datagrams of a direction.
    pub(in crate::check) fn datagrams(&self, flow: Flow) -> Vec<&[u8]> {
        let mut rest = match flow {
            Flow::Up => self.up.as_slice(),
            Flow::Down => self.down.as_slice(),
        };
        let of_flow = self.order.iter().filter(|(of, _)| *of == flow);
        of_flow
            .filter_map(|(_, n)| {
                let (datagram, others) = rest.split_at_checked(*n)?;
                rest = others;
                Some(datagram)
            })
            .collect()
    }
}

impl Talk {
    /// Starts the server, and sends `probe` to it, a message of the protocol, until it replies. Then starts the client.
    ///
    /// The server is found before the client sends, because a client may not send a message again, or not for long. A
    /// server that counts its messages has one more, which the exchange does not contain.
    pub(in crate::check) fn meet_datagrams(
        &mut self,
        server_inputs: Inputs,
        probe: &[u8],
    ) -> Outcome {
        let setup = Arc::new(self.setup.server_of_pair());
        let mut partner =
            Box::new(Self::new(&setup, server_inputs, self.terminals.of_server(), None)?);
        let met = partner
            .post(probe)
            .and_then(|()| partner.expect("the reply to the tester's own message").map(|_| ()));
        self.partner = Some(partner);
        met.map_err(|failure| of_side(failure, "server"))?;
        self.open_server()?;
        self.start()
    }

    /// Passes datagrams on until the client has ended.
    pub(in crate::check) fn relay_datagrams(&mut self, passing: Passing) -> Outcome {
        let mut kept = VecDeque::new();
        let mut last = Instant::now();
        let mut handover = Handover::default();
        loop {
            let has_begun = !self.exchange.order.is_empty();
            let limit = if has_begun { self.setup.timeout } else { STARTUP };
            let left = limit.saturating_sub(last.elapsed());
            let moved = self.wait(left, |talk| {
                let moved = talk.take_datagrams(&mut kept, passing)?;
                let moved = talk.pass_datagrams(&mut kept)? || moved;
                let is_gone = handover.is_over(talk.program.as_mut());
                let is_quiet = handover.elapsed().is_some_and(|elapsed| elapsed >= QUIET);
                let is_over = kept.is_empty()
                    && last.elapsed() >= QUIET
                    && (is_gone || (has_begun && is_quiet));
                Ok((moved || is_over).then_some(!moved && is_over))
            })?;
            match moved {
                Some(true) => {
                    self.has_started |= !self.exchange.order.is_empty();
                    return Ok(());
                }
                Some(false) => last = Instant::now(),
                None if last.elapsed() >= limit => return Err(self.stuck(limit).into()),
                None => {}
            }
        }
    }

    fn stuck(&self, limit: Duration) -> Failure {
        let n = [Flow::Up, Flow::Down].map(|flow| self.exchange.datagrams(flow).len());
        let limit = seconds(limit);
        if n[0] == 0 {
            let addr = self.place.addr;
            let text = format!("no datagram of the client arrived at {addr} within {limit}");
            return Failure::new(Kind::NotConnected, text);
        }
        let text = format!(
            "both programs wait: nothing moved for {limit}, after {} datagrams of the client and {} of the server",
            n[0], n[1]
        );
        Failure::new(Kind::Silent, text)
    }

    /// Reads what both have sent. Returns whether anything has arrived.
    fn take_datagrams(&mut self, kept: &mut VecDeque<Kept>, passing: Passing) -> Outcome<bool> {
        let due = Instant::now() + passing.delay;
        let mut arrived = Vec::new();
        self.read_datagrams();
        while let Some(datagram) = self.mailbox()?.inbox.pop_front() {
            arrived.push((Flow::Up, self.number_of(datagram.from), datagram.bytes));
        }
        if let Some(partner) = &mut self.partner {
            partner.read_datagrams();
            // The first socket is that of the probe.
            for (client, mailbox) in partner.mailboxes.iter_mut().skip(1).enumerate() {
                arrived.extend(mailbox.inbox.drain(..).map(|d| (Flow::Down, client, d.bytes)));
            }
        }
        let has_arrived = !arrived.is_empty();
        for (flow, client, bytes) in arrived {
            let is_first = self.exchange.order.is_empty();
            self.exchange.order.push((flow, bytes.len()));
            let count = match flow {
                Flow::Up => {
                    self.exchange.up.extend_from_slice(&bytes);
                    usize::from(!(is_first && passing.loses_first))
                }
                Flow::Down => {
                    self.exchange.down.extend_from_slice(&bytes);
                    passing.replies
                }
            };
            if count == 0 {
                self.recording.record(client as u64 + 1, &Event::Fault(flow, "lost"));
            }
            for _ in 0..count {
                kept.push_back(Kept { due, flow, client, bytes: bytes.clone() });
            }
        }
        Ok(has_arrived)
    }

    /// Sends what is due. Returns whether anything has left.
    fn pass_datagrams(&mut self, kept: &mut VecDeque<Kept>) -> Outcome<bool> {
        let mut has_left = false;
        while kept.front().is_some_and(|kept| kept.due <= Instant::now()) {
            let Some(Kept { flow, client, bytes, .. }) = kept.pop_front() else { break };
            has_left = true;
            self.current = client;
            self.record_datagram(client, flow, &bytes);
            match flow {
                Flow::Up => {
                    let Some(partner) = &mut self.partner else { continue };
                    while partner.mailboxes.len() <= client + 1 {
                        partner.open()?;
                    }
                    partner.use_connection(client + 1);
                    partner.post(&bytes).map_err(|failure| of_side(failure, "server"))?;
                }
                Flow::Down => {
                    let Some(to) = self.clients.get(client).copied() else { continue };
                    // The client may have left.
                    let _ = self.mailbox()?.send(to, &bytes);
                }
            }
        }
        Ok(has_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datagrams_of_an_exchange_stay_apart() {
        let exchange = Exchange {
            up: b"onetwo".to_vec(),
            down: b"reply".to_vec(),
            order: vec![(Flow::Up, 3), (Flow::Down, 0), (Flow::Up, 3), (Flow::Down, 5)],
        };
        assert_eq!(exchange.datagrams(Flow::Up), [b"one", b"two"]);
        assert_eq!(exchange.datagrams(Flow::Down), [&b""[..], b"reply"]);
    }
}
