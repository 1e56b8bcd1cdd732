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
