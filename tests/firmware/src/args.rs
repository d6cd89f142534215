//! Arguments of the program, passed by QEMU through semihosting: `port=8000 secret=opensesm`.

use core::str::FromStr;

use semihosting::experimental::env;

/// Largest size of all arguments in bytes.
const SIZE: usize = 256;

/// Calls `each` for every `name=value`. It returns `None` for an argument it does not know, which
/// is then logged.
pub fn read(mut each: impl FnMut(&str, &str) -> Option<()>) -> Result<(), InvalidArguments> {
    let args = env::args::<SIZE>().map_err(|_| InvalidArguments)?;
    let mut words = &args;
    // The first is the program's name.
    for word in Iterator::skip(&mut words, 1) {
        let word = word.map_err(|_| InvalidArguments)?;
        let Some(()) = word.split_once('=').and_then(|(name, value)| each(name, value)) else {
            defmt::error!("unknown argument: {=str}", word);
            return Err(InvalidArguments);
        };
    }
    Ok(())
}

/// Parses `value` into `place`.
pub fn set<T: FromStr>(place: &mut T, value: &str) -> Option<()> {
    *place = value.parse().ok()?;
    Some(())
}

/// The arguments are invalid.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub struct InvalidArguments;
