//! The program's arguments, which QEMU hands over by semihosting: `port=8000 secret=opensesm`.

use core::str::FromStr;

use semihosting::experimental::env;

/// So many bytes of arguments are read.
const SIZE: usize = 256;

/// Calls `each` for every `name=value`, which says whether it could use it. What it could not use
/// is named in the log.
pub fn read(mut each: impl FnMut(&str, &str) -> Option<()>) -> Result<(), Wrong> {
    let args = env::args::<SIZE>().map_err(|_| Wrong)?;
    let mut words = &args;
    // The first is the program's name.
    for word in Iterator::skip(&mut words, 1) {
        let word = word.map_err(|_| Wrong)?;
        let Some(()) = word.split_once('=').and_then(|(name, value)| each(name, value)) else {
            defmt::error!("what is {=str}?", word);
            return Err(Wrong);
        };
    }
    Ok(())
}

/// Puts a value into its place.
pub fn set<T: FromStr>(place: &mut T, value: &str) -> Option<()> {
    *place = value.parse().ok()?;
    Some(())
}

/// The arguments are wrong.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub struct Wrong;
