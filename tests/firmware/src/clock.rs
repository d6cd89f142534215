//! Time since the start, from the core's SysTick timer.

use core::cell::Cell;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use critical_section::Mutex;
use smoltcp::time::Instant;

/// The core's clock after reset, as QEMU has it.
const HZ: u32 = 12_500_000;

/// A tick is a millisecond: what smoltcp reckons in.
const TICKS_PER_SECOND: u32 = 1000;

static MILLIS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// Starts it.
pub fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(HZ / TICKS_PER_SECOND - 1);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
}

/// Milliseconds since the start.
pub fn millis() -> u64 {
    critical_section::with(|token| MILLIS.borrow(token).get())
}

/// The same for smoltcp.
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
