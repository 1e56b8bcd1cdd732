//! When to send the next beacon: every second while alone, after RFC 6206 (Trickle) otherwise.
//!
//! ```text
//!            interval (1 s, 2 s, 4 s … 32 s)
//!   ├──────────────────┬──────────▲───────┤
//!   start           half    send here, unless
//!                           enough others were heard since start
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::id::ReplicaId;

/// The timer of the beacons.
#[derive(Debug)]
pub(super) struct Pace {
    alone: bool,
    interval: Duration,
    /// When to send in this interval; `None` once that is over.
    send: Option<Instant>,
    ends: Instant,
    /// Who was heard in this interval, at most [`Pace::ENOUGH`] of them.
    heard: BTreeSet<ReplicaId>,
}

impl Pace {
    /// The shortest interval, Imin of the RFC, and the pause between beacons while alone.
    pub(super) const SHORTEST: Duration = Duration::from_secs(1);
    /// The longest interval, Imax of the RFC.
    pub(super) const LONGEST: Duration = Duration::from_secs(32);
    /// So many others heard make the own beacon superfluous, k of the RFC. Several, since each of them may be the one
    /// whom a newcomer's network hides.
    pub(super) const ENOUGH: usize = 3;

    /// The first beacon is due at once, also when not alone: nobody heard of this node yet.
    pub(super) fn start(now: Instant, alone: bool) -> Self {
        Self { alone, interval: Self::SHORTEST, send: Some(now), ends: now + Self::SHORTEST, heard: BTreeSet::new() }
    }

    /// When [`Pace::fire`] is to be called next.
    pub(super) fn due(&self) -> Instant {
        self.send.unwrap_or(self.ends)
    }

    /// Another node of the cluster was heard.
    pub(super) fn heard(&mut self, replica: ReplicaId) {
        if self.heard.len() < Self::ENOUGH {
            self.heard.insert(replica);
        }
    }

    /// The node has become alone, or no longer is.
    pub(super) fn set_alone(&mut self, now: Instant, alone: bool, rng: &mut SmallRng) {
        if self.alone == alone {
            return;
        }
        self.alone = alone;
        self.interval = Self::SHORTEST;
        self.begin(now, rng);
        if alone {
            // Whoever was in the interval's first half need not wait for its second.
            self.send = Some(now + Duration::from_millis(rng.random_range(0..100)));
        }
    }

    /// The time of `due` has come: whether to send a beacon now.
    pub(super) fn fire(&mut self, now: Instant, rng: &mut SmallRng) -> bool {
        match self.send {
            Some(at) if at <= now => {
                let send = self.alone || self.heard.len() < Self::ENOUGH;
                if self.alone {
                    self.heard.clear();
                    self.send = Some(now + Self::SHORTEST.mul_f64(rng.random_range(0.8..1.2)));
                } else {
                    self.send = None;
                }
                send
            }
            None if self.ends <= now => {
                self.interval = (self.interval * 2).min(Self::LONGEST);
                self.begin(now, rng);
                false
            }
            _ => false,
        }
    }

    fn begin(&mut self, now: Instant, rng: &mut SmallRng) {
        self.heard.clear();
        self.send = Some(now + self.interval.mul_f64(rng.random_range(0.5..1.0)));
        self.ends = now + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// The seconds after the start at which beacons were sent, while `others` are heard all the time.
    fn sent(pace: &mut Pace, start: Instant, until: u64, others: u64, rng: &mut SmallRng) -> Vec<f64> {
        let mut sent = Vec::new();
        while pace.due() < start + Duration::from_secs(until) {
            let now = pace.due();
            for other in 0..others {
                pace.heard(ReplicaId(other));
            }
            if pace.fire(now, rng) {
                sent.push((now - start).as_secs_f64());
            }
        }
        sent
    }

    #[test]
    fn alone_it_calls_at_once_and_then_every_second_whatever_it_hears() {
        let (start, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let sent = sent(&mut Pace::start(start, true), start, 60, 9, &mut rng);
        assert_eq!(sent[0], 0.0);
        assert!(sent.windows(2).all(|pair| (0.8..1.2001).contains(&(pair[1] - pair[0]))), "{sent:?}");
    }

    #[test]
    fn in_company_it_calls_ever_less_often_and_not_at_all_when_enough_others_do() {
        let (start, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let few = sent(&mut Pace::start(start, false), start, 320, 2, &mut rng);
        assert!((13..=16).contains(&few.len()), "{few:?}");
        let enough = sent(&mut Pace::start(start, false), start, 320, 3, &mut rng);
        assert_eq!(enough, [] as [f64; 0]);
    }

    #[test]
    fn becoming_alone_resets_it() {
        let (start, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let mut pace = Pace::start(start, false);
        sent(&mut pace, start, 100, 3, &mut rng);
        let lost = start + Duration::from_secs(100);
        pace.set_alone(lost, true, &mut rng);
        let again = sent(&mut pace, lost, 5, 0, &mut rng);
        assert!(again.len() >= 4 && again[0] < 0.1, "{again:?}");
    }
}
