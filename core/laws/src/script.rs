//! What the peer does, and what must not change the result.

use socklab_core::machine::StreamEnd;

/// What the peer does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Script<'b> {
    /// Bytes the peer sends.
    pub bytes: &'b [u8],
    /// Offsets, in ascending order, after which the peer pauses for longer than any machine waits.
    /// A machine that asks for [`Need::InputOrIdle`] there sees [`StreamState::Idle`]. It sees it
    /// nowhere else.
    ///
    /// [`Need::InputOrIdle`]: socklab_core::machine::Need::InputOrIdle
    /// [`StreamState::Idle`]: socklab_core::machine::StreamState::Idle
    pub pauses: &'b [usize],
    /// How the peer's stream ends. `None` leaves it open.
    pub end: Option<StreamEnd>,
}

impl<'b> Script<'b> {
    /// Creates a script without pauses.
    #[must_use]
    pub const fn new(bytes: &'b [u8], end: Option<StreamEnd>) -> Self {
        Self { bytes, pauses: &[], end }
    }

    /// Returns the first pause at offset `at` or later.
    pub(crate) fn next_pause(&self, at: usize) -> Option<usize> {
        self.pauses.iter().copied().find(|pause| *pause >= at)
    }

    /// Returns the first `length` bytes and the pauses among them, with another end.
    pub(crate) fn truncated(&self, length: usize, end: Option<StreamEnd>) -> Self {
        let pauses = self.pauses.iter().take_while(|pause| **pause <= length).count();
        Self { bytes: &self.bytes[..length], pauses: &self.pauses[..pauses], end }
    }
}

/// Everything that must not change the result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Offsets, in ascending order, at which a read ends.
    pub cuts: Vec<usize>,
    /// Whether a read ends after every byte.
    pub every_byte: bool,
    /// Whether the end arrives alone, after all bytes have been stepped over. Otherwise it arrives
    /// with the last bytes.
    pub end_apart: bool,
    /// Size of the output buffer in bytes.
    pub window: usize,
    /// Whether output is sent only when the machine asks for space. Otherwise it is sent after
    /// every step.
    pub lazy: bool,
    /// Largest input, in bytes, that one step is given.
    pub cap: Option<usize>,
    /// Whether the caller takes inbound payload itself instead of passing it to the machine.
    pub take: bool,
}

/// Output space of [`Plan::whole`] in bytes.
const LARGE_WINDOW: usize = 1 << 11;

impl Plan {
    /// One read, and more output space than most machines need.
    #[must_use]
    pub const fn whole() -> Self {
        Self {
            cuts: Vec::new(),
            every_byte: false,
            end_apart: true,
            window: LARGE_WINDOW,
            lazy: false,
            cap: None,
            take: false,
        }
    }

    /// Returns the offset at which the read that starts at `at` ends.
    pub(crate) fn next_cut(&self, at: usize, length: usize) -> usize {
        if self.every_byte {
            return (at + 1).min(length);
        }
        self.cuts.iter().copied().find(|cut| *cut > at).unwrap_or(length).min(length)
    }
}
