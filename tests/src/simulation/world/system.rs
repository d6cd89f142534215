//! What the engine calls: sockets, readiness, time.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::super::clients::{Behaviour, Protocol};
use super::{
    Accepted, Action, Connection, MS, Probes, READS, ROUNDED, Reported, S, World, addr, balancer,
};

impl World {
    /// Reports readiness of a connection, if the engine is to be notified of it. `writable`: the system accepts bytes
    /// again. Otherwise something has arrived.
    pub(in crate::simulation) fn edge(&mut self, id: usize, writable: bool) {
        let edge = self.plan.edge;
        let Some(connection) = self.get(id) else { return };
        if edge {
            if !writable || connection.for_writing {
                self.queue(id);
            }
        } else if connection.is_armed && connection.is_ready(edge) {
            connection.is_armed = false;
            self.queue(id);
        }
    }

    pub(in crate::simulation) fn queue(&mut self, id: usize) {
        if let Some(connection) = self.get(id)
            && connection.is_open
            && connection.key.is_some()
            && !std::mem::replace(&mut connection.is_queued, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Makes the next readiness an event, after a call that was refused.
    pub(in crate::simulation) fn arm(&mut self, id: usize) {
        if !self.plan.edge {
            if let Some(connection) = self.get(id) {
                connection.is_armed = true;
            }
            self.edge(id, false);
        }
    }

    /// Registers a connection. Returns `false` if the system has no memory.
    pub(in crate::simulation) fn register(
        &mut self,
        id: usize,
        key: usize,
        for_writing: bool,
    ) -> bool {
        let is_new = self.get(id).is_some_and(|connection| connection.key.is_none());
        if is_new && self.rng.percent(self.plan.faults) && self.rng.percent(2) {
            self.summary.unregistered += 1;
            return false;
        }
        if let Some(connection) = self.get(id) {
            connection.key = Some(key);
            connection.for_writing = for_writing;
            connection.has_session |= connection.client.header == 0;
            connection.may_have_session |= connection.has_session;
        }
        self.note(Some(id), || format!("registered with key {key}, for writing: {for_writing}"));
        self.arm(id);
        // A registration reports what is the case already.
        if self.plan.edge && self.get(id).is_some_and(|connection| connection.is_ready(true)) {
            self.queue(id);
        }
        if is_new {
            self.summary.opened += 1;
        }
        true
    }

    pub(in crate::simulation) fn read(
        &mut self,
        id: usize,
        to: &mut [u8],
    ) -> Result<usize, ErrorKind> {
        self.breathe();
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            return Err(ErrorKind::Interrupted);
        }
        let refuses = self.rng.percent(self.plan.faults) && self.rng.percent(20);
        let (now, edge, random) = (self.now, self.plan.edge, self.rng.bits());
        let cut = !edge && self.rng.percent(30);
        let opens = self.listens || self.plan.protocol != Protocol::Hello;
        let (round, round_start) = (self.waits, self.round);
        let Some(connection) = self.get(id) else { return Ok(0) };
        if !connection.received.is_empty() {
            if refuses {
                self.schedule(50, Action::Edge(id));
                self.arm(id);
                return Err(ErrorKind::WouldBlock);
            }
            // Where events are edges, only an empty buffer makes a read short.
            let mut n = to.len().min(connection.received.len());
            if cut && n > 1 {
                n = 1 + (random % n as u64) as usize;
            }
            for (to, byte) in to.iter_mut().zip(connection.received.drain(..n)) {
                *to = byte;
            }
            // Bytes that it reads only to discard them do not count as progress.
            if !connection.sending_closed {
                connection.moved(now, round_start);
            }
            let waited = connection.waited(now, connection.unread_since);
            connection.read += n;
            connection.read_at = round_start;
            connection.unread_since = now;
            // A header is read to its end at once.
            let is_header = connection.read <= connection.client.header;
            let is_again = connection.reads.0 == round && !is_header;
            let reads = if is_again { connection.reads.1 + 1 } else { 1 };
            connection.reads = (round, reads);
            let has_header =
                connection.client.has_header && connection.read >= connection.client.header;
            connection.may_have_session |= has_header;
            // A server of greetings that has had its last client opens no session.
            connection.has_session |= has_header && opens;
            let unblocked = std::mem::take(&mut connection.is_blocked)
                && !std::mem::replace(&mut connection.is_send_scheduled, true);
            let latency = connection.latency;
            if unblocked {
                self.schedule(latency, Action::ClientSends(id));
            }
            self.note(Some(id), || format!("the server reads {n} bytes"));
            if let Some(waited) = waited {
                self.fail(Some(id), format_args!("input was not read for {waited} us"));
            }
            if reads > READS {
                self.fail(Some(id), "the connection has turn after turn in one round");
            }
            return Ok(n);
        }
        if let Some(at) = connection.ended_at
            && connection.has_read_end.is_none()
        {
            connection.has_read_end = Some(now);
            if let Some(waited) = connection.waited(now, at) {
                self.fail(Some(id), format_args!("the client's end was not read for {waited} us"));
            }
        }
        let Some(connection) = self.get(id) else { return Ok(0) };
        if let Some(kind) = connection.error.take() {
            connection.has_seen_reset |= kind == ErrorKind::ConnectionReset;
            self.note(Some(id), || format!("a read of the server returns {kind}"));
            return Err(kind);
        }
        if connection.has_end || connection.has_failed {
            self.note(Some(id), || "the server reads the end".into());
            return Ok(0);
        }
        self.arm(id);
        Err(ErrorKind::WouldBlock)
    }

    pub(in crate::simulation) fn peek(&mut self, id: usize) -> Result<usize, ErrorKind> {
        let Some(connection) = self.get(id) else { return Ok(0) };
        if !connection.received.is_empty() {
            return Ok(1);
        }
        if let Some(kind) = connection.error.take() {
            return Err(kind);
        }
        let has_ended = connection.has_end || connection.has_failed;
        if has_ended { Ok(0) } else { Err(ErrorKind::WouldBlock) }
    }

    pub(in crate::simulation) fn write(
        &mut self,
        id: usize,
        bytes: &[u8],
    ) -> Result<usize, ErrorKind> {
        self.breathe();
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            return Err(ErrorKind::Interrupted);
        }
        let refuses = self.rng.percent(self.plan.faults) && self.rng.percent(20);
        let (now, random) = (self.now, self.rng.bits());
        let cut = self.rng.percent(30);
        self.check_boundary(id, bytes.len());
        self.check_mark(id, bytes.len());
        let round = self.round;
        let Some(connection) = self.get(id) else { return Ok(0) };
        if let Some(kind) = connection.error.take() {
            connection.has_seen_reset |= kind == ErrorKind::ConnectionReset;
            self.note(Some(id), || format!("a write of the server returns {kind}"));
            return Err(kind);
        }
        if connection.has_failed || connection.sending_closed {
            return Err(ErrorKind::BrokenPipe);
        }
        let free = connection.buffer - connection.unacknowledged;
        if free == 0 || refuses {
            connection.is_full = true;
            if free > 0 {
                self.schedule(50, Action::Edge(id));
            }
            self.note(Some(id), || "the server's system takes no bytes".into());
            self.arm(id);
            return Err(ErrorKind::WouldBlock);
        }
        let mut n = bytes.len().min(free);
        if cut && n > 1 {
            n = 1 + (random % n as u64) as usize;
        }
        connection.outgoing.extend(bytes.iter().take(n));
        connection.unacknowledged += n;
        connection.written += n;
        connection.sent(now, round);
        let latency = connection.latency;
        self.note(Some(id), || format!("the server writes {n} of {} bytes", bytes.len()));
        self.down(id, latency);
        Ok(n)
    }

