//! Keeping strategies running: discovery never stops and is never fatal.

use std::time::Duration;

use tokio::time::Instant;

use super::guard::caught;
use crate::discovery::{Context, Strategy};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// Runs a strategy for ever: when it ends or panics, it is run again after a delay that doubles from 100 ms to 30 s, and
/// starts over once it ran for a minute.
pub(super) async fn supervise(mut strategy: Box<dyn Strategy>, context: Context) {
    let mut delay = SHORTEST;
    loop {
        let started = Instant::now();
        // Inside an async block, so that a panic of `run` itself is caught too.
        let ended = caught(async { strategy.run(context.clone()).await }).await;
        let why = ended.err().unwrap_or_else(|| "it returned".to_owned());
        if started.elapsed() > LONGEST * 2 {
            delay = SHORTEST;
        }
        let strategy = strategy.name();
        tracing::warn!(strategy, why, ?delay, "a discovery strategy ended; it is started again");
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::discovery::Run;

    /// Finds one address per run, and ends each time in another way.
    struct Fickle {
        runs: u16,
    }

    impl Strategy for Fickle {
        fn name(&self) -> &str {
            "fickle"
        }

        fn run(&mut self, context: Context) -> Run<'_> {
            self.runs += 1;
            assert_ne!(self.runs, 2, "panics before it runs");
            Box::pin(async move {
                context.found(SocketAddr::from(([127, 0, 0, 1], self.runs))).await;
                assert_ne!(self.runs, 3, "panics while it runs");
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_strategy_that_ends_or_panics_is_run_again_ever_later() {
        let (sender, mut found) = mpsc::channel(16);
        let (_alone, is_alone) = watch::channel(true);
        let context = Context::new(SocketAddr::from(([127, 0, 0, 1], 99)), sender, is_alone);
        let task = tokio::spawn(supervise(Box::new(Fickle { runs: 0 }), context));
        let mut last = Instant::now();
        for (port, delay) in [(1, 0), (3, 300), (4, 400), (5, 800)] {
            assert_eq!(found.recv().await.unwrap().port(), port);
            assert_eq!(last.elapsed().as_millis(), delay);
            last = Instant::now();
        }
        task.abort();
    }
}
