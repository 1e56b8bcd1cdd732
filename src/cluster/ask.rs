//! Asking the engine for something that takes a while.

use std::time::Duration;

use super::handle::Cluster;
use crate::driver::Gone;
use crate::engine::{Command, Reply};

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The node is gone.
    Gone,
    /// Time is over; and what stood in the way last.
    Timeout { why: String },
}

impl Cluster {
    /// Gives the command and waits for the reply of which `answer` makes something. A reply that says what it waits for is
    /// remembered; any other means that the node is gone. Cancel safe.
    pub(super) async fn ask<R>(
        &self,
        timeout: Duration,
        command: impl FnOnce(u64) -> Command,
        answer: impl Fn(Reply) -> Option<R>,
    ) -> Result<R, Unanswered> {
        let mut why = None;
        let gone = self.node.local.gone();
        let wait = async {
            let mut replies = self.node.commander.request(command).await.map_err(|Gone| Unanswered::Gone)?;
            loop {
                let reply = tokio::select! {
                    biased;
                    reply = replies.next() => reply,
                    _ = gone.wait_for(|gone| *gone) => None,
                };
                match reply {
                    Some(Reply::Waiting(now)) => why = Some(now),
                    Some(reply) => return answer(reply).ok_or(Unanswered::Gone),
                    None => return Err(Unanswered::Gone),
                }
            }
        };
        let outcome = tokio::time::timeout(timeout, wait).await;
        outcome.unwrap_or_else(|_| {
            let why = why.unwrap_or_else(|| format!("{} itself does not answer", self.node()));
            Err(Unanswered::Timeout { why })
        })
    }
}
