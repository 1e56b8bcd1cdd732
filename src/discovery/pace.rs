//! When to send the next beacon: every second while alone, sooner at first, and in company as often as keeps the group
//! heard.
//!
//! ```text
//!   alone        send ├ 50 ms ─▶ send ├ 100 ms ─▶ send ├ 200 ms ─▶ ... send ├ 1 s ─▶ send ...   whatever is heard
//!   in company   ├─ 4.5–6 s ──▶ send ├──── heard another: drawn anew ─ 4.5–6 s ──▶ send ...
//! ```
//!
//! A newcomer makes a cluster of its own soon after it hears of no member, so it is not to hang on one beacon that is
//! lost. A beacon in company is for groups that never met, and one of each group is enough: all who hear it draw anew, so
//! that a group of any size sends one in 4.5 to 6 s, of a member that chance picks. Suppressed as in RFC 6206 (Trickle)
//! with a redundancy constant of 1, but without growing intervals and without half of each that only listens: there the
//! beacons of a group cluster, and leave up to two intervals empty.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::time::Instant;

/// The timer of the beacons.
#[derive(Debug)]
pub(crate) struct Pace {
    alone: bool,
    due: Instant,
    /// The usual pause between beacons while alone, which doubles.
    pause: Duration,
}

impl Pace {
    /// The first pause between beacons while alone.
    pub(crate) const FIRST: Duration = Duration::from_millis(50);
    /// The longest usual pause between beacons while alone.
    pub(crate) const ALONE: Duration = Duration::from_secs(1);
    /// The longest pause between beacons of a group.
    pub(crate) const COMPANY: Duration = Duration::from_secs(6);

    /// The first beacon is due at once, also when not alone: no node heard of this one yet.
    pub(crate) fn start(now: Instant, alone: bool) -> Self {
        Self { alone, due: now, pause: Self::FIRST }
    }

    /// When [`Pace::fire`] is to be called next.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Another node of the cluster was heard. One that is alone speaks for no group.
    pub(crate) fn heard(&mut self, now: Instant, is_alone: bool, rng: &mut impl Rng) {
        if !self.alone && !is_alone {
            self.due = now + self.pause(rng);
        }
    }

    /// The node has become alone, or no longer is.
    pub(crate) fn set_alone(&mut self, now: Instant, alone: bool, rng: &mut impl Rng) {
        if std::mem::replace(&mut self.alone, alone) == alone {
            return;
        }
        // A whole group may have lost a node, or each other, at this moment.
        self.due = now + if alone { Duration::from_millis(rng.random_range(0..100)) } else { self.pause(rng) };
    }

    /// Whether this node is alone, as it was told last.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether to send a beacon now.
    pub(crate) fn fire(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        let due = self.due <= now;
        if due {
            self.due = now + self.pause(rng);
            self.pause = (self.pause * 2).min(Self::ALONE);
        }
        due
    }

    fn pause(&self, rng: &mut impl Rng) -> Duration {
        if self.alone {
            self.pause.mul_f64(rng.random_range(0.8..1.2))
        } else {
            Self::COMPANY.mul_f64(rng.random_range(0.75..1.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    /// When a group of so many sends beacons within five minutes, each of which all of it hear, in seconds.
    fn group(size: usize, seed: u64) -> Vec<(f64, usize)> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut paces: Vec<Pace> = (0..size).map(|_| Pace::start(Instant::ZERO, true)).collect();
        paces.iter_mut().for_each(|pace| pace.set_alone(Instant::ZERO, false, &mut rng));
        let mut sent = Vec::new();
        loop {
            let (next, due) = paces.iter().map(Pace::due).enumerate().min_by_key(|(_, due)| *due).unwrap();
            if due > Instant::ZERO + Duration::from_secs(300) {
                return sent;
            }
            assert!(paces[next].fire(due, &mut rng));
            sent.push((due.since(Instant::ZERO).as_secs_f64(), next));
            for (_, other) in paces.iter_mut().enumerate().filter(|(at, _)| *at != next) {
                other.heard(due, false, &mut rng);
            }
        }
    }

    #[test]
    fn alone_it_calls_at_once_and_soon_and_then_every_second_whatever_it_hears() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut pace = Pace::start(Instant::ZERO, true);
        let mut last: Option<Instant> = None;
        for usual in [0, 50, 100, 200, 400, 800].into_iter().chain([1_000; 60]) {
            let due = pace.due();
            pace.heard(due, false, &mut rng);
            assert_eq!(pace.due(), due);
            assert!(pace.fire(due, &mut rng) && !pace.fire(due, &mut rng));
            if let Some(last) = last.replace(due) {
                assert!((usual * 8..=usual * 12).contains(&(due.since(last).as_millis() * 10)));
            }
        }
    }

    #[test]
    fn a_group_of_any_size_is_heard_as_often_and_no_longer_silent_than_stated() {
        for size in [1, 2, 3, 17, 100] {
            let sent = group(size, size as u64);
            let rate = usize::try_from(300 / Pace::COMPANY.as_secs()).unwrap();
            assert!((rate..=rate * 4 / 3 + 1).contains(&sent.len()), "{size}: {} beacons", sent.len());
            let longest = sent.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(sent[0].0, f64::max);
            assert!(longest <= Pace::COMPANY.as_secs_f64(), "{size}: silent for {longest} s");
            let senders: std::collections::BTreeSet<_> = sent.iter().map(|(_, sender)| sender).collect();
            assert!(senders.len() >= size.min(20), "{size}: only {senders:?} were heard");
        }
    }

    #[test]
    fn those_that_are_alone_speak_for_no_group() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut pace = Pace::start(Instant::ZERO, false);
        let due = pace.due();
        pace.heard(due, true, &mut rng);
        assert_eq!(pace.due(), due);
    }

    #[test]
    fn becoming_alone_makes_it_call_soon() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut pace = Pace::start(Instant::ZERO, false);
        pace.fire(Instant::ZERO, &mut rng);
        let lost = Instant::ZERO + Duration::from_secs(2);
        pace.set_alone(lost, true, &mut rng);
        assert!(pace.due().since(lost) < Duration::from_millis(100));
    }
}
