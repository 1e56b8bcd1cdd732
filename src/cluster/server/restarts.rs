//! When a server that failed is started again, and when not any more.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::config::Limits;
use crate::time::Instant;

/// What is remembered of failures.
pub(super) struct Restarts {
    limits: Limits,
    /// Those within the window.
    failures: VecDeque<Instant>,
    random: SmallRng,
}

impl Restarts {
    /// Pauses follow from the seed.
    pub(super) fn new(limits: Limits, seed: u64) -> Self {
        Self { limits, failures: VecDeque::new(), random: SmallRng::seed_from_u64(seed) }
    }

    /// A failure: how long to wait before the next start, or after how many failures it is given up.
    pub(super) fn failed(&mut self, now: Instant) -> Result<Duration, usize> {
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| now.since(*at) > self.limits.window) {
            self.failures.pop_front();
        }
        let failures = self.failures.len();
        if failures > self.limits.restarts {
            return Err(failures);
        }
        let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let pause = self.limits.first.saturating_mul(factor).min(self.limits.most);
        // Half of it for certain, so that pauses grow; the rest by chance, so that those who failed together part.
        Ok(pause.mul_f64(self.random.random_range(0.5..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        restarts: 5,
        window: Duration::from_secs(60),
        first: Duration::from_millis(100),
        most: Duration::from_millis(1_000),
    };

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_then_it_is_given_up() {
        let mut restarts = Restarts::new(LIMITS, 1);
        for full in [100, 200, 400, 800, 1_000].map(Duration::from_millis) {
            let pause = restarts.failed(at(1)).unwrap();
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        }
        assert_eq!(restarts.failed(at(1)), Err(6));
    }

    #[test]
    fn failures_outside_the_window_count_no_more() {
        let mut restarts = Restarts::new(LIMITS, 1);
        for seconds in 0..100 {
            let pause = restarts.failed(at(seconds * 61)).unwrap();
            assert!(pause <= LIMITS.first, "{pause:?}");
        }
        let mut restarts = Restarts::new(LIMITS, 1);
        assert!((0..5).all(|seconds| restarts.failed(at(seconds)).is_ok()));
        assert!(restarts.failed(at(60)).is_err(), "the first is at the edge of the window");
    }

    #[test]
    fn chance_parts_those_who_failed_together_and_the_seed_repeats_it() {
        let pause = |seed| Restarts::new(LIMITS, seed).failed(at(1)).unwrap();
        let pauses: std::collections::BTreeSet<Duration> = (0..20).map(pause).collect();
        assert_eq!(pauses.len(), 20);
        assert_eq!(pause(7), pause(7));
    }

    #[test]
    fn none_is_forgiven_if_none_is_to_be() {
        let mut restarts = Restarts::new(Limits { restarts: 0, ..LIMITS }, 1);
        assert_eq!(restarts.failed(at(1)), Err(1));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut restarts = Restarts::new(Limits { restarts: 1_000, ..LIMITS }, 1);
        assert!((0..1_000).all(|_| restarts.failed(at(1)).is_ok_and(|pause| pause <= LIMITS.most)));
    }
}
