//! State of a connection and of its turns.

/// State of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::net::engine) enum Phase {
    /// The session is in progress.
    Open,
    /// At a message boundary. The bytes before it are not sent yet.
    Boundary,
    /// At a message boundary. The machine is stepped again when the timer expires.
    Paused,
    /// As `Open`, with a timer that expires when the peer has sent nothing for as long as the machine asked for.
    IdleTimer,
    /// As `Open`, and outbound payload remains. Whatever ends the connection now, also the end of this
    /// process, resets it: the peer could mistake an orderly close for the end of the payload.
    Payload,
    /// The machine has finished successfully. Buffered output is sent, then the sending side closes. The
    /// session is not reported yet.
    Finishing,
    /// The kernel has accepted the last bytes, but the peer may not have acknowledged all of them. The session is
    /// reported when it has.
    AwaitingAck,
    /// As `Finishing`, but the session has failed and is already reported.
    Flushing,
    /// The session is reported. The peer may read the last bytes and close.
    Lingering,
}

impl Phase {
    /// Returns whether the machine has finished.
    pub(in crate::net::engine) const fn is_over(self) -> bool {
        matches!(self, Self::Finishing | Self::AwaitingAck | Self::Flushing | Self::Lingering)
    }

    /// Returns whether the session has been reported.
    pub(in crate::net::engine) const fn is_reported(self) -> bool {
        matches!(self, Self::Flushing | Self::Lingering)
    }
}

/// Delivery of a connection's last bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::net::engine) enum Delivery {
    /// The peer's system has acknowledged them, or the state cannot be determined.
    Done,
    /// Some are not acknowledged yet.
    Pending,
    /// The peer closed or reset the connection without them.
    Lost,
}

/// End of stream that the OS has reported but that has not been read yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::net::engine) enum PendingEnd {
    /// No end has been reported.
    Unknown,
    /// An end has been reported. Reading continues until it is reached.
    End,
    /// As `End`, and the peer has closed its receiving side: a write had no effect.
    WriteClosed,
    /// The end is a reset. The OS has reported it to a write, and reports it only once: reads return the bytes
    /// received before, and then an end that looks like an orderly one.
    Reset,
}

/// Set of [`Flag`]s in one byte.
#[derive(Clone, Copy, Default)]
pub(in crate::net::engine) struct Flags(u8);

/// Flag of a connection.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(in crate::net::engine) enum Flag {
    /// The connection is in the `again` queue. It must not be there twice, or a peer that floods would get
    /// extra turns by its events.
    Queued = 1,
    /// Another thread works for this session and will wake it. Meanwhile the session is not idle.
    Busy = 2,
    /// Part of a message is buffered, and the slot's timer is set for its [`Notice`](crate::net::Notice).
    NoticeTimer = 4,
    /// The notice for this message has been given.
    Noticed = 8,
    /// The socket has refused bytes since it last accepted some.
    Full = 16,
    /// The socket is registered for writing.
    AwaitsWrite = 32,
    /// The sending side has been closed.
    SentEnd = 64,
    /// Part of a message is buffered, and the machine waits for the rest. While it is the server's turn, the same bytes may
    /// be a complete message.
    Incomplete = 128,
}

impl Flags {
    pub(in crate::net::engine) const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u8 != 0
    }

    /// Sets or clears a flag. Returns whether it was set before.
    pub(in crate::net::engine) const fn set(&mut self, flag: Flag, on: bool) -> bool {
        let before = self.has(flag);
        self.0 = if on { self.0 | flag as u8 } else { self.0 & !(flag as u8) };
        before
    }
}

/// Reason for a connection's turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::net::engine) enum Wakeup {
    /// The connection has been accepted.
    Opened,
    /// The connection may be able to make progress. Events are hints only.
    Event,
    /// The timer of [`Phase::IdleTimer`] has expired.
    Idle,
    /// The server stops.
    Stop,
    /// The last bytes may have been acknowledged.
    CheckAck,
}

/// What to do with a connection after its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::net::engine) enum Turn {
    /// Wait for an event or a timer.
    Wait,
    /// Give it another turn after the other connections.
    Again,
    /// Close it.
    Close,
}
