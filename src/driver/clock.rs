//! The only reader of the clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::{Instant, Now};

/// Tells the time to everything that is not allowed to ask. Cheap to clone; all clones of a clock agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// A clock whose monotone time starts now.
    pub fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Both clocks of this host.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is told")]
    pub fn now(&self) -> Now {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // A host whose clock stands before 1970 has worse problems than a stamp of zero.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { instant: Instant::from_nanos(nanos), wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// When the runtime's timer is to fire for an instant of this clock.
    pub(super) fn timer(&self, instant: Instant) -> tokio::time::Instant {
        self.start + instant.since(Instant::ZERO)
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
}
