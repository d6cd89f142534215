//! Panics and faults: they are logged and end the program with an exit code of their own.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m_rt::{ExceptionFrame, exception};

/// Exit code of a Rust program that panics.
const PANIC: i32 = 101;
/// 128 and a signal's number, as a shell reports it: SIGSEGV.
const FAULT: i32 = 139;

/// Returns whether a failure may be logged. A failure during logging is not.
fn may_log() -> bool {
    static LOGGED: AtomicBool = AtomicBool::new(false);
    !LOGGED.swap(true, Ordering::Relaxed)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if may_log() {
        defmt::error!("{}", defmt::Display2Format(info));
    }
    semihosting::process::exit(PANIC)
}

// SAFETY: it does not return, so it need not restore any state.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    if may_log() {
        defmt::error!("hard fault at {=u32:#010x}", frame.pc());
    }
    semihosting::process::exit(FAULT)
}

// SAFETY: see above.
#[exception]
unsafe fn DefaultHandler(number: i16) -> ! {
    if may_log() {
        defmt::error!("interrupt {=i16} has no handler", number);
    }
    semihosting::process::exit(FAULT)
}
