//! *Internal.*
//! The engine's hands: sockets, streams, the clock, role tasks.
//!
//! In come bytes, addresses that discovery found, the application's commands; out go bytes, statuses, events and
//! replies. The driver knows how to carry things out and never why: no decision about members, tables or roles is
//! taken here. See `event_loop` for the picture.
//!
//! A [`Driver`] is a running node. Dropping it stops the node like a crash would: sockets and streams close, role tasks
//! are dropped at their next await. To leave in order, give
//! [`Command::Leave`](crate::engine::Command::Leave); when its last reply comes, everything is closed already.

mod bind;
pub(crate) mod clock;
mod command;
mod counts;
mod datagrams;
mod discover;
mod event_loop;
pub(crate) mod face;
pub(crate) mod guard;
mod latest;
pub(crate) mod machine;
mod mail;
mod role_line;
pub(crate) mod role_task;
mod stream;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

pub use bind::{BindConfig, BindError, Bound, bind};
pub use clock::Clock;
pub use command::{Commander, Gone, Requests};
pub use counts::Counts;
pub use latest::{Latest, Reader};
use machine::{Machine, Outbox};
pub use mail::{Mail, NotTaken, Recipient};
pub use role_line::{Coming, RoleLine};
pub use role_task::{RoleFuture, RoleRunner};
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub use stream::cut_frames;

use crate::discovery::{BeaconConfig, BeaconCounts, Strategy};
use crate::engine::{Event, Status};

/// What a node runs with.
pub struct RunConfig<M> {
    /// The engine.
    pub engine: M,
    /// The store that the engine shares with the application.
    pub store: Arc<dyn Outbox>,
    /// The clock that the application's writes are stamped with too.
    pub clock: Clock,
    /// The name of the cluster.
    pub cluster: String,
    /// How to find others, besides broadcast.
    pub strategies: Vec<Box<dyn Strategy>>,
    /// Broadcast on the subnet; `None` to do without.
    pub beacon: Option<BeaconConfig>,
    /// What builds the tasks of roles.
    pub runner: Box<dyn RoleRunner>,
    /// How long a role may take to end when it is asked to; longer, and it is dropped. Too short cuts off a role that
    /// saves its state; as long as it lasts, its successor waits.
    pub stop_grace: Duration,
}

impl<M> RunConfig<M> {
    /// What [`RunConfig::stop_grace`] is unless configured.
    pub const STOP_GRACE: Duration = Duration::from_secs(5);
}

/// A running node. Dropping it stops the node at once, as a crash would.
#[derive(Debug)]
pub struct Driver {
    status: Reader<Arc<Status>>,
    events: broadcast::WeakSender<Event>,
    commander: Commander,
    mail: Arc<Mail>,
    counts: Arc<Counts>,
    beacons: Arc<BeaconCounts>,
    _life: Box<dyn face::Life>,
}

impl Driver {
    /// What the node sees. It closes when the node is gone.
    pub fn status(&self) -> Reader<Arc<Status>> {
        self.status.clone()
    }

    /// What happens from now on. A receiver that falls behind by more than 1,024 events is told how many it missed;
    /// the channel closes when the node is gone.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            // Gone: a channel that is closed already.
            None => broadcast::channel(1).1,
        }
    }

    /// Gives commands to the node, without keeping it alive.
    pub fn commander(&self) -> Commander {
        self.commander.clone()
    }

    /// The letters of this node, without keeping it alive.
    pub fn mail(&self) -> Arc<Mail> {
        Arc::clone(&self.mail)
    }

    /// What was dropped or went wrong on the way.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What became of beacons.
    pub fn beacon_counts(&self) -> &BeaconCounts {
        &self.beacons
    }
}
