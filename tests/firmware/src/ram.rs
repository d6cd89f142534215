//! How much of the stack has ever been used.

use core::ptr;

unsafe extern "C" {
    // The linker script's: the stack grows down from `_stack_start` to `_stack_end` at the most.
    static _stack_start: u32;
    static _stack_end: u32;
}

/// The most bytes the stack has had so far: those that are not as cortex-m-rt has painted them.
pub fn stack_high_water() -> usize {
    let (start, mut at) = (&raw const _stack_start, &raw const _stack_end);
    while at < start {
        // SAFETY: between the two symbols all is RAM, in words. Below the stack pointer nobody
        // else uses it, and above it is only read; volatile, since the compiler knows of neither.
        if unsafe { ptr::read_volatile(at) } != cortex_m_rt::STACK_PAINT_VALUE {
            break;
        }
        at = at.wrapping_add(1);
    }
    start as usize - at as usize
}

/// Logs that.
pub fn log_stack() {
    defmt::info!("stack: {=usize} bytes at the most", stack_high_water());
}
