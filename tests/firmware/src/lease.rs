//! Buffers in statics that sessions take and give back.
//!
//! A buffer that is an array moves with what it is part of, over the stack, whenever a session
//! begins or ends. One that is leased stays where it is.

use core::cell::RefCell;

use heapless::Vec;

/// `N` buffers, those that are free.
pub struct Pool<const N: usize>(RefCell<Vec<&'static mut [u8], N>>);

impl<const N: usize> Pool<N> {
    /// A pool of these.
    pub fn new<const SIZE: usize>(buffers: &'static mut [[u8; SIZE]; N]) -> Self {
        Self(RefCell::new(buffers.iter_mut().map(|buffer| &mut buffer[..]).collect()))
    }

    /// Takes a buffer, until what is returned is dropped. `None` when all are taken.
    pub fn lease(&self) -> Option<Lease<'_, N>> {
        let buffer = self.0.borrow_mut().pop();
        buffer.is_some().then_some(Lease { pool: self, buffer })
    }
}

/// A buffer taken from a [`Pool`].
pub struct Lease<'p, const N: usize> {
    pool: &'p Pool<N>,
    buffer: Option<&'static mut [u8]>,
}

impl<const N: usize> AsRef<[u8]> for Lease<'_, N> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl<const N: usize> AsMut<[u8]> for Lease<'_, N> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl<const N: usize> Drop for Lease<'_, N> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // There is room: it was taken from there.
            let _ = self.pool.0.borrow_mut().push(buffer);
        }
    }
}