    /// Checks a write against the next message boundary.
    pub(in crate::simulation) fn check_boundary(&mut self, id: usize, n: usize) {
        let pace = self.plan.limits.pace.as_micros() as u64;
        let (round, reports) = (self.round, self.plan.reports);
        let Some(connection) = self.get(id) else { return };
        let written = connection.written;
        // A write that the system took in part comes a second time, without a boundary in front.
        while connection.client.boundaries.front().is_some_and(|at| *at < written) {
            connection.client.boundaries.pop_front();
        }
        let Some(&boundary) = connection.client.boundaries.front() else { return };
        let is_exempt = connection.client.behaviour != Behaviour::Correct
            || connection.has_jumped
            || connection.has_failed
            || connection.has_end
            || pace == 0
            || n == 0;
        let is_read = connection.unacknowledged == 0 && connection.queue.is_empty();
        let paused = round - connection.wrote.min(round);
        if is_exempt {
            return;
        }
        if written < boundary && boundary < written + n {
            self.fail(Some(id), "a write crosses a message boundary");
        } else if written == boundary && written > 0 {
            if paused + ROUNDED < pace {
                self.fail(
                    Some(id),
                    format_args!("a message was sent {paused} us after the one before"),
                );
            } else if reports && !is_read && !connection_is_closed(self.get(id)) {
                self.fail(Some(id), "a message was sent before the one before it was read");
            }
        }
    }

