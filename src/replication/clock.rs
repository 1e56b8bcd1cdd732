//! How far the members' clocks are apart, and how long a datagram takes.

use std::time::Duration;

use crate::time::{Instant, Now};

/// What is known of one peer's clock and distance, from its answers to timestamped digests.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerClock {
    round_trip: Option<Duration>,
    offset_ms: Option<i64>,
}

/// An answer that took longer says nothing about the clock: it may be wrong by half the round trip, and a stamp that is
/// 500 ms ahead is suspect already.
const SLOWEST: Duration = Duration::from_millis(500);

impl PeerClock {
    /// Takes an answer: when the question left, by our monotone clock, and what the peer's wall clock said in between.
    ///
    /// The offset is Cristian's estimate (the peer read its clock half a round trip ago); an answer that took longer
    /// than twice the usual, or very long, says little about the clock and moves only the round trip.
    pub fn answer(&mut self, now: Now, asked: Instant, peer_wall_ms: u64) {
        let round_trip = now.instant.since(asked);
        let half_ms = u64::try_from(round_trip.as_millis() / 2).unwrap_or(u64::MAX);
        let usual = self.round_trip.unwrap_or(round_trip);
        if round_trip <= usual * 2 && round_trip <= SLOWEST {
            let there_now = peer_wall_ms.saturating_add(half_ms);
            self.offset_ms = Some(there_now.wrapping_sub(now.wall_ms).cast_signed());
        }
        // The smoothing of RFC 6298, section 2.
        self.round_trip = Some((usual * 7 + round_trip) / 8);
    }

    /// Our wall clock was set by so many milliseconds: the peer's stands where it stood.
    pub fn stepped(&mut self, stepped_ms: i64) {
        self.offset_ms = self.offset_ms.map(|offset| offset.saturating_sub(stepped_ms));
    }

    /// The smoothed round trip, once known.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The peer's wall clock minus ours, in milliseconds; `None` before the first answer that tells.
    pub fn offset_ms(&self) -> Option<i64> {
        self.offset_ms
    }
}

/// The median of the peers' offsets and our own, which is 0. Of two middle ones the lower, so that two nodes that
/// disagree both follow the slower clock.
pub fn median_offset_ms(peers: impl Iterator<Item = i64>) -> i64 {
    let mut offsets: Vec<i64> = peers.chain([0]).collect();
    let middle = (offsets.len() - 1) / 2;
    *offsets.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_clock_among_three_moves_nobody_else() {
        let hour = 3_600_000;
        assert_eq!(median_offset_ms([0, hour].into_iter()), 0);
        assert_eq!(median_offset_ms([-hour, -hour].into_iter()), -hour, "the wrong one follows the others");
        assert_eq!(median_offset_ms([500].into_iter()), 0);
        assert_eq!(median_offset_ms([-500].into_iter()), -500);
    }

    #[test]
    fn an_answer_tells_distance_and_offset() {
        let mut clock = PeerClock::default();
        let now = Now { instant: Instant::from_nanos(30_000_000), wall_ms: 10_030 };
        clock.answer(now, Instant::from_nanos(10_000_000), 10_520);
        assert_eq!(clock.round_trip(), Some(Duration::from_millis(20)));
        assert_eq!(clock.offset_ms(), Some(500));
    }

    /// A link whose queue was full made a node stamp 1.4 s ahead of everybody.
    #[test]
    fn an_answer_that_took_long_tells_nothing_of_the_clock() {
        let mut clock = PeerClock::default();
        let at = |ms: u64| Now { instant: Instant::from_nanos(ms * 1_000_000), wall_ms: 10_000 + ms };
        clock.answer(at(3_000), Instant::ZERO, 10_000);
        assert_eq!((clock.round_trip(), clock.offset_ms()), (Some(Duration::from_secs(3)), None));
        clock.answer(at(4_000), at(3_990).instant, 13_995);
        assert_eq!(clock.offset_ms(), Some(0));
        clock.answer(at(9_000), at(6_000).instant, 16_000);
        assert_eq!(clock.offset_ms(), Some(0));
    }
}
