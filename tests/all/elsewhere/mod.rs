//! What hurt the users of other libraries: each thread in a tracker that told of it, as a scenario here.
//!
//! | From | What happened | Here |
//! |---|---|---|
//! | delta_crdt_ex 65, 45 | a part of a diff under the whole context deletes live keys | `pieces` |
//! | chitchat 127, 119 | a reset larger than a datagram never finishes; quiet nodes starve | `pieces` |
//! | phoenix_pubsub 74 | a merge fails only above fifty entries | `thresholds`, `limits` |
//! | alertmanager 1412, metrictank 1422 | oversized entries are dropped, or panic | `limits` |
//! | memberlist 362, 369, 371 | lengths that panic, replies to a forged address | `limits` |
//! | horde 186, 116, 197, kameo 131, 213 | roles are lost, doubled, wiped out, moved in storms, or left to the dead | `roles` |
//! | libcluster 86, 202, 148 | who drains is reconnected; who is lost never is | `membership` |
//! | foca 15, 16, 31 | isolated for ever; identities that loop; 400 nodes seen as 6,000 | `membership` |
//! | consul 843, mimir 6187 | two clusters merge after an address is reused | `membership` |
//!
//! Not yet here: horde 247 (a lookup right after a registration) needs `await_visible`; libcluster 214 (TLS) and the
//! authentication of the cluster's name need encryption.

mod limits;
mod membership;
mod names;
mod pieces;
mod roles;
mod thresholds;
mod versions;

use std::time::Duration;

use unisono::store::TableName;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn lot() -> TableName {
    TableName::new("lot").unwrap()
}

/// A converged cluster.
fn cluster(seed: u64, size: usize, options: impl Fn(NodeOptions) -> NodeOptions) -> (Simulation, Vec<NodeIndex>) {
    let mut simulation = Simulation::new(seed);
    let named = |number| options(NodeOptions::named(&format!("n{number:02}")));
    let nodes = (0..size).map(|number| simulation.add(named(number))).collect();
    simulation.run_until(30 * SECOND, Simulation::all_converged).unwrap();
    (simulation, nodes)
}

fn live(simulation: &Simulation, node: NodeIndex) -> usize {
    simulation.store(node).table(&lot()).len()
}
