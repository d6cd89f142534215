//! Buffers in statics that sessions take and give back.
//!
//! A buffer that is an array moves with what it is part of, over the stack, whenever a session
//! begins or ends. One that is leased stays where it is.

use core::array;
use core::cell::Cell;

type Buffer = Option<&'static mut [u8]>;

/// `N` buffers.
pub struct Pool<const N: usize>([Cell<Buffer>; N]);

impl<const N: usize> Pool<N> {
    /// A pool of these.
    pub fn new<const SIZE: usize>(buffers: &'static mut [[u8; SIZE]; N]) -> Self {
        let mut buffers = buffers.iter_mut();
        Self(array::from_fn(|_| Cell::new(buffers.next().map(|buffer| &mut buffer[..]))))
    }

    /// Takes a buffer, until what is returned is dropped. `None` when all are taken.
    pub fn lease(&self) -> Option<Lease<'_>> {
        self.0
            .iter()
            .find_map(|home| home.take().map(|buffer| Lease { home, buffer: Some(buffer) }))
    }
}

/// A buffer taken from a [`Pool`].
pub struct Lease<'p> {
    home: &'p Cell<Buffer>,
    buffer: Buffer,
}

impl AsRef<[u8]> for Lease<'_> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl AsMut<[u8]> for Lease<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.home.set(self.buffer.take());
    }
}
