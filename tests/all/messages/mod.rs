//! Messages to roles and handlers, on simulated networks.

mod faults;
mod handlers;
mod roles;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unisono::cluster::Builder;
use unisono::testkit::TestCluster;
use unisono::{Cluster, Message, MessageError, RoleContext, RoleProtocol, RoleRef, RoleSpec};

/// Longer than anything takes here, of virtual time.
const LONG: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// What is said to a gate. Each message has a number of its own, so that one that came twice is noticed.
struct Gate;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Ask {
    /// Where are you?
    Where,
    /// The same, and take so many seconds.
    Slowly(u64),
    /// Do not answer.
    Drop,
    /// Say no.
    Refuse,
    Panic,
}

impl RoleProtocol for Gate {
    type Call = (u64, Ask);
    type Reply = String;
    type Cast = u64;
}

/// Other types under the same role.
struct Lamp;

impl RoleProtocol for Lamp {
    type Call = String;
    type Reply = String;
    type Cast = String;
}

/// Which messages were begun, and where.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<BTreeMap<u64, Vec<String>>>>);

impl Log {
    fn note(&self, number: u64, node: &str) {
        self.0.lock().unwrap().entry(number).or_default().push(node.to_owned());
    }

    /// The nodes that began with a message.
    fn begun(&self, number: u64) -> Vec<String> {
        self.0.lock().unwrap().get(&number).cloned().unwrap_or_default()
    }
}

async fn gate(context: RoleContext, log: Log, room: usize) -> unisono::RoleResult {
    let mut mailbox = context.mailbox::<Gate>().room_for(room);
    let node = context.cluster().node().to_string();
    while let Some(message) = mailbox.next().await {
        match message {
            Message::Cast(number) => log.note(number, &node),
            Message::Call((number, ask), responder) => {
                log.note(number, &node);
                match ask {
                    Ask::Where => responder.reply(node.clone()),
                    Ask::Slowly(seconds) => {
                        tokio::time::sleep(SECOND * u32::try_from(seconds).unwrap()).await;
                        responder.reply(node.clone());
                    }
                    Ask::Drop => drop(responder),
                    Ask::Refuse => responder.refuse("no cars today"),
                    Ask::Panic => panic!("no power"),
                }
            }
        }
    }
    Ok(())
}

/// Nodes that can run the gate, whose mailbox holds so many messages.
fn with_gate(log: &Log, room: usize, count: u32) -> impl Fn(Builder) -> Builder + 'static {
    let log = log.clone();
    move |builder| {
        let log = log.clone();
        let kind = move |context: RoleContext| gate(context, log.clone(), room);
        builder.role_kind("gate", kind).role(RoleSpec::new("gate-1").kind("gate").count(count))
    }
}

fn gate_of(cluster: &Cluster) -> RoleRef<Gate> {
    cluster.role("gate-1")
}

/// The node that runs the gate, and the others, in order.
async fn hosted(cluster: &TestCluster, nodes: &[Cluster]) -> (Cluster, Vec<Cluster>) {
    cluster.settle().await.unwrap();
    let host = cluster.running("gate-1").remove(0);
    let (here, others): (Vec<_>, Vec<_>) = nodes.iter().cloned().partition(|node| *node.node() == host);
    (here[0].clone(), others)
}

async fn three(cluster: &TestCluster, log: &Log, room: usize) -> (Cluster, Vec<Cluster>) {
    let nodes = cluster.start_all(["larry", "gary", "mary"], with_gate(log, room, 1)).await.unwrap();
    hosted(cluster, &nodes).await
}