    /// Checks the time of a byte that the server sends after a time.
    fn check_mark(&mut self, id: usize, n: usize) {
        let round = self.round;
        let Some(connection) = self.get(id).filter(|_| n > 0) else { return };
        let Some(mark) = connection.client.take_mark(connection.written) else { return };
        let Some(ms) = mark.quiet_ms else {
            connection.woken_at = round;
            return;
        };
        // Its stream has ended, or it has sent another operation.
        if connection.has_end
            || connection.has_failed
            || matches!(connection.client.behaviour, Behaviour::Errs(_))
        {
            return;
        }
        let silence = round - connection.read_at.max(connection.wrote);
        let limit = u64::from(ms) * MS;
        let is_late = silence > limit + S && mark.is_prompt && !connection.has_jumped;
        // The engine counts milliseconds.
        if silence + MS <= limit {
            let text = format_args!("a silence of {limit} us has ended after {silence} us");
            self.fail(Some(id), text);
        } else if is_late {
            let text = format_args!("a silence of {limit} us has ended only after {silence} us");
            self.fail(Some(id), text);
        }
    }

    pub(in crate::simulation) fn close_sending(&mut self, id: usize) -> Result<(), ErrorKind> {
        self.breathe();
        let now = self.now;
        let Some(connection) = self.get(id) else { return Ok(()) };
        if connection.has_failed {
            return Err(ErrorKind::NotConnected);
        }
        connection.sending_closed = true;
        connection.is_end_unacknowledged = true;
        connection.closed_sending_at = Some(now);
        let latency = connection.latency;
        self.note(Some(id), || "the server closes its sending side".into());
        self.down(id, latency);
        Ok(())
    }

    pub(in crate::simulation) fn set_reset_on_close(&mut self, id: usize, resets: bool) {
        if let Some(connection) = self.get(id) {
            connection.resets_on_close = resets;
        }
    }

    pub(in crate::simulation) fn resets_on_close(&mut self, id: usize) -> bool {
        self.get(id).is_some_and(|connection| connection.resets_on_close)
    }

    pub(in crate::simulation) fn take_error(&mut self, id: usize) -> Option<ErrorKind> {
        self.get(id)?.error.take()
    }

    /// Closes the server's socket.
    pub(in crate::simulation) fn close(&mut self, id: usize) {
        let is_stopped = self.stops > 0;
        // What the engine has reported before it closes.
        self.take_endings();
        self.check_close(id);
        let Some(connection) = self.get(id) else { return };
        connection.is_open = false;
        connection.key = None;
        connection.is_cut |= is_stopped;
        let resets = connection.resets_on_close || !connection.received.is_empty();
        let (latency, has_failed) = (connection.latency, connection.has_failed);
        self.open -= 1;
        self.note(Some(id), || format!("the server closes, with a reset: {resets}"));
        if has_failed {
            return;
        }
        if resets {
            if let Some(connection) = self.get(id) {
                connection.outgoing.clear();
                connection.has_failed = true;
            }
            self.schedule(latency, Action::DownReset(id));
        } else {
            if let Some(connection) = self.get(id) {
                connection.sending_closed = true;
            }
            self.down(id, latency);
        }
    }

