//! The clients, and what travels between them and the server.

use std::collections::VecDeque;

use super::super::clients::{Behaviour, Client, Protocol};
use super::{Action, Connection, MS, Probes, S, World, proxy_header};

impl World {
    pub(in crate::simulation) fn connect(&mut self) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let id = self.connections.len();
        if self.listens {
            let header = self.plan.limits.proxy_header.map(|_| proxy_header(id));
            let header = header.unwrap_or_default();
            let mut client = Client::new(self.plan.protocol, header.as_bytes(), &mut self.rng);
            let limit = self.plan.limits.idle.map_or(30 * S, |idle| idle.as_micros() as u64);
            let slow = self.rng.percent(15);
            // A client that follows the protocol makes progress several times within the limit.
            client.gap = if slow { (limit / 4) as usize } else { self.rng.within(1, 60_000) };
            if !self.plan.reports {
                // Where the system does not report acknowledgements, a slow reader looks idle.
                client.read = usize::MAX;
            }
            if client.talks {
                // It sees the end before the server stops to wait for its own.
                client.read = usize::MAX;
                client.gap = client.gap.min(60_000);
            }
            let (low, high) = self.plan.latency;
            let connection = Connection {
                client,
                latency: self.rng.within(low, high) as u64,
                buffer: if self.rng.percent(20) { 20_000 } else { self.rng.within(40, 4000) },
                up_arrives: 0,
                was_accepted: false,
                is_open: false,
                key: None,
                for_writing: false,
                is_armed: false,
                is_queued: false,
                resets_on_close: false,
                received: VecDeque::new(),
                incoming: 0,
                has_end: false,
                error: None,
                has_failed: false,
                sending_closed: false,
                is_full: false,
                unacknowledged: 0,
                is_end_unacknowledged: false,
                outgoing: VecDeque::new(),
                is_down_scheduled: false,
                written: 0,
                read: 0,
                closed_sending_at: None,
                delivered_at: None,
                unread_since: 0,
                noticed: None,
                accepted_at: 0,
                has_seen_reset: false,
                reads: (0, 0),
                read_at: 0,
                ended_at: None,
                acknowledged_at: 0,
                probes: Probes::default(),
                before_writing: (0, Probes::default()),
                woken_at: 0,
                has_read_end: None,
                queue: VecDeque::new(),
                queue_end: false,
                has_seen_end: false,
                is_reset: false,
                is_closed: false,
                has_sent_end: false,
                has_vanished: false,
                is_read_scheduled: false,
                is_send_scheduled: true,
                is_blocked: false,
                has_session: false,
                may_have_session: false,
                ending: None,
                active: self.now,
                taken: 0,
                wrote: 0,
                has_jumped: false,
                has_lost: false,
                is_cut: false,
            };
            let client = &connection.client;
            let errs = matches!(client.behaviour, Behaviour::Errs(_));
            let text = self.traced.map(|_| format!("connects: {client}"));
            self.connections.push(Some(Box::new(connection)));
            self.summary.sessions += 1;
            self.note(Some(id), || text.unwrap_or_default());
            self.backlog.push_back(id);
            if self.plan.edge || std::mem::take(&mut self.is_listener_armed) {
                self.has_listener_event = true;
            }
            let gap = self.gap(10_000);
            self.schedule(gap, Action::ClientSends(id));
            if errs {
                self.never_ends(id);
            }
        } else {
            self.connections.push(None);
            self.summary.refused += 1;
        }
        let gap = if self.rng.percent(20) { 0 } else { self.gap(self.plan.arrivals) };
        self.schedule(gap, Action::Connect);
    }

    /// Handles bytes that arrive at the server.
    pub(in crate::simulation) fn arrive(&mut self, id: usize, bytes: &[u8]) {
        let (listens, now) = (self.listens, self.now);
        let Some(connection) = self.get(id) else { return };
        connection.incoming -= bytes.len();
        if connection.has_failed {
            return;
        }
        let latency = connection.latency;
        if connection.is_open || (!connection.was_accepted && listens) {
            if connection.received.is_empty() {
                connection.unread_since = now;
            }
            connection.received.extend(bytes);
            self.note(Some(id), || format!("{} bytes arrive at the server", bytes.len()));
            self.edge(id, false);
        } else {
            self.note(Some(id), || "bytes arrive at a closed socket".into());
            self.schedule(latency, Action::DownReset(id));
        }
    }

    /// Moves bytes that the server has sent to the client.
    pub(in crate::simulation) fn deliver(&mut self, id: usize) {
        let cut = self.rng.percent(20);
        let random = self.rng.bits();
        let Some(connection) = self.get(id) else { return };
        connection.is_down_scheduled = false;
        let latency = connection.latency;
        if connection.has_vanished || connection.is_reset {
            return;
        }
        if connection.is_closed && !connection.outgoing.is_empty() {
            connection.outgoing.clear();
            connection.has_lost = true;
            self.note(Some(id), || "bytes arrive at a client that has closed".into());
            self.schedule(latency, Action::UpReset(id));
            return;
        }
        let room = connection.buffer.saturating_sub(connection.queue.len());
        let mut n = connection.outgoing.len().min(room);
        if cut && n > 1 {
            n = 1 + (random % n as u64) as usize;
        }
        connection.queue.extend(connection.outgoing.drain(..n));
        let is_all = connection.outgoing.is_empty();
        let ends = is_all && connection.sending_closed && !connection.queue_end;
        connection.queue_end |= ends;
        let more = !is_all && n < room;
        let reads = !std::mem::replace(&mut connection.is_read_scheduled, true);
        let gap = connection.client.gap;
        if n > 0 {
            self.schedule(latency, Action::Ack(id, Some(n)));
        }
        if ends {
            self.schedule(latency, Action::Ack(id, None));
        }
        if more {
            self.down(id, 1);
        }
        self.note(Some(id), || {
            format!("{n} bytes{} arrive at the client", if ends { " and the end" } else { "" })
        });
        if reads {
            let gap = self.gap(gap);
            self.schedule(gap, Action::ClientReads(id));
        }
    }

    pub(in crate::simulation) fn down(&mut self, id: usize, after: u64) {
        if let Some(connection) = self.get(id)
            && !std::mem::replace(&mut connection.is_down_scheduled, true)
        {
            self.schedule(after, Action::Down(id));
        }
    }

    pub(in crate::simulation) fn acknowledge(&mut self, id: usize, bytes: Option<usize>) {
        let (now, reports) = (self.now, self.plan.reports);
        let Some(connection) = self.get(id) else { return };
        if connection.has_failed {
            return;
        }
        match bytes {
            None => {
                connection.is_end_unacknowledged = false;
                connection.delivered_at = Some(now);
            }
            Some(n) => {
                connection.unacknowledged -= n;
                connection.acknowledged_at = now;
                if reports {
                    connection.taken = now;
                }
                let free = connection.buffer - connection.unacknowledged;
                if connection.is_full && free * 3 >= connection.buffer {
                    connection.is_full = false;
                    self.edge(id, true);
                }
            }
        }
    }

    pub(in crate::simulation) fn client_reads(&mut self, id: usize) {
        let (now, reports) = (self.now, self.plan.reports);
        let Some(connection) = self.get(id) else { return };
        connection.is_read_scheduled = false;
        let stops = matches!(connection.client.behaviour, Behaviour::StopsReading(_));
        if connection.is_closed || connection.has_vanished {
            return;
        }
        if stops && connection.client.is_due() {
            return self.never_ends(id);
        }
        let n = connection.queue.len().min(connection.client.read);
        let bytes: Vec<u8> = connection.queue.drain(..n).collect();
        if n > 0 && reports {
            connection.taken = now;
        }
        let wrong = connection.client.receive(&bytes);
        let is_empty = connection.queue.is_empty();
        let (window, latency) = (!connection.outgoing.is_empty(), connection.latency);
        let (has_more, gap) = (!connection.client.outbox.is_empty(), connection.client.gap);
        let ends = is_empty && connection.queue_end;
        let sends = (has_more || connection.client.closes_sending())
            && !ends
            && !std::mem::replace(&mut connection.is_send_scheduled, true);
        connection.is_read_scheduled = !is_empty;
        connection.has_seen_end |= ends;
        self.note(Some(id), || {
            format!("the client reads {n} bytes{}", if ends { " and the end" } else { "" })
        });
        if let Some(wrong) = wrong {
            self.fail(Some(id), format_args!("the client received something else: {wrong}"));
        }
        if window && n > 0 {
            self.down(id, latency);
        }
        if sends {
            let gap = self.gap(gap);
            self.schedule(gap, Action::ClientSends(id));
        }
        if !is_empty {
            let gap = self.gap(gap);
            self.schedule(gap, Action::ClientReads(id));
        }
        let leaves_first = self.plan.protocol == Protocol::Math && id.is_multiple_of(2);
        if ends || (leaves_first && self.get(id).is_some_and(|c| c.client.is_complete())) {
            self.client_closes(id);
        }
    }

    /// Closes the client's socket in order, if it has read everything that has arrived.
    pub(in crate::simulation) fn client_closes(&mut self, id: usize) {
        let Some(connection) = self.get(id) else { return };
        if std::mem::replace(&mut connection.is_closed, true) {
            return;
        }
        let resets = !connection.queue.is_empty();
        let has_sent_end = std::mem::replace(&mut connection.has_sent_end, true);
        self.note(Some(id), || "the client closes".into());
        if resets {
            self.up(id, Action::UpReset(id));
        } else if !has_sent_end {
            self.up(id, Action::UpEnd(id));
        }
    }

    /// Schedules what travels to the server, after what travels already.
    pub(in crate::simulation) fn up(&mut self, id: usize, action: Action) {
        let now = self.now;
        let Some(connection) = self.get(id) else { return };
        let at = (now + connection.latency).max(connection.up_arrives);
        connection.up_arrives = at;
        self.schedule(at - now, action);
    }

    pub(in crate::simulation) fn client_sends(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(id).and_then(Option::as_deref_mut) else {
            return;
        };
        connection.is_send_scheduled = false;
        if connection.is_closed || connection.has_vanished {
            return;
        }
        let used = connection.received.len() + connection.incoming;
        let room = connection.buffer.saturating_sub(used);
        if room == 0 && !connection.client.outbox.is_empty() {
            connection.is_blocked = true;
            return;
        }
        let bytes = connection.client.take(room, &mut self.rng);
        connection.incoming += bytes.len();
        let (is_due, behaviour) = (connection.client.is_due(), connection.client.behaviour);
        let more = !connection.client.outbox.is_empty();
        let gap = connection.client.gap;
        if !bytes.is_empty() {
            self.note(Some(id), || {
                format!(
                    "the client sends {} bytes: {}",
                    bytes.len(),
                    bytes.get(..12).unwrap_or(&bytes).escape_ascii()
                )
            });
            self.up(id, Action::Up(id, bytes));
        }
        match behaviour {
            Behaviour::Closes(_) if is_due => return self.client_closes(id),
            Behaviour::Resets(_) if is_due => {
                if let Some(connection) = self.get(id) {
                    connection.is_closed = true;
                }
                self.note(Some(id), || "the client resets".into());
                return self.up(id, Action::UpReset(id));
            }
            Behaviour::FallsSilent(_) if is_due => {
                if let Some(connection) = self.get(id) {
                    connection.is_send_scheduled = true;
                }
                return self.never_ends(id);
            }
            Behaviour::Vanishes(_) if is_due => {
                if let Some(connection) = self.get(id) {
                    connection.has_vanished = true;
                }
                self.note(Some(id), || "the client vanishes".into());
                return self.never_ends(id);
            }
            Behaviour::Errs(_) => {}
            _ => {}
        }
        let Some(connection) = self.get(id) else { return };
        let ends = !more
            && connection.client.closes_sending()
            && !std::mem::replace(&mut connection.has_sent_end, true);
        if ends {
            self.note(Some(id), || "the client closes its sending side".into());
            self.up(id, Action::UpEnd(id));
        } else if more {
            let text_ms = self.get(id).and_then(|connection| connection.client.text_ms());
            let gap = match text_ms {
                // About when the server takes the text as complete.
                Some(ms) if ms > 1 && self.rng.percent(30) => {
                    u64::from(ms - 1) * MS + self.rng.below(4000) as u64
                }
                _ => self.gap(gap),
            };
            if let Some(connection) = self.get(id) {
                connection.is_send_scheduled = true;
            }
            self.schedule(gap, Action::ClientSends(id));
        }
    }

    /// Lets a client leave some time, if the server has no limit.
    pub(in crate::simulation) fn never_ends(&mut self, id: usize) {
        if self.plan.limits.idle.is_none() {
            self.schedule(90 * S, Action::ClientLeaves(id));
        }
    }
}
