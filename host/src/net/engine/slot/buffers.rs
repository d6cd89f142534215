//! Bytes of connections that have to be stored between two turns.

use std::num::NonZeroU32;

use slab::Slab;

/// Bytes of a connection that have to be stored between two turns.
#[derive(Default)]
pub(in crate::net::engine) struct Buffered {
    /// Received bytes that the machine has not consumed.
    pub(super) input: Vec<u8>,
    /// Bytes to be sent.
    pub(in crate::net::engine) output: Vec<u8>,
    /// Number of bytes of `output` that have been sent.
    pub(in crate::net::engine) sent: usize,
}

/// Stored bytes of all connections.
#[derive(Default)]
pub(in crate::net::engine) struct Buffers(Slab<Box<Buffered>>);

/// Key of a connection's stored bytes, plus one. It is `None` while there are none.
///
/// It takes 4 bytes of every slot. A box would take 8.
pub(in crate::net::engine) type Place = Option<NonZeroU32>;

fn key(place: Place) -> Option<usize> {
    Some(place?.get() as usize - 1)
}

impl Buffers {
    /// Returns the bytes stored there.
    pub(super) fn get(&self, place: Place) -> Option<&Buffered> {
        self.0.get(key(place)?).map(Box::as_ref)
    }

    /// Returns the bytes stored there.
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Buffered> {
        self.0.get_mut(key(place)?).map(Box::as_mut)
    }

    /// Returns the bytes stored there, after making a place for them if they have none.
    pub(super) fn get_or_insert_default(&mut self, place: &mut Place) -> &mut Buffered {
        if key(*place).is_none() {
            self.put(place, Box::default());
        }
        &mut self.0[key(*place).unwrap_or_default()]
    }

    /// Removes the bytes stored there.
    pub(in crate::net::engine) fn take(&mut self, place: &mut Place) -> Option<Box<Buffered>> {
        self.0.try_remove(key(place.take())?)
    }

    /// Stores bytes for a connection that has none there.
    pub(super) fn put(&mut self, place: &mut Place, buffered: Box<Buffered>) {
        // A process cannot have 2^32 connections.
        let key = u32::try_from(self.0.insert(buffered)).unwrap_or(u32::MAX);
        *place = NonZeroU32::new(key.saturating_add(1));
    }

    /// Returns the number of connections with stored bytes.
    pub(in crate::net::engine) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the memory used there in bytes.
    pub(in crate::net::engine) fn bytes(&self, place: Place) -> usize {
        self.get(place).map_or(0, |it| it.input.capacity() + it.output.capacity())
    }
}
