//! The options for faults.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use super::super::common::pause;
use crate::faults::datagrams::{self, Chance};
use crate::faults::{Cut, Ending, Faults};

/// What the proxy does to what passes, in both directions if not limited to one.
#[derive(Debug, Args)]
pub(super) struct FaultArgs {
    /// Pass everything on after this time
    #[arg(long, help_heading = "Faults", value_name = "TIME", value_parser = pause)]
    delay: Option<Duration>,
    /// Add a random time up to this one to the delay; datagrams may overtake each other then
    #[arg(long, help_heading = "Faults", value_name = "TIME", value_parser = pause)]
    jitter: Option<Duration>,
    /// Pass on at most this number of bytes per second, such as 500, 10k or 1M; a datagram that finds 1000 waiting is dropped
    #[arg(long, help_heading = "Faults", value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
    #[command(flatten)]
    stream: StreamArgs,
    #[command(flatten)]
    datagrams: DatagramArgs,
}

/// Faults of a stream of bytes.
#[derive(Debug, Args)]
struct StreamArgs {
    /// Write at most N bytes at a time; with random, a random number of the bytes that wait
    #[arg(long, help_heading = "Faults of streams", value_name = "N|random", value_parser = cut)]
    cut: Option<Cut>,
    /// Pause after each write of --cut; without a pause the receiver may read several at once [default: 1ms]
    #[arg(long, help_heading = "Faults of streams", value_name = "TIME", value_parser = pause, requires = "cut")]
    gap: Option<Duration>,
    /// Collect bytes for this time, and write them at once
    #[arg(long, help_heading = "Faults of streams", value_name = "TIME", value_parser = pause)]
    glue: Option<Duration>,
    /// Invert the lowest bit of the byte at this offset; the first byte is 0
    #[arg(long, help_heading = "Faults of streams", value_name = "N", value_parser = size)]
    flip: Option<u64>,
    /// Pass on N bytes, and then nothing, not even the end
    #[arg(long, help_heading = "Faults of streams", value_name = "N", value_parser = size, conflicts_with_all = ["close_after", "reset_after"])]
    stall_after: Option<u64>,
    /// Pass on N bytes, and then close the connection
    #[arg(long, help_heading = "Faults of streams", value_name = "N", value_parser = size, conflicts_with = "reset_after")]
    close_after: Option<u64>,
    /// Pass on N bytes, and then reset the connection as soon as they are acknowledged, after 2s without an
    /// acknowledgement in any case; a program that reads late may lose what it has not read
    #[arg(long, help_heading = "Faults of streams", value_name = "N", value_parser = size)]
    reset_after: Option<u64>,
}

/// Faults of datagrams.
#[derive(Debug, Args)]
struct DatagramArgs {
    /// Drop datagrams with this probability, such as 0.3 or 30%
    #[arg(long, help_heading = "Faults of datagrams", value_name = "P", value_parser = chance)]
    drop: Option<Chance>,
    /// Send datagrams twice with this probability
    #[arg(long, help_heading = "Faults of datagrams", value_name = "P", value_parser = chance)]
    duplicate: Option<Chance>,
    /// Hold datagrams with this probability, one at a time, until the next one has passed it
    #[arg(long, help_heading = "Faults of datagrams", value_name = "P", value_parser = chance)]
    reorder: Option<Chance>,
    /// Maximum time for which --reorder holds a datagram [default: 100ms]
    #[arg(long, help_heading = "Faults of datagrams", value_name = "TIME", value_parser = pause, requires = "reorder")]
    hold: Option<Duration>,
}

impl StreamArgs {
    const fn is_given(&self) -> bool {
        let Self { cut, gap: _, glue, flip, stall_after, close_after, reset_after } = self;
        cut.is_some()
            || glue.is_some()
            || flip.is_some()
            || stall_after.is_some()
            || close_after.is_some()
            || reset_after.is_some()
    }
}

impl DatagramArgs {
    const fn is_given(&self) -> bool {
        let Self { drop, duplicate, reorder, hold: _ } = self;
        drop.is_some() || duplicate.is_some() || reorder.is_some()
    }
}

impl FaultArgs {
    /// Default pause between writes, long enough that most receivers read each by itself.
    const GAP: Duration = Duration::from_millis(1);

    /// Returns whether there is any fault.
    pub(super) const fn is_given(&self) -> bool {
        let Self { delay, jitter, rate, stream, datagrams } = self;
        delay.is_some()
            || jitter.is_some()
            || rate.is_some()
            || stream.is_given()
            || datagrams.is_given()
    }

    /// Returns the faults of a stream.
    ///
    /// # Errors
    ///
    /// If one is only for datagrams.
    pub(super) fn of_stream(&self) -> Result<Faults, String> {
        let Self { delay, jitter, rate, stream, datagrams } = self;
        let given = [
            ("drop", datagrams.drop.is_some()),
            ("duplicate", datagrams.duplicate.is_some()),
            ("reorder", datagrams.reorder.is_some()),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(format!(
                "--{option} is for datagrams; a stream hides that from programs, because TCP sends lost bytes again, in \
                 order and once"
            ));
        }
        let ending = [
            (stream.stall_after, Ending::Stall),
            (stream.close_after, Ending::Close),
            (stream.reset_after, Ending::Reset),
        ];
        Ok(Faults {
            cut: stream.cut,
            gap: stream.gap.unwrap_or(Self::GAP),
            glue: stream.glue.unwrap_or_default(),
            delay: delay.unwrap_or_default(),
            jitter: jitter.unwrap_or_default(),
            rate: *rate,
            flip: stream.flip,
            ending: ending.into_iter().find_map(|(after, ending)| Some((after?, ending))),
        })
    }