    pub(in crate::simulation) fn has_read_all(&mut self, id: usize) -> bool {
        let reports = self.plan.reports;
        self.get(id).is_none_or(|connection| {
            !reports
                || connection.has_failed
                || (connection.unacknowledged == 0
                    && (connection.queue.is_empty() || connection.is_closed))
        })
    }

    /// Returns the number of bytes that are not acknowledged, and of those that are not read.
    pub(in crate::simulation) fn outstanding(&mut self, id: usize) -> Option<(u32, u32)> {
        let reports = self.plan.reports;
        let connection = self.get(id).filter(|_| reports)?;
        let end = connection.is_end_unacknowledged;
        let is_over = connection.sending_closed
            && connection.has_end
            && !end
            && connection.unacknowledged == 0;
        if connection.has_failed || is_over {
            return None;
        }
        let unread = if connection.is_closed { 0 } else { connection.queue.len() };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some((count(connection.unacknowledged) + u32::from(end), count(unread)))
    }

    /// Returns the sum of [`outstanding`](Self::outstanding), with which the engine decides whether a client is idle.
    pub(in crate::simulation) fn probe(&mut self, id: usize) -> Option<u32> {
        let outstanding =
            self.outstanding(id).map(|(unacknowledged, unread)| unacknowledged + unread);
        let round = self.round;
        if let Some(connection) = self.get(id) {
            let Probes { count, round: last, .. } = connection.probes;
            let is_first = count == 0 || last != round;
            let count = count + u32::from(is_first);
            connection.probes = Probes { count, round, outstanding: outstanding.unwrap_or(0) };
        }
        outstanding
    }

