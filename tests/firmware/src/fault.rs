//! What must not happen: it is logged, and ends the program with a code of its own.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m_rt::{ExceptionFrame, exception};

/// As Rust's own programs end when they panic.
const PANIC: i32 = 101;
/// 128 and a signal's number, as a shell has it: SIGSEGV.
const FAULT: i32 = 139;

/// Whether there is something to log with. What fails while it is logged is not logged.
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

// SAFETY: it does not return, so it need not leave anything as it was.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    if may_log() {
        defmt::error!("hard fault at {=u32:#010x}", frame.pc());
    }
    semihosting::process::exit(FAULT)
}

// SAFETY: as above.
#[exception]
unsafe fn DefaultHandler(number: i16) -> ! {
    if may_log() {
        defmt::error!("interrupt {=i16} has no handler", number);
    }
    semihosting::process::exit(FAULT)
}
