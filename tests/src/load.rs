//! Load on the processors, for tests that must succeed on a busy machine too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Runs `what` while threads keep every processor busy several times over.
pub fn under_load<T>(what: impl FnOnce() -> T) -> T {
    /// Stops the load even if `what` panics.
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let processors = thread::available_parallelism().map_or(2, usize::from);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..(4 * processors).min(64) {
            scope.spawn(|| {
                let mut n = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    n = std::hint::black_box(n.wrapping_mul(3).wrapping_add(1));
                }
            });
        }
        let _stop = Stop(&over);
        what()
    })
}
