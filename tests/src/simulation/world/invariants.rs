//! What must hold.

use std::sync::PoisonError;

use super::super::clients::{Behaviour, Finish, Protocol};
use super::super::{Ending, Kind};
use super::Action;
use super::{
    BUSY, CLOSING, Connection, LINGER, LOST, MS, NOTICE, ROUNDED, S, WAITS, World, number,
};

impl World {
    /// Checks what must hold whenever the engine waits.
    pub(in crate::simulation) fn audit(&mut self, timeout: Option<u64>) {
        self.take_endings();
        let is_patient = timeout.is_none_or(|timeout| timeout > 150 * MS);
        if is_patient
            && self.listens
            && self.has_room()
            && !self.has_listener_event
            && self.stops == 0
            && let Some(&id) = self.backlog.front()
        {
            self.fail(Some(id), "the engine waits although a client could be accepted");
        }
        let is_over = self.left == 0 && self.due.is_empty() && self.ready.is_empty();
        if is_over && self.now - self.happened > LOST {
            match self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.is_open)) {
                Some(id) => self.fail(Some(id), "the connection is never closed"),
                None => self.fail(None, "a timer is left, although no connection is"),
            }
        }
        if self.now == self.waited {
            self.busy += 1;
        } else {
            self.busy = 0;
        }
        self.waited = self.now;
        self.waits += 1;
        if self.waits > WAITS {
            let id = self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.is_open));
            self.fail(id, "the world does not come to an end");
        }
        if self.busy > BUSY {
            self.fail(None, "the engine is busy although nothing happens");
        }
        self.check_grace();
    }

    fn check_grace(&mut self) {
        if self.stops > 0 && self.plan.limits.idle.is_some() && !self.has_jumped {
            let grace = self.plan.limits.grace.as_micros() as u64;
            if self.now - self.stopped_at > grace + S / 2 {
                self.fail(None, "the engine continues after the grace period");
            }
        }
    }

    pub(in crate::simulation) fn take_endings(&mut self) {
        let endings =
            std::mem::take(&mut *self.endings.lock().unwrap_or_else(PoisonError::into_inner));
        let notices =
            std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner));
        let (round, is_stopped) = (self.round, self.stops > 0);
        for id in notices.into_iter().map(number) {
            let Some(connection) = self.get(id) else { continue };
            let waited = round.saturating_sub(connection.read_at);
            let is_asleep = connection.client.is_asleep(connection.read, connection.written);
            if waited + ROUNDED < NOTICE && !is_stopped {
                self.fail(
                    Some(id),
                    format_args!("a notice was given {waited} us after the last bytes"),
                );
            } else if is_asleep && !is_stopped {
                self.fail(Some(id), "a notice about a message was given while the server works");
            } else if connection.noticed.replace(connection.read) == Some(connection.read) {
                self.fail(Some(id), "the notice about a message is given twice");
            }
        }
        for Ending { peer, kind } in endings {
            let id = number(peer);
            self.note(Some(id), || format!("reported: {kind:?}"));
            self.ended(id, kind);
        }
    }

    /// Checks the report of a session.
    pub(in crate::simulation) fn ended(&mut self, id: usize, kind: Kind) {
        self.summary.count(&kind);
        let (round, reports, is_stopped) = (self.round, self.plan.reports, self.stops > 0);
        let idle = self.plan.limits.idle.map(|idle| idle.as_micros() as u64);
        let slack = 5 * S;
        let Some(connection) = self.get(id).filter(|connection| connection.may_have_session) else {
            return self
                .fail(None, format_args!("a session that was not opened is reported: {kind:?}"));
        };
        if connection.ending.is_some() {
            return self.fail(Some(id), "the session is reported twice");
        }
        connection.ending = Some(kind.clone());
        let Connection { active, taken, has_jumped, .. } = **self
            .connections
            .get(id)
            .and_then(Option::as_ref)
            .unwrap_or_else(|| unreachable!("it was found above"));
        let Some(connection) = self.get(id) else { return };
        let is_correct = connection.client.behaviour == Behaviour::Correct;
        let has_left = connection.is_closed || connection.has_failed || connection.has_lost;
        let arrived = connection.client.received + connection.queue.len();
        let lost = connection.has_lost || connection.written > arrived;
        let closed_sending_at = connection.closed_sending_at.unwrap_or(round);
        let delivered_at = connection.delivered_at.filter(|_| !connection.has_failed);
        // The end of the stream need not have been acknowledged. Without acknowledgements, what was sent counts.
        let is_delivered = connection.closed_sending_at.is_some()
            && (connection.unacknowledged == 0 || !reports)
            && !connection.has_failed;
        let finish = connection.client.finish;
        let missing =
            connection.client.reply_len() > connection.client.received + connection.queue.len();
        let (active, probes) = if kind == Kind::TimedOut && connection.wrote == round {
            connection.before_writing
        } else {
            (active, connection.probes)
        };
        // The time for the last acknowledgement starts with the close.
        let closed_at =
            connection.closed_sending_at.filter(|at| kind == Kind::Undelivered && *at < round);
        let closed_at = closed_at.unwrap_or(0);
        let since = round.saturating_sub(active.max(closed_at));
        let since_taken = round.saturating_sub(active.max(taken).max(connection.woken_at));
        let since_closed = since_taken.min(round.saturating_sub(closed_sending_at));
        let timed_out = kind == Kind::TimedOut || (kind == Kind::Undelivered && !has_left);
        if timed_out && !(is_stopped && kind == Kind::Undelivered) {
            let limit = match (kind == Kind::Undelivered, idle) {
                (true, Some(idle)) => Some(idle.min(CLOSING)),
                (true, None) => Some(CLOSING),
                (false, idle) => idle,
            };
            match limit {
                None => self.fail(Some(id), "the session timed out without a limit"),
                // What it takes shows only in comparison.
                Some(_) if probes.outstanding > 0 && probes.count < 2 => {
                    self.fail(
                        Some(id),
                        "the session timed out at the first look at what is outstanding",
                    );
                }
                Some(limit) if since + ROUNDED < limit => self.fail(
                    Some(id),
                    format_args!("the session timed out after {since} us of {limit}"),
                ),
                // The engine looks eight times within the limit what the client has taken.
                Some(limit) if since_taken + limit / 8 + slack < limit && !has_jumped => self.fail(
                    Some(id),
                    format_args!(
                        "the client took bytes {since_taken} us before the time-out, with {limit}"
                    ),
                ),
                Some(limit) if since_taken > limit + limit / 4 + slack && !has_jumped => self.fail(
                    Some(id),
                    format_args!("the session timed out only after {since_taken} us of {limit}"),
                ),
                Some(_) => {}
            }
        }
        // A client that leaves at last does not excuse the server.
        if kind == Kind::Undelivered
            && has_left
            && since_closed > CLOSING + CLOSING / 4 + slack
            && !has_jumped
        {
            self.fail(
                Some(id),
                format_args!("the finished session was kept for {since_closed} us"),
            );
        }
        // A server of greetings ends the session by itself.
        let ends_itself = self.plan.protocol == Protocol::Hello;
        let (is_echo, stopped_at) = (self.plan.protocol == Protocol::Echo, self.stopped_at);
        let Some(connection) = self.get(id) else { return };
        let has_more = !ends_itself && connection.client.has_more();
        let is_idle = connection.received.is_empty()
            && connection.incoming == 0
            && connection.unacknowledged == 0
            && connection.queue.is_empty()
            && !connection.has_failed
            && connection.closed_sending_at.is_none()
            && connection.client.is_between_messages(connection.read);
        let moved_at = connection.read_at.max(connection.wrote).max(connection.acknowledged_at);
        // A stop ends sessions of echo in order.
        if connection.has_seen_reset
            && has_more
            && !is_stopped
            && matches!(kind, Kind::Done | Kind::Undelivered)
        {
            self.fail(Some(id), format_args!("a reset counts as an orderly end: {kind:?}"));
        }
        // After a stop, a server of echo ends each session after a message.
        if kind == Kind::Stopped
            && is_echo
            && is_idle
            && is_correct
            && !has_jumped
            && round > moved_at.max(taken).max(stopped_at) + S
        {
            self.fail(Some(id), "the session did not end with a stop");
        }
        if is_delivered && matches!(kind, Kind::Undelivered | Kind::Stopped) {
            let text = format!("the session ended as {kind:?}, and everything has arrived");
            self.fail(Some(id), text);
        }
        if reports
            && let Some(at) = delivered_at
            && kind == Kind::Done
            && round.saturating_sub(at) > LINGER
            && !has_jumped
        {
            self.fail(Some(id), "the delivery is reported too late");
        }
        match kind {
            Kind::Internal(text) => self.fail(Some(id), text),
            Kind::Stopped if !is_stopped => {
                self.fail(Some(id), "the session was stopped, and the server was not");
            }
            Kind::Done if reports && lost && finish == Finish::Close => {
                self.fail(Some(id), "the session is done, and bytes have not arrived");
            }
            Kind::Done
                if reports && is_correct && missing && !is_stopped && finish == Finish::Close =>
            {
                self.fail(Some(id), "the session is done, and its reply is incomplete");
            }
            Kind::Done | Kind::Stopped => {}
            kind if is_correct && !has_jumped && !is_stopped => {
                self.fail(
                    Some(id),
                    format_args!("the session of a correct client ended as {kind:?}"),
                );
            }
            _ => {}
        }
    }

    /// Checks what must hold when the server closes a connection.
    pub(in crate::simulation) fn check_close(&mut self, id: usize) {
        let (now, is_stopped, reports) = (self.now, self.stops > 0, self.plan.reports);
        let limits = self.plan.limits;
        let grace = (self.stops == 1).then(|| self.stopped_at + limits.grace.as_micros() as u64);
        let header = limits.proxy_header.map(|limit| limit.as_micros() as u64);
        let is_counted = self.plan.protocol == Protocol::Hello;
        let Some(connection) = self.get(id) else { return };
        if let Some(limit) = header
            && connection.read < connection.client.header
            && connection.client.behaviour == Behaviour::Correct
            && !connection.has_failed
            && !connection.has_jumped
            && !is_counted
            && connection.key.is_some()
        {
            let waited = now - connection.unread_since;
            if !connection.received.is_empty() && waited > S && !is_stopped {
                self.fail(Some(id), format_args!("a header was not read for {waited} us"));
            } else if now + ROUNDED < connection.accepted_at + limit
                && (!is_stopped || grace.is_some_and(|at| now + ROUNDED < at))
            {
                self.fail(Some(id), "a client whose header is under way was refused");
            }
            return;
        }
        if connection.has_failed || connection.has_jumped || connection.has_vanished {
            return;
        }
        let &mut Connection { written, resets_on_close, closed_sending_at, .. } = connection;
        let has_unread = !connection.received.is_empty();
        let resets = resets_on_close || has_unread;
        let (behaviour, finish) = (connection.client.behaviour, connection.client.finish);
        let in_payload = connection.client.is_in_payload(written);
        let has_sent_end = connection.has_sent_end;
        let waited = now.saturating_sub(connection.unread_since);
        let delivered_at = connection.delivered_at;
        let is_done = connection.ending == Some(Kind::Done) && reports;
        let acknowledged_at = if is_done { connection.acknowledged_at } else { 0 };
        let end_read_at = connection.has_read_end;
        let is_reported = connection.ending.is_some();
        let waits = matches!(connection.ending, Some(Kind::Done | Kind::Failed));
        let is_truncated = connection.ending == Some(Kind::Undelivered)
            && written < connection.client.reply_len()
            && finish == Finish::Close;
        let errs = matches!(behaviour, Behaviour::Errs(_));
        let leaves = matches!(behaviour, Behaviour::Closes(_) | Behaviour::Resets(_));
        if in_payload && !resets && !errs {
            self.fail(Some(id), "an orderly close within the payload looks like its end");
        }
        // After a stop, a server of echo ends with fewer replies.
        if is_truncated && !resets && !errs && !leaves && !is_stopped {
            self.fail(Some(id), "an orderly close before the last bytes looks like the end");
        }
        let Some(at) = closed_sending_at else { return };
        if waits && !is_stopped && !has_sent_end {
            // The time for the client's end starts when it has got everything.
            if now + ROUNDED < at.max(acknowledged_at) + LINGER {
                self.fail(Some(id), "the close does not wait for the client's end");
            } else if has_unread && waited > S {
                self.fail(Some(id), format_args!("input was not read for {waited} us"));
            }
        }
        if waits
            && !is_stopped
            && end_read_at
                .is_some_and(|read_at| now > read_at.max(at).max(delivered_at.unwrap_or(0)) + 2 * S)
        {
            self.fail(Some(id), "the closed session was kept after the client's end");
        }
        let since = if reports { delivered_at } else { Some(at) };
        // Up to a second each until the next query for the acknowledgement, and until the next check.
        if is_reported && since.is_some_and(|since| now > since.max(at) + LINGER + 4 * S) {
            self.fail(Some(id), "the closed session was kept too long");
        }
    }

    /// Checks what must hold after the engine has ended.
    pub(in crate::simulation) fn finish(&mut self) {
        self.take_endings();
        self.check_grace();
        if self.listens {
            self.fail(None, "the listener is still open");
        }
        if self.open > 0 {
            let id = self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.is_open));
            self.fail(id, "a socket is still open");
        }
        // The clients read what has been sent.
        self.left = 0;
        while self.violation.is_none()
            && let Some(due) = self.due.pop()
        {
            self.now = self.now.max(due.at);
            if !matches!(due.action, Action::Stops) {
                self.act(due.action);
            }
        }
        for id in 0..self.connections.len() {
            if self.violation.is_some() {
                return;
            }
            let Some(connection) = self.get(id) else { continue };
            let is_correct = connection.client.behaviour == Behaviour::Correct;
            let complete = connection.client.is_complete();
            let has_end = connection.has_seen_end
                || (connection.is_closed && !connection.is_reset && complete);
            // After a jump the server does not wait for the client's end.
            let is_early = connection.client.talks && connection.has_jumped;
            let checked = is_correct && !connection.is_cut && !is_early;
            let (is_reset, finish) = (connection.is_reset, connection.client.finish);
            match &connection.ending {
                None if connection.has_session => {
                    self.fail(Some(id), "the session was never reported");
                }
                Some(Kind::Done) if checked && finish == Finish::Close && !complete => {
                    self.fail(
                        Some(id),
                        "the session is done, and the client has not got its reply",
                    );
                }
                Some(Kind::Done)
                    if checked && finish == Finish::Close && (is_reset || !has_end) =>
                {
                    self.fail(Some(id), "the session is done, and the client has not seen the end");
                }
                Some(Kind::Done) if checked && finish == Finish::Reset && !is_reset => {
                    self.fail(Some(id), "the session was to end with a reset");
                }
                _ => {}
            }
        }
        self.summary.time = self.now;
    }
}
