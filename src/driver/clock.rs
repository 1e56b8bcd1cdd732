//! The only reader of the clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::{Instant, Now};

/// Tells the time to everything that is not allowed to ask. Cheap to clone; all clones of a clock agree.
#[derive(Clone, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
    wall: Wall,
}

/// Where the time of day comes from.
#[derive(Clone, Debug)]
enum Wall {
    Host,
    #[cfg(feature = "testkit")]
    Simulated(SimulatedWall),
}

impl Clock {
    /// A clock whose monotone time starts now.
    pub fn start() -> Self {
        Self { start: tokio::time::Instant::now(), wall: Wall::Host }
    }

    /// The clock of a process on a simulated host: monotone time since its `start` by tokio's clock, which tests pause,
    /// and the host's time of day.
    #[cfg(feature = "testkit")]
    pub(crate) fn simulated(start: tokio::time::Instant, wall: SimulatedWall) -> Self {
        Self { start, wall: Wall::Simulated(wall) }
    }

    /// Both clocks of this host.
    pub fn now(&self) -> Now {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let instant = Instant::from_nanos(nanos);
        Now { instant, wall_ms: self.wall.ms() }
    }

    /// When the runtime's timer is to fire for an instant of this clock.
    pub(super) fn timer(&self, instant: Instant) -> tokio::time::Instant {
        self.start + instant.since(Instant::ZERO)
    }
}

impl Wall {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is told")]
    fn ms(&self) -> u64 {
        match self {
            Self::Host => {
                // A host whose clock stands before 1970 has worse problems than a stamp of zero.
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
            }
            #[cfg(feature = "testkit")]
            Self::Simulated(wall) => wall.ms(),
        }
    }
}

/// A time of day that stood at a given moment at `begin` and runs with tokio's clock, ahead or behind by what tests set.
#[cfg(feature = "testkit")]
#[derive(Clone, Debug)]
pub(crate) struct SimulatedWall {
    begin: tokio::time::Instant,
    begin_ms: u64,
    skew_ms: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

#[cfg(feature = "testkit")]
impl SimulatedWall {
    pub(crate) fn new(begin: tokio::time::Instant, begin_ms: u64) -> Self {
        Self { begin, begin_ms, skew_ms: std::sync::Arc::default() }
    }

    /// Sets how far it is ahead of true time, or behind.
    pub(crate) fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, std::sync::atomic::Ordering::Relaxed);
    }

    fn ms(&self) -> u64 {
        let elapsed = self.begin.elapsed().as_millis();
        let true_ms = self.begin_ms.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        true_ms.saturating_add_signed(self.skew_ms.load(std::sync::atomic::Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timer_of_an_instant_fires_at_that_instant() {
        let clock = Clock::start();
        let wanted = clock.now().instant + Duration::from_millis(1_500);
        tokio::time::sleep_until(clock.timer(wanted)).await;
        assert_eq!(clock.now().instant, wanted);
        assert!(clock.now().wall_ms > 1_500_000_000_000);
    }

    #[cfg(feature = "testkit")]
    #[tokio::test(start_paused = true)]
    async fn a_simulated_time_of_day_is_the_hosts_and_monotone_time_the_processs() {
        let wall = SimulatedWall::new(tokio::time::Instant::now(), 1_000);
        wall.set_skew_ms(-200);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let clock = Clock::simulated(tokio::time::Instant::now(), wall.clone());
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(clock.now(), Now { instant: Instant::from_nanos(30_000_000), wall_ms: 850 });
        wall.set_skew_ms(7);
        assert_eq!(clock.now().wall_ms, 1_057);
        wall.set_skew_ms(-5_000);
        assert_eq!(clock.now().wall_ms, 0);
    }
}
