//! *Internal.*
//! Time as data: the engine never asks what time it is, it is told.
//!
//! [`Instant`] is monotone and drives timers. [`Stamp`] is a reading of the hybrid logical clock (Kulkarni et al.,
//! "Logical Physical Clocks", 2014): wall-clock milliseconds with a counter below them, so that it follows real time
//! and still moves strictly upwards over everything that was seen.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Monotone time in nanoseconds since some start that only this process knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The start of time.
    pub const ZERO: Self = Self(0);

    /// `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Both clocks of this host at one moment, as the driver read them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Now {
    /// The monotone clock.
    pub instant: Instant,
    /// The wall clock: milliseconds since the Unix epoch, as wrong as this host's clock is.
    pub wall_ms: u64,
}

impl Now {
    /// By how many milliseconds the wall clock was set since `earlier`: what it moved beyond what time passed. A clock
    /// that is only slewed, as NTP does it, stays below 250 ms and counts as not set.
    pub fn stepped_ms(self, earlier: Self) -> Option<i64> {
        let passed = u64::try_from(self.instant.since(earlier.instant).as_millis()).unwrap_or(u64::MAX);
        let expected = earlier.wall_ms.saturating_add(passed);
        let stepped = self.wall_ms.wrapping_sub(expected).cast_signed();
        (self.instant >= earlier.instant && stepped.unsigned_abs() > MAX_SLEW_MS).then_some(stepped)
    }
}

/// So much a wall clock may stray from the monotone one between two readings without having been set.
const MAX_SLEW_MS: u64 = 250;

/// A reading of the hybrid logical clock: milliseconds since the Unix epoch times 2^16, plus a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    const COUNTER_BITS: u32 = 16;

    /// The first stamp of a millisecond.
    pub const fn from_millis(wall_ms: u64) -> Self {
        Self(wall_ms << Self::COUNTER_BITS)
    }

    /// The millisecond that this stamp lies in.
    pub const fn as_millis(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    /// The next stamp.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.as_millis(), self.0 & ((1 << Self::COUNTER_BITS) - 1))
    }
}

/// The hybrid logical clock of one replica.
///
/// It is drawn from *estimated* time: this host's wall clock plus an offset towards the median of the members' clocks,
/// so that one host whose clock is an hour ahead does not win every conflict.
#[derive(Clone, Debug, Default)]
pub struct HybridClock {
    last: Stamp,
    offset_ms: i64,
    /// When the clocks were read last.
    read: Option<Now>,
}

/// How far ahead of estimated time a foreign stamp may be and still advance the local clock.
pub const MAX_DRIFT: Duration = Duration::from_millis(500);

impl HybridClock {
    /// Estimated time: the wall clock corrected by the offset to the median of the members.
    pub fn estimated(&self, now: Now) -> Stamp {
        Stamp::from_millis(now.wall_ms.saturating_add_signed(self.offset_ms))
    }

    /// Goes on as before where the wall clock was set meanwhile, until the offset is measured anew: time passed as it did.
    fn read(&mut self, now: Now) {
        if let Some(stepped) = self.read.and_then(|before| now.stepped_ms(before)) {
            self.offset_ms = self.offset_ms.saturating_sub(stepped);
        }
        self.read = Some(now);
    }

    /// Draws a stamp above every stamp drawn or observed before.
    pub fn tick(&mut self, now: Now) -> Stamp {
        self.read(now);
        self.last = self.last.next().max(self.estimated(now));
        self.last
    }

    /// Takes a foreign stamp into account, unless it is more than [`MAX_DRIFT`] ahead of estimated time; then it
    /// returns by how much it is ahead and the local clock stays where it is, so that no bad clock wins for ever.
    pub fn observe(&mut self, now: Now, stamp: Stamp) -> Result<(), Duration> {
        self.read(now);
        let ahead = Duration::from_millis(stamp.as_millis().saturating_sub(self.estimated(now).as_millis()));
        if ahead > MAX_DRIFT {
            return Err(ahead);
        }
        self.last = self.last.max(stamp);
        Ok(())
    }

    /// Draws nothing below `floor` from now on.
    pub fn raise(&mut self, floor: Stamp) {
        self.last = self.last.max(floor);
    }

    /// The last stamp drawn or observed.
    pub fn last(&self) -> Stamp {
        self.last
    }

    /// The correction of the wall clock, in milliseconds.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Sets the correction of the wall clock as it stands now. Stamps stay monotone whatever it is.
    pub fn set_offset_ms(&mut self, now: Now, offset_ms: i64) {
        self.read = Some(now);
        self.offset_ms = offset_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: u64) -> Now {
        Now { instant: Instant::ZERO, wall_ms }
    }

    #[test]
    fn stamps_rise_while_the_wall_clock_steps_back() {
        let mut clock = HybridClock::default();
        let stamps: Vec<_> = [5_000, 5_000, 1_000, 5_001, 0].into_iter().map(|ms| clock.tick(at(ms))).collect();
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
        clock.set_offset_ms(at(0), -4_000);
        assert!(clock.tick(at(5_000)) > stamps[4]);
    }

    #[test]
    fn a_clock_that_is_set_while_it_runs_changes_no_stamp() {
        let mut clock = HybridClock::default();
        let read = |seconds: u64, wall_ms| Now { instant: Instant::from_nanos(seconds * 1_000_000_000), wall_ms };
        clock.tick(read(10, 100_000));
        for (seconds, wall_ms) in [(11, 161_000), (12, 162_000), (13, 3_000), (14, 4_100)] {
            let stamp = clock.tick(read(seconds, wall_ms)).as_millis();
            assert!(stamp.abs_diff(90_000 + seconds * 1_000) <= 100, "{stamp} after {seconds} s");
        }
        clock.set_offset_ms(read(15, 5_000), 0);
        assert_eq!(clock.estimated(read(16, 6_000)), Stamp::from_millis(6_000), "measured anew");
    }

    #[test]
    fn a_stamp_from_the_far_future_does_not_move_the_clock() {
        let mut clock = HybridClock::default();
        clock.tick(at(1_000));
        assert_eq!(clock.observe(at(1_000), Stamp::from_millis(1_400)), Ok(()));
        assert_eq!(clock.last(), Stamp::from_millis(1_400));
        let hour = Stamp::from_millis(3_601_000);
        assert_eq!(clock.observe(at(1_000), hour), Err(Duration::from_secs(3_600)));
        assert!(clock.tick(at(1_001)) < hour);
    }
}
