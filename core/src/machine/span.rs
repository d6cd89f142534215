//! Events that refer to bytes of the input by position.

use core::fmt;

use super::Machine;

/// Range of bytes within an input.
///
/// It is what an event holds instead of a slice: a value that borrows nothing.
/// [`Spans::view`] turns it into the slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span {
    start: usize,
    len: usize,
}

impl Span {
    /// Returns the range of `len` bytes from position `start` on.
    #[inline]
    #[must_use]
    pub const fn new(start: usize, len: usize) -> Self {
        Self { start, len }
    }

    /// Returns the range of `part` within `whole`, of which it is a subslice. The range of any other
    /// slice resolves to no bytes or to unrelated ones.
    #[inline]
    #[must_use]
    pub fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        Self { start, len: part.len() }
    }

    /// Number of bytes in the range.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether the range contains no byte.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns these bytes of `bytes`; none if the range exceeds them.
    #[inline]
    #[must_use]
    pub fn slice(self, bytes: &[u8]) -> &[u8] {
        let bytes = bytes.get(self.start..).unwrap_or_default();
        bytes.get(..self.len).unwrap_or_default()
    }

    /// Returns the range moved back by `by` bytes: the position in a buffer in which the input began
    /// there.
    #[inline]
    #[must_use]
    pub const fn shift(self, by: usize) -> Self {
        Self { start: self.start.wrapping_add(by), len: self.len }
    }
}

/// An event whose bytes are [`Span`]s of the input that the machine was given.
///
/// An event without bytes is its own view. For a machine of your own with such events:
///
/// ```
/// # use socklab_core::machine::Spans;
/// #[derive(Clone, Copy, Debug)]
/// enum Event {
///     Number(u32),
/// }
///
/// impl Spans for Event {
///     type View<'i> = Self;
///
///     fn view(self, _: &[u8]) -> Self {
///         self
///     }
///
///     fn shift(self, _: usize) -> Self {
///         self
///     }
/// }
/// ```
pub trait Spans: Copy + fmt::Debug {
    /// The same event with slices in place of spans.
    type View<'i>: Copy + fmt::Debug;

    /// Returns the event with the slices of `bytes`: the bytes of the [`Input`](super::Input) that the
    /// machine was given, in which it may have consumed them since.
    fn view(self, bytes: &[u8]) -> Self::View<'_>;

    /// Returns the event with each span moved back by `by` bytes. See [`Span::shift`].
    #[must_use]
    fn shift(self, by: usize) -> Self;
}

/// The events of a machine as an application sees them, with slices of the input.
pub type EventView<'i, M> = <<M as Machine>::Event as Spans>::View<'i>;

/// A step with its event resolved, for unit tests.
#[cfg(test)]
pub(crate) trait Seen: Machine {
    fn seen<'i>(
        &mut self,
        input: super::Input<'i>,
        output: &mut [u8],
    ) -> Result<super::Step<EventView<'i, Self>>, Self::Error> {
        self.step(input, output).map(|step| step.view(input.bytes))
    }
}

#[cfg(test)]
impl<M: Machine> Seen for M {}

/// Implements [`Spans`] for an event without bytes.
macro_rules! plain_event {
    ($event:ty) => {
        impl $crate::machine::Spans for $event {
            type View<'i> = Self;

            #[inline]
            fn view(self, _: &[u8]) -> Self {
                self
            }

            #[inline]
            fn shift(self, _: usize) -> Self {
                self
            }
        }

        #[cfg(feature = "heapless")]
        impl $crate::machine::OwnedEvent for $event {
            type Owned<const N: usize> = Self;

            fn owned<const N: usize>(view: Self) -> Result<Self, heapless::CapacityError> {
                Ok(view)
            }
        }
    };
}
pub(crate) use plain_event;

/// Implements [`Spans`] and the conversions of an event that is generic over its bytes, from its
/// `try_map`.
macro_rules! bytes_event {
    ($event:ident) => {
        impl<B> $event<B> {
            /// Returns the event with its bytes converted by `f`.
            #[inline]
            pub fn map<C>(self, mut f: impl FnMut(B) -> C) -> $event<C> {
                let Ok(event) = self.try_map(|bytes| Ok::<_, core::convert::Infallible>(f(bytes)));
                event
            }
        }

        impl $crate::machine::Spans for $event<$crate::machine::Span> {
            type View<'i> = $event<&'i [u8]>;

            #[inline]
            fn view(self, bytes: &[u8]) -> $event<&[u8]> {
                self.map(|span| span.slice(bytes))
            }

            #[inline]
            fn shift(self, by: usize) -> Self {
                self.map(|span| span.shift(by))
            }
        }

        #[cfg(feature = "heapless")]
        impl $event<&[u8]> {
            /// Copies the event's bytes into vectors of at most `N` bytes, so that the event can
            /// outlive the buffer, for example in a channel to another task.
            ///
            /// # Errors
            ///
            /// [`CapacityError`](heapless::CapacityError) if one of its texts or payloads is longer
            /// than `N` bytes.
            pub fn to_owned<const N: usize>(
                self,
            ) -> Result<$event<heapless::Vec<u8, N>>, heapless::CapacityError> {
                self.try_map(heapless::Vec::from_slice)
            }
        }

        #[cfg(feature = "heapless")]
        impl $crate::machine::OwnedEvent for $event<$crate::machine::Span> {
            type Owned<const N: usize> = $event<heapless::Vec<u8, N>>;

            fn owned<const N: usize>(
                view: $event<&[u8]>,
            ) -> Result<Self::Owned<N>, heapless::CapacityError> {
                view.to_owned()
            }
        }
    };
}
pub(crate) use bytes_event;

impl Spans for Span {
    type View<'i> = &'i [u8];

    #[inline]
    fn view(self, bytes: &[u8]) -> &[u8] {
        self.slice(bytes)
    }

    #[inline]
    fn shift(self, by: usize) -> Self {
        Self::shift(self, by)
    }
}

plain_event!(());
plain_event!(u8);
plain_event!(u16);
plain_event!(u32);
plain_event!(u64);
plain_event!(usize);
plain_event!(core::convert::Infallible);
