//! How much of the stack has been used.

use core::ptr;

unsafe extern "C" {
    // From the linker script: the stack grows down from `_stack_start` to at most `_stack_end`.
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Returns the largest size of the stack so far in bytes: the words that no longer have the paint
/// of cortex-m-rt.
pub fn stack_high_water() -> usize {
    let (start, mut at) = (&raw const _stack_start, &raw const _stack_end);
    while at < start {
        // SAFETY: everything between the two symbols is RAM, in words. Below the stack pointer
        // nothing else uses it, and above it is only read. Volatile, because the compiler knows
        // neither.
        if unsafe { ptr::read_volatile(at) } != cortex_m_rt::STACK_PAINT_VALUE {
            break;
        }
        at = at.wrapping_add(1);
    }
    start as usize - at as usize
}

/// Logs the largest size of the stack so far.
pub fn log_stack() {
    defmt::info!("stack: {=usize} bytes at most", stack_high_water());
}
