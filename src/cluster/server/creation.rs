//! On which node a new table is created.
//!
//! ```text
//!   ready ─▶ one server of this node at a time ─▶ in line ─▶ first ─▶ all hold the same ─▶ still first ─▶ Right
//!                                       │            ▲ │                     │                  │ no
//!                                       │            │ └── view, rows change │                  │
//!                                       │            └───────────────────────┴──────────────────┘
//!                                       └─ at any time: there is a record ─▶ its writes are here ─▶ no need
//! ```
//!
//! Whoever would create a table lines up: an owner row with a stamp above all those in line that it knows. It waits until
//! nobody in its view has waited longer, then until everybody in the view holds what it holds, and looks again. This is
//! Lamport's mutual exclusion ("Time, Clocks, and the Ordering of Events", 1978) with convergence for the replies. Of two
//! in line, the later one either knew of the earlier one when it drew its stamp, or hears of it before everybody holds the
//! same; so it waits, and two who see each other never create a table both. The order cannot be that of the names: whoever
//! lines up while another one is at it would take itself for the first.
//!
//! Whoever has created a table writes the record and leaves the line. Should the news of the one overtake that of the other,
//! the next in line takes itself for the first, and learns better while it waits for everybody to hold the same. If it
//! crashes before there is a record, it leaves the view, and the next in line is first.
//!
//! While others write all the time, there may be no moment at which all hold the same. Then who is first goes on after the
//! patience of [`Cluster::tables_converged`]: a server that does not come up is worse than a table that is filled twice, for which
//! `created` has to be fit anyway, because islands that meet have both filled it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard};

use super::records::{Created, Record, Records};
use crate::cluster::node::Node;
use crate::cluster::{Cluster, ConvergeError};
use crate::engine::{Phase, Status};
use crate::id::ReplicaId;

/// How often is looked whether all is here that somebody wrote before it recorded that a table is created. Eager rows
/// arrive in any order, so it is a matter of the moment, or of the next repair.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// It is on this node to create a table. When it is dropped, it is the next one's turn, unless there is a record.
pub(super) struct Right {
    claim: Claim,
    /// Other servers of this node that keep the same table wait for it.
    _turn: OwnedMutexGuard<()>,
}

/// By what right.
enum Claim {
    /// The first in line.
    First(Place),
    /// Nobody else has this table.
    Own { node: Arc<Node>, table: String },
}

/// A place in line.
struct Place {
    node: Arc<Node>,
    records: Records,
}

/// Waits until the node is ready and the table is created, which is `None`, or to be created here and now. Cancel safe.
pub(super) async fn right(cluster: &Cluster, table: &str) -> Result<Option<Right>, String> {
    let node = &cluster.node;
    let own = node.replica;
    let is_ready = |status: &Status| {
        let joined = matches!(status.phase, Phase::Standalone | Phase::Clustered);
        joined && in_view(status).contains(&own)
    };
    node.statuses().wait_for(|status| is_ready(status)).await.ok_or(GONE)?;
    let records = Records::new(Arc::clone(&node.local.store), table);
    if records.created() != Created::No {
        settle(node, &records).await;
        return Ok(None);
    }
    let turn = node.servers.turn(table).await;
    let bell = Arc::new(Notify::new());
    records.ring(&bell);
    let mut place = None;
    loop {
        if records.created() != Created::No {
            settle(node, &records).await;
            return Ok(None);
        }
        if place.is_none() {
            place = Some(Place::take(node, table)?);
        }
        let view = in_view(&node.status());
        if !records.is_first(|owner| view.contains(&owner)) {
            let statuses = node.statuses();
            tokio::select! {
                biased;
                () = bell.notified() => {}
                status = statuses.wait_for(|status| in_view(status) != view) => drop(status.ok_or(GONE)?),
            }
            continue;
        }
        tokio::select! {
            biased;
            () = recorded(&records, &bell) => continue,
            converged = cluster.tables_converged(cluster.node.patience.converge) => match converged {
                Err(ConvergeError::Gone) => return Err(GONE.to_owned()),
                Err(error) => tracing::info!(table, %error, "a table is created although not everybody may know"),
                Ok(()) => {}
            },
        }
        let view = in_view(&node.status());
        if records.created() == Created::No && records.is_first(|owner| view.contains(&owner)) {
            return Ok(place.map(|place| Right { claim: Claim::First(place), _turn: turn }));
        }
    }
}

/// [`right`] for a table that nobody else has: each run of a node creates it, once.
pub(super) async fn own_right(node: &Arc<Node>, table: &str) -> Option<Right> {
    let turn = node.servers.turn(table).await;
    let claim = Claim::Own { node: Arc::clone(node), table: table.to_owned() };
    (!node.servers.has_own(table)).then_some(Right { claim, _turn: turn })
}

const GONE: &str = "the node is gone";

fn in_view(status: &Status) -> BTreeSet<ReplicaId> {
    status.members.iter().filter(|member| member.in_view).map(|member| member.replica).collect()
}

/// Waits until there is a record.
async fn recorded(records: &Records, bell: &Notify) {
    while records.created() == Created::No {
        bell.notified().await;
    }
}

/// Waits until what `created` wrote is here, or whoever could send it is not in the view: whoever is then has no more of it.
async fn settle(node: &Node, records: &Records) {
    let lacks = |record: &Record| !records.holds_all_of(record) && in_view(&node.status()).contains(&record.replica);
    while matches!(records.created(), Created::By(record) if lacks(&record)) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

impl Place {
    fn take(node: &Arc<Node>, table: &str) -> Result<Self, String> {
        let place = Self { node: Arc::clone(node), records: Records::new(Arc::clone(&node.local.store), table) };
        place.records.line_up(node.local.now()).map_err(|error| error.to_string())?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.records.step_out(self.node.local.now());
    }
}

impl Right {
    /// Says that the table is created now.
    pub(super) fn record(self) -> Result<(), String> {
        match &self.claim {
            Claim::First(Place { node, records }) => {
                records.record(node.local.now(), node.node.clone()).map_err(|error| error.to_string())?;
            }
            Claim::Own { node, table } => node.servers.add_own(table),
        }
        Ok(())
    }
}
