//! Many cars at once, by all gates in turn.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::gate;
use crate::lot::{Lot, Refusal};
use crate::node::car;

/// So many cars wait for an answer at the same time.
const AT_ONCE: usize = 64;

/// What became of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rush {
    /// They came in.
    pub(crate) admitted: usize,
    /// They stay outside.
    pub(crate) refused: usize,
    /// Nobody knows, and why.
    pub(crate) unsure: Vec<String>,
    /// How long it took from driving up to the answer, sorted.
    pub(crate) waits: Vec<Duration>,
}

impl Rush {
    fn count(&mut self, outcome: Result<(), Refusal>, wait: Duration) {
        match outcome {
            Ok(()) => self.admitted += 1,
            Err(why @ Refusal::Unsure { .. }) => self.unsure.push(why.to_string()),
            Err(_) => self.refused += 1,
        }
        self.waits.push(wait);
    }
}

/// Brings so many cars to the gates of the lot, one each `every`, or as fast as they are served.
pub(crate) async fn rush(lot: Lot, cars: u32, every: Duration) -> Rush {
    let (mut rush, mut under_way) = (Rush::default(), JoinSet::new());
    let began = tokio::time::Instant::now();
    for number in 0..cars {
        tokio::time::sleep_until(began + every * number).await;
        if under_way.len() >= AT_ONCE
            && let Some(Ok((outcome, wait))) = under_way.join_next().await
        {
            rush.count(outcome, wait);
        }
        let lot = lot.clone();
        under_way.spawn(async move {
            let began = Instant::now();
            let car = car(&lot, 1 + number % lot.rules().gates);
            let plate = format!("{} {number}", lot.cluster().node());
            (gate::enter(&lot, &plate, car).await, began.elapsed())
        });
    }
    while let Some(ended) = under_way.join_next().await {
        if let Ok((outcome, wait)) = ended {
            rush.count(outcome, wait);
        }
    }
    rush.waits.sort();
    rush
}
