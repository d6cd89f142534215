//! The start of every sample of every protocol with a pause at each place, where the machine asks for pauses. Cuts and
//! truncations are tried by the tests of each machine.

use socklab_tests::role::{self, Application};
use socklab_tests::samples::Scripts;
use socklab_tests::script::{assert_lawful, every_pause};

/// Longest script, in bytes, that is run: the number of runs grows with the square of its length.
const LONGEST: usize = 12;

/// Counts the scripts of machines that ask for pauses.
#[derive(Default)]
struct Pauses {
    asked: usize,
}

impl Scripts for Pauses {
    fn script<R: Application>(&mut self, role: &R, bytes: &[u8], _: [usize; 2]) {
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        let asks = assert_lawful(every_pause(role, bytes));
        // The tests of transports depend on it.
        assert!(
            !asks || R::WAITS_FOR_IDLE,
            "a machine asks for pauses, and its role does not say so"
        );
        self.asked += usize::from(asks);
    }
}

macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        $(
            #[test]
            fn $module() {
                role::$module::scripts(&mut Pauses::default());
            }
        )*
    };
}

mod a_pause_at_every_place {
    use super::*;

    socklab_core::for_each_protocol!(protocols);
}

#[test]
fn some_samples_have_pauses() {
    let mut pauses = Pauses::default();
    role::file::scripts(&mut pauses);
    assert!(pauses.asked > 10, "{}", pauses.asked);
}
