//! Time since the start, from the SysTick timer of the CPU.

use core::cell::Cell;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use critical_section::Mutex;
use smoltcp::time::Instant;

/// Clock rate after a reset, as in QEMU.
const HZ: u32 = 12_500_000;

/// A tick is a millisecond, the unit of smoltcp.
const TICKS_PER_SECOND: u32 = 1000;

static MILLIS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// Starts the clock.
pub fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(HZ / TICKS_PER_SECOND - 1);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
}

/// Returns the milliseconds since the start.
pub fn millis() -> u64 {
    critical_section::with(|token| MILLIS.borrow(token).get())
}

/// Returns the time since the start as smoltcp's type.
pub fn now() -> Instant {
    // 2^63 milliseconds are 292 million years.
    Instant::from_millis(i64::try_from(millis()).unwrap_or(i64::MAX))
}

#[exception]
fn SysTick() {
    critical_section::with(|token| {
        let millis = MILLIS.borrow(token);
        millis.set(millis.get() + 1);
    });
}

defmt::timestamp!("{=u64:ms}", millis());
