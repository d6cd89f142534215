//! A relay between a client and a server that are both under test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use socklab_core::machine::StreamEnd;

use super::super::failure::{Failure, Kind, seconds};
use super::super::program::{Program, Terminals};
use super::super::setup::Inputs;
use super::{Outcome, Talk};
use crate::faults::{Faults, Schedule, Step};
use crate::proxy::{Flow, Side};
use crate::sys::extra::net::SocketQueues;
use crate::ui::recording::Event;

/// What a client and a server have sent to each other.
#[derive(Debug, Default)]
pub(in crate::check) struct Exchange {
    /// What the client has sent.
    pub(in crate::check) up: Vec<u8>,
    /// What the server has sent.
    pub(in crate::check) down: Vec<u8>,
    /// Direction and number of bytes of each read, in order.
    pub(in crate::check) order: Vec<(Flow, usize)>,
}

/// A direction of the relay.
struct Lane {
    flow: Flow,
    schedule: Schedule,
    /// Bytes that have not left.
    kept: VecDeque<u8>,
    /// Whether the last write left bytes behind that had arrived.
    is_cut: bool,
    /// Whether the receiver has been given the end.
    is_over: bool,
}

impl Talk {
    /// Starts the server, connects to it, then starts the client and accepts its connection.
    pub(in crate::check) fn meet(&mut self, server_inputs: Inputs) -> Outcome {
        let setup = Arc::new(self.setup.server_of_pair());
        let mut partner =
            Box::new(Self::new(&setup, server_inputs, self.terminals.of_server(), None)?);
        let met = partner.connect();
        self.partner = Some(partner);
        met.map_err(|failure| of_side(failure, "server"))?;
        self.accept().map_err(|failure| of_side(failure, "client"))
    }

    /// Passes bytes on, with faults in both directions, until both have ended or nothing moves any more.
    pub(in crate::check) fn relay(&mut self, up: Faults, down: Faults) -> Outcome {
        let start = Instant::now();
        let seed = self.setup.seed;
        let lane = |flow, faults| Lane {
            flow,
            schedule: Schedule::new(faults, seed),
            kept: VecDeque::new(),
            is_cut: false,
            is_over: false,
        };
        let mut lanes = [lane(Flow::Up, up), lane(Flow::Down, down)];
        let mut last = Instant::now();
        let limit = self.setup.timeout;
        loop {
            let left = limit.saturating_sub(last.elapsed());
            let moved = self.wait(left, |talk| {
                let mut moved = false;
                for lane in &mut lanes {
                    moved |= talk.pass(lane, start)?;
                }
                let is_over = lanes.iter().all(|lane| lane.is_over);
                Ok((moved || is_over).then_some(is_over))
            })?;
            match moved {
                Some(true) => return Ok(()),
                Some(false) => last = Instant::now(),
                None if last.elapsed() >= limit => {
                    let n = [self.exchange.up.len(), self.exchange.down.len()];
                    let text = format!(
                        "both programs wait: nothing moved for {}, after {} bytes of the client and {} of the server",
                        seconds(limit),
                        n[0],
                        n[1]
                    );
                    return Err(Failure::new(Kind::Silent, text).into());
                }
                None => {}
            }
        }
    }

    /// Reads and writes what is possible in a direction. Returns whether something moved.
    fn pass(&mut self, lane: &mut Lane, start: Instant) -> Outcome<bool> {
        let Some(mut partner) = self.partner.take() else { return Ok(false) };
        let moved = match lane.flow {
            Flow::Up => self.pass_from_to(lane, start, None, Some(&mut partner)),
            Flow::Down => self.pass_from_to(lane, start, Some(&mut partner), None),
        };
        self.partner = Some(partner);
        moved
    }

    fn pass_from_to(
        &mut self,
        lane: &mut Lane,
        start: Instant,
        mut from: Option<&mut Self>,
        mut to: Option<&mut Self>,
    ) -> Outcome<bool> {
        if lane.is_over {
            return Ok(false);
        }
        let mut moved = false;
        let now = start.elapsed();
        let source = match &mut from {
            Some(server) => server.connection()?,
            None => self.connection()?,
        };
        // What the receiver does not take yet is not read: nothing grows.
        if lane.schedule.has_room() && lane.kept.len() < 1 << 20 {
            let (mut bytes, has_ended) = source.read();
            source.unread.clear();
            let end = source.end;
            if !bytes.is_empty() {
                moved = true;
                match lane.flow {
                    Flow::Up => self.exchange.up.extend_from_slice(&bytes),
                    Flow::Down => self.exchange.down.extend_from_slice(&bytes),
                }
                self.exchange.order.push((lane.flow, bytes.len()));
                lane.schedule.arrive(now, &mut bytes);
                lane.kept.extend(bytes);
            }
            if let (true, Some(end)) = (has_ended, end) {
                moved = true;
                lane.schedule.end(now, end);
            }
        }
        match lane.schedule.next(now) {
            Step::Write(n) => {
                let bytes: Vec<u8> = lane.kept.iter().take(n).copied().collect();
                let target = match &mut to {
                    Some(server) => server.connection()?,
                    None => self.connection()?,
                };
                // A receiver that has left takes everything, so that the sender can end.
                let written = target.write(&bytes).unwrap_or(bytes.len());
                if written == 0 {
                    return Ok(moved);
                }
                let was_cut = lane.is_cut;
                lane.is_cut = written < lane.kept.len();
                if lane.is_cut {
                    target.wait_until_read(&mut SocketQueues::new(), &mut thread::sleep);
                }
                self.stalls.written(was_cut);
                lane.schedule.left(start.elapsed(), written);
                lane.kept.drain(..written);
                let bytes = bytes.get(..written).unwrap_or_default();
                self.record(&Event::Moved(lane.flow, bytes));
                moved = true;
            }
            Step::End(end) => {
                let target = match &mut to {
                    Some(server) => server.connection()?,
                    None => self.connection()?,
                };
                match end {
                    StreamEnd::Closed => target.half_close(),
                    _ => target.reset(),
                }
                lane.is_over = true;
                let event = match (end, lane.flow) {
                    (StreamEnd::Closed, flow) => Event::Closed(flow),
                    (_, Flow::Up) => Event::Reset(Side::Client),
                    (_, Flow::Down) => Event::Reset(Side::Server),
                };
                self.record(&event);
                moved = true;
            }
            Step::Wait(_) | Step::Idle | Step::Fault(_) => {}
        }
        Ok(moved)
    }

    /// Returns the server of a pair.
    pub(in crate::check) fn server(&mut self) -> Option<&mut Program> {
        self.partner.as_mut()?.program.as_mut()
    }

    /// Calls `look` for the server of a pair. A failure names the server.
    pub(in crate::check) fn with_server(
        &mut self,
        look: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let Some(mut partner) = self.partner.take() else { return Ok(()) };
        let outcome = look(&mut partner).map_err(|mut failure| {
            failure.silent = Terminals { program: false, server: failure.silent.program };
            of_side(failure, "server")
        });
        self.partner = Some(partner);
        outcome
    }
}

/// Names the side that a failure belongs to.
pub(in crate::check) fn of_side(mut failure: Box<Failure>, side: &str) -> Box<Failure> {
    failure.message = failure.message.replace("the program", &format!("the {side}"));
    failure
}