    pub(in crate::simulation) fn accept(&mut self) -> Accepted {
        self.breathe();
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            if self.rng.percent(50) {
                return Accepted::Gone;
            }
            self.starved_until = self.now + self.rng.below(400_000) as u64;
        }
        if self.backlog.is_empty() {
            self.is_listener_armed = true;
            return Accepted::None;
        }
        if self.now < self.starved_until || self.open >= self.plan.descriptors {
            let id = self.backlog.front().copied();
            self.note(id, || "no descriptor for an accept".into());
            return Accepted::Starved;
        }
        let Some(id) = self.backlog.pop_front() else { return Accepted::None };
        let (aborts, now) = (self.rng.percent(50), self.now);
        let Some(connection) = self.get(id) else { return Accepted::Gone };
        if connection.has_failed && aborts {
            self.note(Some(id), || "gone before it was accepted".into());
            return Accepted::Gone;
        }
        connection.is_open = true;
        connection.was_accepted = true;
        connection.accepted_at = now;
        connection.active = now;
        self.open += 1;
        if self.open > self.plan.limits.clients {
            let (open, limit) = (self.open, self.plan.limits.clients);
            self.fail(Some(id), format_args!("{open} clients, more than the limit of {limit}"));
        }
        self.note(Some(id), || "accepted".into());
        let has_balancer = self.plan.limits.proxy_header.is_some();
        Accepted::Client(id, if has_balancer { balancer(id) } else { addr(id) })
    }

    pub(in crate::simulation) fn has_client(&self) -> bool {
        !self.backlog.is_empty()
    }

    pub(in crate::simulation) fn rearm_listener(&mut self) -> bool {
        if self.plan.edge {
            return false;
        }
        self.is_listener_armed = true;
        if !self.backlog.is_empty() && std::mem::take(&mut self.is_listener_armed) {
            self.has_listener_event = true;
        }
        true
    }

    pub(in crate::simulation) fn has_room(&self) -> bool {
        self.open < self.plan.limits.clients.min(self.plan.descriptors)
            && self.now >= self.starved_until
    }

    pub(in crate::simulation) fn close_listener(&mut self) {
        self.listens = false;
        self.note(None, || "the listener closes".into());
        if self.has_room()
            && self.plan.protocol != Protocol::Hello
            && self.violation.is_none()
            && let Some(&id) = self.backlog.front()
        {
            self.fail(Some(id), "a client in the backlog was not accepted before the stop");
        }
        while let Some(id) = self.backlog.pop_front() {
            self.schedule(1, Action::DownReset(id));
        }
    }

    /// Returns the current time, at the start of a round.
    pub(in crate::simulation) fn now(&mut self) -> u64 {
        self.round = self.now;
        self.now
    }

    pub(in crate::simulation) fn set_tick(&mut self, on: bool) -> bool {
        if !self.plan.edge {
            return !on;
        }
        if on != self.tick.is_some() {
            self.tick = on.then(|| self.now + S);
        }
        true
    }

    /// Waits for events. `Err` ends the engine, or is an interruption.
    pub(in crate::simulation) fn wait(
        &mut self,
        timeout: Option<u64>,
    ) -> Result<Vec<Reported>, ErrorKind> {
        self.audit(timeout);
        if self.violation.is_some() {
            return Err(ErrorKind::Other);
        }
        if self.rng.percent(self.plan.faults) && self.rng.percent(10) {
            return Err(ErrorKind::Interrupted);
        }
        if self.rng.percent(self.plan.faults) && self.rng.percent(5) {
            // A busy machine.
            self.now += self.rng.below(150_000) as u64;
        }
        let deadline = timeout.map(|timeout| self.now + timeout);
        loop {
            self.run_due();
            self.watch_sleepers();
            let events = self.harvest();
            if !events.is_empty() {
                if !matches!(events[..], [Reported::Tick]) {
                    self.happened = self.now;
                }
                return Ok(events);
            }
            if deadline.is_some_and(|deadline| self.now >= deadline) {
                return Ok(events);
            }
            let next = [self.due.peek().map(|due| due.at), deadline, self.tick];
            let Some(next) = next.into_iter().flatten().min() else {
                if self.open > 0 || !self.backlog.is_empty() {
                    let id = self.connections.iter().flatten().position(|c| c.is_open);
                    self.fail(id, "the engine waits without a limit, and nothing will happen");
                    return Err(ErrorKind::Other);
                }
                self.schedule(0, Action::Stops);
                continue;
            };
            self.now = self.now.max(next);
            if self.plan.jumps && self.rng.below(3000) == 0 {
                self.now += self.rng.below(7200) as u64 * S;
                self.note(None, || "the clock jumps".into());
                self.has_jumped = true;
                self.happened = self.now;
                for connection in self.connections.iter_mut().flatten() {
                    connection.has_jumped = true;
                }
            }
        }
    }

    /// Schedules the end of the work for new sleepers.
    pub(in crate::simulation) fn watch_sleepers(&mut self) {
        let sleepers = Arc::clone(&self.sleepers);
        let mut all = sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, sleeper) in all.iter_mut().enumerate() {
            if sleeper.waker.is_some() && !std::mem::replace(&mut sleeper.is_seen, true) {
                self.schedule(u64::from(sleeper.ms) * MS, Action::Wakes(index));
            }
        }
    }

    pub(in crate::simulation) fn harvest(&mut self) -> Vec<Reported> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.has_listener_event) {
            events.push(Reported::Listener);
        }
        if self.woken.swap(false, Ordering::AcqRel) {
            events.push(Reported::Waker);
        }
        if let Some(tick) = self.tick
            && self.now >= tick
        {
            self.tick = Some(tick + (self.now - tick) / S * S + S);
            events.push(Reported::Tick);
        }
        // Sometimes only a part of the events.
        let most = if self.rng.percent(70) { usize::MAX } else { self.rng.within(1, 4) };
        for _ in 0..self.ready.len().min(most) {
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(connection) = self.get(id) {
                connection.is_queued = false;
                if let Some(key) = connection.key {
                    let is_ended = connection.has_end || connection.has_failed;
                    events.push(Reported::Connection { key, is_ended });
                }
            }
        }
        if self.rng.percent(self.plan.faults)
            && self.rng.percent(20)
            && !self.connections.is_empty()
        {
            let id = self.rng.below(self.connections.len());
            if let Some(key) = self.get(id).and_then(|connection| connection.key) {
                events.push(Reported::Connection { key, is_ended: false });
            }
        }
        if events.len() > 1 && self.rng.percent(50) {
            let at = self.rng.below(events.len());
            events.rotate_left(at);
        }
        events
    }
}

fn connection_is_closed(connection: Option<&mut Connection>) -> bool {
    connection.is_none_or(|connection| connection.is_closed)
}
