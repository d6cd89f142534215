//! Random numbers of a session, which can be repeated with `--seed`.

use fastrand::Rng;

/// Returns the generator for the `n`th draw of a session.
///
/// With a seed, the generator depends only on the seed and `n`. So every session gets the same numbers, independent of
/// the order of the clients. Without a seed, each call returns a new generator.
///
/// A session that counts its rounds passes the count as `n` instead of storing a generator, which would take 8 bytes of
/// every connection. A session that stores a generator, or draws only once, passes 0.
pub(crate) fn generator(seed: Option<u64>, n: u64) -> Rng {
    // The factor is odd, so that no two draws share a state. It differs from the step of the generator, since
    // otherwise the sequences of consecutive draws would overlap.
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
    fn sessions_with_the_same_seed_have_the_same_numbers() {
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
        // Also with small seeds, which users choose most often.
        let heads = (0..1000).filter(|seed| generator(Some(*seed), 0).bool()).count();
        assert!((400..=600).contains(&heads), "{heads} of 1000");
        let heads = (0..1000).filter(|n| generator(Some(1), *n).bool()).count();
        assert!((400..=600).contains(&heads), "{heads} of 1000");
    }
}
