//! The task that measures, one measurement after the other, on a thread where it may block.

use std::sync::Arc;

use super::{Monitor, MonitorConfig};
use crate::driver::{Clock, Reader};
use crate::signals::Board;

/// What measuring needs of its node.
#[cfg_attr(not(feature = "monitor"), allow(dead_code, reason = "nothing is measured"))]
pub(in crate::cluster) struct Setup {
    pub(in crate::cluster) config: MonitorConfig,
    pub(in crate::cluster) monitor: Arc<Monitor>,
    pub(in crate::cluster) board: Arc<Board>,
    pub(in crate::cluster) clock: Clock,
    /// Turns true when the node stops, which ends the task.
    pub(in crate::cluster) gone: Reader<bool>,
}

/// Measures from now on until the node stops, if that is wanted.
#[cfg(feature = "monitor")]
pub(in crate::cluster) fn start(setup: Setup) {
    if setup.config.enabled {
        measuring::spawn(setup, super::probe::Probe::of_this_host);
    }
}

/// Nothing is measured without the feature `monitor`.
#[cfg(not(feature = "monitor"))]
pub(in crate::cluster) fn start(setup: Setup) {
    if setup.config.enabled {
        tracing::debug!("this crate was built without its feature `monitor`: CPU and memory are not looked at");
    }
}

#[cfg(any(test, feature = "monitor"))]
pub(super) mod measuring {
    use std::time::Duration;

    use super::*;
    use crate::cluster::monitor::Usage;
    use crate::signals::{Gauge, SignalKind, Spec};
    use crate::time::Instant;

    /// After how long there is something to know of the CPU: its use is a difference between two readings.
    const FIRST: Duration = Duration::from_secs(1);

    /// Something that can be measured. It may block for as long as it takes to read a few files of the kernel.
    pub(in super::super) trait Measure: Send + 'static {
        /// Percentages of CPU and memory; nothing the first time, from which the next ones are reckoned.
        fn measure(&mut self, now: Instant) -> Option<(f64, f64)>;
    }

    /// Where measurements go.
    struct Sink {
        monitor: Arc<Monitor>,
        gauges: Vec<Arc<Gauge>>,
        clock: Clock,
    }

    impl Sink {
        fn take(&self, measure: &mut impl Measure) {
            let now = self.clock.now();
            let Some((cpu, memory)) = measure.measure(now.instant) else { return };
            for (gauge, percent) in self.gauges.iter().zip([cpu, memory]) {
                if let Err(why) = gauge.set(percent) {
                    tracing::debug!(%why, "a measurement of this host makes no sense and is passed over");
                    return;
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "seven digits are plenty for a percentage")]
            let [cpu_percent, memory_percent] = [cpu, memory].map(|percent| percent as f32);
            self.monitor.record(Usage { wall_ms: now.wall_ms, cpu_percent, memory_percent });
        }
    }

    /// Lets a task measure. Each measurement runs on a thread for what blocks; as long as one has not ended there is no next.
    pub(super) fn spawn<M: Measure>(setup: Setup, make: impl FnOnce() -> M + Send + 'static) {
        let Setup { config, monitor, board, clock, gone } = setup;
        let built_in = [("cpu", config.cpu_weight), ("memory", config.memory_weight)];
        let specs = built_in.map(|(name, weight)| Spec::built_in(name, SignalKind::Percent, weight));
        // Nobody else can have these names.
        let gauges = board.register(&specs).unwrap_or_default();
        let sink = Arc::new(Sink { monitor, gauges, clock });
        let interval = Duration::from_millis(config.interval_ms);
        let measure = async move {
            let mut measure = tokio::task::spawn_blocking(make).await?;
            let mut pause = FIRST.min(interval);
            loop {
                let sink = Arc::clone(&sink);
                let measured = tokio::task::spawn_blocking(move || {
                    sink.take(&mut measure);
                    measure
                });
                measure = measured.await?;
                tokio::time::sleep(pause).await;
                pause = interval;
            }
        };
        tokio::spawn(async move {
            let ended: Result<(), tokio::task::JoinError> = tokio::select! {
                biased;
                _ = gone.wait_for(|gone| *gone) => Ok(()),
                ended = measure => ended,
            };
            if let Err(why) = ended {
                tracing::warn!(%why, "the hardware monitor ended; this node goes on with what it measured last");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::measuring::{Measure, spawn};
    use super::*;
    use crate::driver::Latest;
    use crate::time::Instant;

    /// Finds more each time.
    struct Rising(Arc<AtomicU32>);

    impl Measure for Rising {
        fn measure(&mut self, _: Instant) -> Option<(f64, f64)> {
            let times = self.0.fetch_add(1, Ordering::SeqCst);
            assert!(times < 5, "worn out");
            (times > 0).then(|| (f64::from(times), 50.0))
        }
    }

    struct Stage {
        monitor: Arc<Monitor>,
        board: Arc<Board>,
        times: Arc<AtomicU32>,
        gone: Latest<bool>,
    }

    fn measure() -> Stage {
        let (gone, times) = (Latest::new(false), Arc::<AtomicU32>::default());
        let (monitor, board) = (Arc::new(Monitor::new(100)), Arc::<Board>::default());
        let config = MonitorConfig { interval_ms: 30_000, cpu_weight: 2.0, ..MonitorConfig::default() };
        let setup = Setup {
            config,
            monitor: Arc::clone(&monitor),
            board: Arc::clone(&board),
            clock: Clock::start(),
            gone: gone.reader(),
        };
        let rising = Rising(Arc::clone(&times));
        spawn(setup, move || rising);
        Stage { monitor, board, times, gone }
    }

    #[tokio::test(start_paused = true)]
    async fn it_measures_at_once_after_a_second_and_then_at_each_interval() {
        let stage = measure();
        let begin = tokio::time::Instant::now();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((stage.times.load(Ordering::SeqCst), stage.monitor.lock().last), (1, None));
        assert!(stage.board.parts().is_empty(), "nothing is known yet");
        tokio::time::sleep_until(begin + Duration::from_millis(1_500)).await;
        let last = stage.monitor.lock().last.unwrap();
        assert_eq!((last.cpu_percent, last.memory_percent), (1.0, 50.0));
        let parts = stage.board.parts();
        assert_eq!((&*parts[0].name, parts[0].weight, parts[0].value), ("cpu", 2.0, 1.0));
        assert_eq!((&*parts[1].name, parts[1].weight, parts[1].value), ("memory", 1.0, 50.0));
        tokio::time::sleep_until(begin + Duration::from_millis(62_000)).await;
        assert_eq!(stage.times.load(Ordering::SeqCst), 4);
        assert_eq!(stage.monitor.lock().history.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_its_node() {
        let stage = measure();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        stage.gone.set(true);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(stage.times.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_the_measuring_and_nothing_else() {
        let stage = measure();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(stage.monitor.lock().history.len(), 4);
        assert_eq!(stage.board.parts()[0].value, 4.0, "what was measured last still counts");
    }
}