    /// Returns the faults of datagrams.
    ///
    /// # Errors
    ///
    /// If one is only for streams.
    pub(super) fn of_datagrams(&self) -> Result<datagrams::Faults, String> {
        let Self { delay, jitter, rate, stream, datagrams } = self;
        let given = [
            ("cut", stream.cut.is_some(), "a datagram arrives as a whole or not at all"),
            ("glue", stream.glue.is_some(), "each datagram arrives by itself"),
            ("flip", stream.flip.is_some(), "datagrams have no place in a stream"),
            ("stall-after", stream.stall_after.is_some(), "datagrams have no connection"),
            ("close-after", stream.close_after.is_some(), "datagrams have no connection"),
            ("reset-after", stream.reset_after.is_some(), "datagrams have no connection"),
        ];
        if let Some((option, _, why)) = given.into_iter().find(|(_, is_given, _)| *is_given) {
            return Err(format!("--{option} is for streams: {why}"));
        }
        let default = datagrams::Faults::default();
        Ok(datagrams::Faults {
            drop: datagrams.drop.unwrap_or_default(),
            duplicate: datagrams.duplicate.unwrap_or_default(),
            reorder: datagrams.reorder.unwrap_or_default(),
            hold: datagrams.hold.unwrap_or(default.hold),
            delay: delay.unwrap_or_default(),
            jitter: jitter.unwrap_or_default(),
            rate: *rate,
        })
    }
}

/// Parses a probability: `0.3`, `1`, `30%`, `0.5%`.
fn chance(text: &str) -> Result<Chance, String> {
    let expected = || "expected a probability from 0 to 1, such as 0.3, or in percent, such as 30%";
    // Digits after the point that count: a billionth is the smallest step.
    let (digits, places, most) = match text.strip_suffix('%') {
        Some(digits) => (digits, 7, 100),
        None => (text, 9, 1),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return Err(expected().into());
    }
    let unit = 10_u64.pow(places);
    let part = format!("{part:0<width$.width$}", width = places as usize);
    let part: u64 = part.parse().map_err(|_| expected())?;
    let whole: u64 = whole.parse().map_err(|_| expected())?;
    let billionths = whole.checked_mul(unit).and_then(|n| n.checked_add(part));
    match billionths.filter(|n| *n <= most * unit).map(u32::try_from) {
        Some(Ok(n)) => Ok(Chance::billionths(n)),
        _ => Err(expected().into()),
    }
}

fn cut(text: &str) -> Result<Cut, String> {
    if text == "random" {
        return Ok(Cut::Random);
    }
    let number = size(text).ok().and_then(|n| usize::try_from(n).ok()).and_then(NonZeroUsize::new);
    number.map(Cut::Every).ok_or_else(|| "expected a number of at least 1, or random".into())
}

fn rate(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(size(text)?).ok_or_else(|| "expected at least 1".into())
}

/// Parses a number of bytes, with a decimal unit: `500`, `10k`, `1M`, `1.5G`.
fn size(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of bytes, such as 500, 10k (10000) or 1M".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" | "kB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        _ => return Err(expected()),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 9 {
        return Err(expected());
    }
    let whole: u64 = whole.parse().map_err(|_| expected())?;
    // A part of a byte is dropped.
    let part = part.parse::<u64>().map_err(|_| expected())? * unit / 10_u64.pow(part.len() as u32);
    whole.checked_mul(unit).and_then(|n| n.checked_add(part)).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_bytes_may_have_a_decimal_unit() {
        for (text, n) in [
            ("0", 0),
            ("500", 500),
            ("10k", 10_000),
            ("10K", 10_000),
            ("1.5M", 1_500_000),
            ("1.5", 1),
            ("0.001kB", 1),
            ("18446744073G", 18_446_744_073_000_000_000),
        ] {
            assert_eq!(size(text), Ok(n), "{text}");
        }
        for text in
            ["", "k", "-1", "1 k", "1e3", ".5k", "5.k", "10kk", "10x", "1,5k", "18446744074G"]
        {
            assert!(size(text).unwrap_err().starts_with("expected a number of bytes"), "{text}");
        }
    }

    #[test]
    fn a_probability_is_a_part_of_one_or_in_percent() {
        for (text, billionths) in [
            ("0", 0),
            ("0.3", 300_000_000),
            ("30%", 300_000_000),
            ("1", 1_000_000_000),
            ("1.000", 1_000_000_000),
            ("100%", 1_000_000_000),
            ("0.5%", 5_000_000),
            ("0.0000000019", 1),
            ("00.25", 250_000_000),
        ] {
            assert_eq!(chance(text), Ok(Chance::billionths(billionths)), "{text}");
        }
        for text in [
            "",
            "%",
            ".3",
            "3.",
            "1.1",
            "30",
            "101%",
            "-0.1",
            "0,3",
            "3e-1",
            "NaN",
            "99999999999999999999",
        ] {
            assert!(chance(text).unwrap_err().starts_with("expected a probability"), "{text}");
        }
    }

    #[test]
    fn a_cut_is_a_number_or_random() {
        assert_eq!(cut("random"), Ok(Cut::Random));
        assert_eq!(cut("3").ok(), Cut::every(3));
        for text in ["0", "", "Random", "-1"] {
            assert!(cut(text).is_err(), "{text}");
        }
    }
}
