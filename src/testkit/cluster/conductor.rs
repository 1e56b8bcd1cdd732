//! The one task that lets a simulation run on tokio's clock.
//!
//! ```text
//!   tokio's clock ── now ──▶ simulation runs up to now ──▶ applications are woken
//!        ▲                        ▲                              │ orders, writes, role tasks that end
//!        └── sleeps until the next event, or is woken by ────────┘
//! ```
//!
//! tokio's timers fire at whole milliseconds. Within a millisecond the simulation goes through its events one by one, at
//! their own nanoseconds; what applications do about them is told at the end of that millisecond.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::stage::Shared;
use crate::driver::guard::caught;

/// Runs until it is dropped, or until the simulation panics.
pub(super) async fn conduct(shared: Arc<Shared>) {
    let mut sleep = pin!(tokio::time::sleep_until(tokio::time::Instant::now()));
    let run = poll_fn(|context| -> Poll<()> {
        while let Some(next) = shared.conduct(context) {
            sleep.as_mut().reset(next);
            if sleep.as_mut().poll(context).is_pending() {
                break;
            }
        }
        Poll::Pending
    });
    if let Err(why) = caught(run).await {
        shared.give_up(why);
    }
}
