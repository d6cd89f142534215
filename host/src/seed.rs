//! Random numbers of a session, repeatable with `--seed`.

use fastrand::Rng;

/// Returns the generator for the `n`th draw of a session.
///
/// With a seed it depends on the seed and `n` alone, so every session gets the same numbers in whatever
/// order clients arrive. Without one, each call returns a generator of its own.
///
/// A session that counts its rounds passes the count as `n` and keeps no generator: that would take
/// 8 bytes of every connection. One that keeps a generator, or draws once, passes 0.
pub(crate) fn generator(seed: Option<u64>, n: u64) -> Rng {
    // An odd factor: no two draws share a state. It is not the step of the generator, whose draws
    // would then overlap.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    seed.map_or_else(Rng::new, |seed| Rng::with_seed(seed.wrapping_add(n.wrapping_mul(STEP))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: Option<u64>) -> Vec<u32> {
        (0..20).map(|n| generator(seed, n).u32(..)).collect()
    }

    #[test]
    fn sessions_with_a_seed_are_alike_and_others_are_not() {
        assert_eq!(draws(Some(7)), draws(Some(7)));
        assert_ne!(draws(Some(7)), draws(Some(8)));
        assert_ne!(draws(None), draws(None));
    }

    #[test]
    fn the_draws_of_a_session_differ() {
        for seed in [Some(0), Some(1), Some(u64::MAX), None] {
            let mut draws = draws(seed);
            draws.sort_unstable();
            draws.dedup();
            assert!(draws.len() >= 19, "{seed:?}: {draws:?}");
        }
    }

    #[test]
    fn the_first_draws_of_many_seeds_are_fair() {
        // Even among seeds that people type.
        let heads = (0..1000).filter(|seed| generator(Some(*seed), 0).bool()).count();
        assert!((400..=600).contains(&heads), "{heads} of 1000");
        let heads = (0..1000).filter(|n| generator(Some(1), *n).bool()).count();
        assert!((400..=600).contains(&heads), "{heads} of 1000");
    }
}
