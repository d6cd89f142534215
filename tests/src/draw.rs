//! The bytes of a fuzz input as choices.

/// The rest of a fuzz input. Its front chooses, what is left at last is what the peer sends.
#[derive(Clone, Debug)]
pub struct Draw<'d>(&'d [u8]);

impl<'d> Draw<'d> {
    /// Starts at the front of an input.
    #[must_use]
    pub const fn new(input: &'d [u8]) -> Self {
        Self(input)
    }

    /// Takes a byte. Behind the end they are 0.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Takes a length of one byte and as many bytes, or as many as there are.
    pub fn text(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        text.to_vec()
    }

    /// Takes a count, which is less than 8, and as many [texts](Self::text).
    pub fn texts(&mut self) -> Vec<Vec<u8>> {
        (0..self.byte() % 8).map(|_| self.text()).collect()
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'d [u8] {
        std::mem::take(&mut self.0)
    }
}
