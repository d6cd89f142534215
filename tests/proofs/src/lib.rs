//! The whole core as tables of functions, for images that nothing runs.
//!
//! An image is a table of pointers to functions, and all that they reach. Nothing calls them, so
//! the compiler knows of no argument: each is built for every machine state, every input, every
//! length of a buffer. If a panic can be reached from any of them the image does not link, since
//! the panic handler calls a function that there is not.
//!
//! The transports are tables of pointers too, filled in by nobody: what a socket says to a `read`
//! is as unknown as what a peer sends.

#![no_std]

pub mod drivers;
pub mod machines;
pub mod sizes;
pub mod world;

/// A pointer to a function that an image keeps.
pub type Function = *const ();

/// Functions that an image keeps, with all that they reach.
#[repr(transparent)]
pub struct Kept<const N: usize>(pub [Function; N]);

// SAFETY: nobody reads them, and a pointer to a function is the same in every thread.
unsafe impl<const N: usize> Sync for Kept<N> {}

/// Makes an image of these tables. Once in each program of `src/bin`.
#[macro_export]
macro_rules! image {
    ($($table:path),+ $(,)?) => {
        #[used]
        #[unsafe(link_section = ".kept")]
        static IMAGE: $crate::Kept<{ [$(stringify!($table)),+].len() }> =
            $crate::Kept([$((&raw const $table).cast()),+]);
    };
}

unsafe extern "C" {
    /// Nobody defines it.
    fn a_panic_is_reachable() -> !;
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no program that can get here links.
    unsafe { a_panic_is_reachable() }
}
