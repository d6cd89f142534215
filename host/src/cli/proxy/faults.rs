//! The options for faults.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use super::super::common::pause;
use crate::faults::{Cut, Ending, Faults};

/// What the proxy does to the bytes, in both directions if not limited to one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Faults")]
pub(super) struct FaultArgs {
    /// Write at most N bytes at a time; with random, a random number of the bytes that wait
    #[arg(long, value_name = "N|random", value_parser = cut)]
    cut: Option<Cut>,
    /// Pause after each write of --cut; without a pause the receiver may read several at once [default: 1ms]
    #[arg(long, value_name = "TIME", value_parser = pause, requires = "cut")]
    gap: Option<Duration>,
    /// Collect bytes for this time, and write them at once
    #[arg(long, value_name = "TIME", value_parser = pause)]
    glue: Option<Duration>,
    /// Pass bytes on after this time
    #[arg(long, value_name = "TIME", value_parser = pause)]
    delay: Option<Duration>,
    /// Add a random time up to this one to the delay
    #[arg(long, value_name = "TIME", value_parser = pause)]
    jitter: Option<Duration>,
    /// Pass on at most this number of bytes per second, such as 500, 10k or 1M
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
    /// Invert the lowest bit of the byte at this offset; the first byte is 0
    #[arg(long, value_name = "N", value_parser = size)]
    flip: Option<u64>,
    /// Pass on N bytes, and then nothing, not even the end
    #[arg(long, value_name = "N", value_parser = size, conflicts_with_all = ["close_after", "reset_after"])]
    stall_after: Option<u64>,
    /// Pass on N bytes, and then close the connection
    #[arg(long, value_name = "N", value_parser = size, conflicts_with = "reset_after")]
    close_after: Option<u64>,
    /// Pass on N bytes, and then reset the connection
    #[arg(long, value_name = "N", value_parser = size)]
    reset_after: Option<u64>,
}

impl FaultArgs {
    /// Default pause between writes, long enough that most receivers read each by itself.
    const GAP: Duration = Duration::from_millis(1);

    pub(super) fn faults(&self) -> Faults {
        let ending = [
            (self.stall_after, Ending::Stall),
            (self.close_after, Ending::Close),
            (self.reset_after, Ending::Reset),
        ];
        Faults {
            cut: self.cut,
            gap: self.gap.unwrap_or(Self::GAP),
            glue: self.glue.unwrap_or_default(),
            delay: self.delay.unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            rate: self.rate,
            flip: self.flip,
            ending: ending.into_iter().find_map(|(after, ending)| Some((after?, ending))),
        }
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
    fn a_cut_is_a_number_or_random() {
        assert_eq!(cut("random"), Ok(Cut::Random));
        assert_eq!(cut("3").ok(), Cut::every(3));
        for text in ["0", "", "Random", "-1"] {
            assert!(cut(text).is_err(), "{text}");
        }
    }
}
