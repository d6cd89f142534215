//! The whole core as tables of functions, for images that are linked but never run.
//!
//! An image is a table of function pointers together with everything these functions reach. Nothing
//! calls them, so the compiler knows no argument: each is compiled for every machine state, every
//! input and every buffer length. If a panic can be reached from any of them, the image does not
//! link, because the panic handler calls a function that is not defined anywhere.
//!
//! The transports are tables of function pointers too, and nothing fills them in: what a socket
//! returns from `read` is as unknown as what a peer sends.

#![no_std]

pub mod c;
pub mod drivers;
pub mod machines;
pub mod sizes;
pub mod world;

/// A pointer to a function that an image keeps.
pub type Function = *const ();

/// Functions that an image keeps, with everything they reach.
#[repr(transparent)]
pub struct Kept<const N: usize>(pub [Function; N]);

// SAFETY: nothing reads the pointers, and a function pointer is the same in every thread.
unsafe impl<const N: usize> Sync for Kept<N> {}

/// Makes an image of these tables. Each program in `src/bin` calls it once.
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
    /// Not defined anywhere, on purpose.
    fn a_panic_is_reachable() -> !;
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: a program that can get here does not link.
    unsafe { a_panic_is_reachable() }
}
