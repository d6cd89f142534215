//! Events that own their bytes.

use core::fmt;

use heapless::{CapacityError, Vec};

use super::{Span, Spans};

/// An event that can be copied out of the input, for code that is generic over machines.
///
/// The owned event borrows nothing, so it crosses a channel to another task or an interrupt. Code for
/// one protocol calls `to_owned` of its event instead, which does the same. An event without bytes is
/// its own owned event and always fits.
///
/// ```
/// use socklab_core::machine::{EventView, Machine, OwnedEvent};
///
/// /// Event of any machine, with texts of at most 64 bytes.
/// type Owned<M> = <<M as Machine>::Event as OwnedEvent>::Owned<64>;
///
/// /// Sends an event to another task, or drops it if one of its texts is longer.
/// fn forward<M>(event: EventView<'_, M>, send: impl FnOnce(Owned<M>))
/// where
///     M: Machine<Event: OwnedEvent>,
/// {
///     if let Ok(event) = M::Event::owned::<64>(event) {
///         send(event);
///     }
/// }
/// # use socklab_core::{chat, math};
/// # let mut sent = None;
/// # forward::<chat::Chat>(chat::Event::Line(b"hello"), |event| sent = Some(event));
/// # assert!(matches!(sent, Some(chat::Event::Line(text)) if text == *b"hello"));
/// # forward::<chat::Chat>(chat::Event::Line(&[b'x'; 65]), |_| panic!("it does not fit"));
/// ```
pub trait OwnedEvent: Spans {
    /// The same event with vectors of at most `N` bytes in place of spans.
    type Owned<const N: usize>: Clone + fmt::Debug + Send + 'static;

    /// Copies the bytes of an event into vectors of at most `N` bytes each.
    ///
    /// # Errors
    ///
    /// [`CapacityError`] if one of its texts or payloads is longer than `N` bytes.
    fn owned<const N: usize>(view: Self::View<'_>) -> Result<Self::Owned<N>, CapacityError>;
}

impl OwnedEvent for Span {
    type Owned<const N: usize> = Vec<u8, N>;

    fn owned<const N: usize>(view: &[u8]) -> Result<Vec<u8, N>, CapacityError> {
        Vec::from_slice(view)
    }
}
