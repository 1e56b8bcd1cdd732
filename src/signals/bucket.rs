//! How busy a node says it is where that weighs: a bucket that does not tremble.

use std::time::Duration;

use super::score::buckets;
use crate::time::Instant;

/// A bucket is left when the score is further than this from it.
const MARGIN: f64 = 1.0;

/// How long the score has to be out there, at every look.
const LASTING: Duration = Duration::from_secs(5);

/// Another bucket is told at most so often; in a cluster of more than twenty, once per half a second and member, so that all
/// of them together change the picture of the cluster at most twice a second.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_PER_MEMBER: Duration = Duration::from_millis(500);

/// The load of a node in buckets of a quarter each, with hysteresis: a member that changes its load costs everybody a new
/// agreement.
///
/// It follows the score only when that stayed outside for five seconds, and then no further than to where it was closest in
/// that time. So a value that trembles by less than a bucket changes it once, and a peak not at all. What is never busy stays
/// at 0.
#[derive(Debug, Default)]
pub struct LoadBucket {
    told: u8,
    changed: Option<Instant>,
    /// Since when the score has been above (or below) the bucket, and the closest to it that it came.
    out: Option<Excursion>,
}

#[derive(Debug, Clone, Copy)]
struct Excursion {
    above: bool,
    since: Instant,
    closest: f64,
}

impl LoadBucket {
    /// The bucket that was told last.
    pub fn told(&self) -> u8 {
        self.told
    }

    /// Takes in what the score is now, in a cluster of so many members. Returns the bucket if it is another one now.
    pub fn update(&mut self, now: Instant, score: f64, members: usize) -> Option<u8> {
        let (at, told) = (buckets(score).min(f64::from(u8::MAX)), f64::from(self.told));
        if (at - told).abs() <= MARGIN {
            self.out = None;
            return None;
        }
        let above = at > told;
        let out = self.out.filter(|out| out.above == above);
        let out = out.map_or(Excursion { above, since: now, closest: at }, |out| {
            let closest = if above { out.closest.min(at) } else { out.closest.max(at) };
            Excursion { closest, ..out }
        });
        self.out = Some(out);
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let pause = PAUSE.max(PAUSE_PER_MEMBER.saturating_mul(members));
        let rested = self.changed.is_none_or(|changed| now.since(changed) >= pause);
        if now.since(out.since) < LASTING || !rested {
            return None;
        }
        self.out = None;
        self.changed = Some(now);
        self.told = rounded(out.closest);
        Some(self.told)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255 by the clamp")]
fn rounded(bucket: f64) -> u8 {
    bucket.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bucket that is looked at once a second.
    #[derive(Default)]
    struct Clocked {
        bucket: LoadBucket,
        seconds: u64,
        changes: Vec<(u64, u8)>,
    }

    impl Clocked {
        /// Shows a score of so many buckets.
        fn show(&mut self, buckets: f64, members: usize) {
            let score = 0.1 * (1.25_f64.powf(buckets) - 1.0);
            let now = Instant::from_nanos(self.seconds * 1_000_000_000);
            if let Some(told) = self.bucket.update(now, score, members) {
                assert_eq!(told, self.bucket.told());
                self.changes.push((self.seconds, told));
            }
            self.seconds += 1;
        }
    }

    #[test]
    fn it_follows_what_lasts_and_not_a_peak() {
        let mut load = Clocked::default();
        (0..60).for_each(|_| load.show(0.0, 3));
        (0..4).for_each(|_| load.show(20.0, 3));
        load.show(0.0, 3);
        (0..100).for_each(|_| load.show(0.9, 3));
        assert_eq!(load.changes, []);
        (0..60).for_each(|_| load.show(8.2, 3));
        (0..60).for_each(|_| load.show(0.0, 3));
        assert_eq!(load.changes, [(170, 8), (230, 0)]);
    }

    #[test]
    fn it_changes_seldom_and_the_larger_the_cluster_the_more_so() {
        for (members, pause) in [(3, 10), (20, 10), (200, 100)] {
            let mut load = Clocked::default();
            // Up and down for good, six seconds each.
            (0..1_000).for_each(|second| load.show(if second / 6 % 2 == 0 { 0.0 } else { 30.0 }, members));
            assert!(load.changes.len() > 2);
            assert!(load.changes.windows(2).all(|pair| pair[1].0 - pair[0].0 >= pause), "{:?}", load.changes);
        }
    }

    proptest! {
        /// However it trembles about a value, by up to two buckets to each side: once there, it stays.
        #[test]
        fn noise_changes_it_a_few_times_at_most(
            middle in 0.0..60.0_f64,
            noise in prop::collection::vec(-2.0..2.0_f64, 600),
        ) {
            let mut load = Clocked::default();
            noise.iter().for_each(|by| load.show((middle + by).max(0.0), 5));
            prop_assert!(load.changes.len() <= 12, "{:?}", load.changes);
            let told = f64::from(load.bucket.told());
            prop_assert!(middle < 4.0 || (told - middle).abs() < 3.5, "{told} at {middle}");
        }
    }
}
