//! The queue of bytes that a session has in each direction.

use core::fmt;

/// First-in, first-out queue of bytes, in storage that the caller chose: `[u8; N]`, `&mut [u8]`,
/// `Vec<u8>`, …
#[derive(Clone)]
pub struct Buffer<B> {
    pub(super) storage: B,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<B> Buffer<B> {
    /// Returns an empty buffer with the capacity of `storage`.
    pub const fn new(storage: B) -> Self {
        Self { storage, start: 0, end: 0 }
    }

    /// Removes all bytes.
    pub const fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Buffer<B> {
    /// Number of bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.storage.as_ref().len()
    }

    /// Returns the bytes in the buffer, oldest first.
    pub fn bytes(&self) -> &[u8] {
        between(self.storage.as_ref(), self.start, self.end)
    }

    /// Returns the space behind the bytes. If it is shorter than `least`, the bytes are moved to the
    /// front first.
    pub fn space(&mut self, least: usize) -> &mut [u8] {
        if self.start > 0 && (self.start == self.end || self.end > self.most(least)) {
            self.end = move_to_front(self.storage.as_mut(), self.start, self.end);
            self.start = 0;
        }
        self.storage.as_mut().get_mut(self.end..).unwrap_or_default()
    }

    /// Returns the last position that leaves space for `least` bytes.
    fn most(&self, least: usize) -> usize {
        self.capacity().saturating_sub(least)
    }

    /// Whether no byte fits, wherever the bytes stand.
    pub(super) fn is_full(&self) -> bool {
        self.end.saturating_sub(self.start) >= self.capacity()
    }

    /// Whether `n` bytes fit behind the bytes.
    pub(super) fn has_space(&self, n: usize) -> bool {
        n <= self.capacity().saturating_sub(self.end)
    }

    /// Adds the first `n` bytes of the [`space`](Self::space), which have been written.
    #[inline(never)]
    pub fn fill(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.capacity());
    }

    /// Removes the `n` oldest bytes.
    pub fn consume(&mut self, n: usize) {
        consume(&mut self.start, self.end, n);
    }
}

/// Moves the bytes between two positions to the front, and returns their number. Out of line: rarely needed,
/// called from many places. Not generic: the check in `copy_within` disappears only while that has one
/// caller, which an optimiser for size inlines.
#[cold]
#[inline(never)]
fn move_to_front(storage: &mut [u8], start: usize, end: usize) -> usize {
    // Always true; written out so that the optimiser sees that copy_within cannot panic.
    if start <= end && end <= storage.len() {
        storage.copy_within(start..end, 0);
        end.wrapping_sub(start)
    } else {
        0
    }
}

/// Out of line, like `consume`: each is small, but every connection calls them.
#[inline(never)]
pub(super) fn between(storage: &[u8], start: usize, end: usize) -> &[u8] {
    storage.get(start..end).unwrap_or_default()
}

#[inline(never)]
pub(super) fn consume(start: &mut usize, end: usize, n: usize) {
    *start = start.saturating_add(n).min(end);
}

impl<B> fmt::Debug for Buffer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.end.saturating_sub(self.start))
    }
}

#[cfg(feature = "defmt")]
impl<B> defmt::Format for Buffer<B> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Buffer({=usize} bytes)", self.end.saturating_sub(self.start));
    }
}
