//! What an application may want to know: the state of the cluster as this node sees it, and what happens in it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ReplicaId};
use crate::roles::{ClaimState, FencingToken, RoleSpec};
use crate::wire::Versions;

/// Where this node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Looking for others; cannot write yet.
    Joining,
    /// Ready, with nobody else in the view.
    Standalone,
    /// Ready, with others in the view.
    Clustered,
    /// Leaving, or gone.
    Left,
}

/// What this node believes of a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer, and may still refute that.
    Suspect,
    /// Taken for dead.
    Down,
}

/// A member of the cluster as this node sees it, itself included.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its stable name.
    pub node: NodeId,
    /// This run of it.
    pub replica: ReplicaId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it is believed to live.
    pub liveness: Liveness,
    /// Whether it is in the view: it declared itself ready, after its first pull, and is not Down.
    pub in_view: bool,
}

/// A role, who was found to host it, and what is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoleStatus {
    /// What was asked for.
    pub spec: RoleSpec,
    /// How many members of the view could host it: they registered its kind and have the labels that it requires. Below
    /// `spec.count` the role runs on fewer nodes than it asks for, at 0 on none, until more such nodes join.
    #[serde(default)]
    pub candidates: usize,
    /// How many instances are to run on this side of the network: as many as the spec asks for, or none where its partition
    /// policy holds it back.
    #[serde(default)]
    pub wanted: u32,
    /// Which nodes are to host them, ordered. Fewer than wanted where there is no place for more.
    #[serde(default)]
    pub assigned: Vec<NodeId>,
    /// Why it has no place at all, if it has none.
    #[serde(default)]
    pub unplaced: Option<Unplaced>,
    /// Who hosts it or is about to, ordered by node.
    pub hosts: Vec<RoleHost>,
}

impl RoleStatus {
    /// The instances that run, ordered by node: also one that is about to yield to its successor.
    pub fn running(&self) -> impl Iterator<Item = &RoleHost> {
        self.hosts.iter().filter(|host| host.is_running())
    }

    /// How many instances have no place: too few nodes can host it.
    pub fn missing(&self) -> u32 {
        self.wanted.saturating_sub(u32::try_from(self.assigned.len()).unwrap_or(u32::MAX))
    }

    /// Whether it runs where it is to run, and nowhere else.
    pub fn is_settled(&self) -> bool {
        self.running().map(|host| &host.node).eq(&self.assigned)
    }
}

/// Why a role has no place anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unplaced {
    /// No member of the view registered its kind.
    NoKind,
    /// Some did, but none of them has the labels that it requires.
    NoLabels,
    /// Every member that can host it gave it up because it failed too often; they are asked again after a while.
    AllFailed,
    /// Members could host it, but this side of the network is too small for its
    /// [partition policy](field@RoleSpec::partition).
    Partition,
    /// Members could host it, but all of them host roles that it is [apart from](field@RoleSpec::apart_from).
    Apart,
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKind => "no member registered this kind",
            Self::NoLabels => "no member that registered this kind has the labels",
            Self::AllFailed => "it failed wherever it was tried",
            Self::Partition => "this side of the network is too small for its partition policy",
            Self::Apart => "every node that could host it hosts a role that it is apart from",
        })
    }
}

/// One instance of a role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoleHost {
    /// The node.
    pub node: NodeId,
    /// This run of it.
    pub replica: ReplicaId,
    /// The fencing token of the instance.
    pub token: FencingToken,
    /// What it is doing: `starting`, `running`, `yielding`, `draining`, `stopped` or `failed`.
    pub state: ClaimState,
}

impl RoleHost {
    /// Whether its task runs and was not asked to end.
    pub fn is_running(&self) -> bool {
        matches!(self.state, ClaimState::Running | ClaimState::Yielding { .. })
    }
}

/// What this node sees of the cluster; published whenever it changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// This run of it.
    pub replica: ReplicaId,
    /// Where this node stands.
    pub phase: Phase,
    /// Everybody known, this node included, ordered by node and replica.
    pub members: Vec<Member>,
    /// The fingerprint of what role assignment reads, in hexadecimal.
    pub fingerprint: String,
    /// Whether everybody in the view reports that fingerprint, and has for the settle time.
    pub agreed: bool,
    /// The roles, ordered by name.
    pub roles: Vec<RoleStatus>,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Another node is in the view for the first time: it declared itself ready.
    Joined {
        /// Who.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
    },
    /// A member does not answer; it may refute that.
    Suspected {
        /// Who.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
    },
    /// A member is taken for dead.
    Down {
        /// Who.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
    },
    /// A member left in order.
    Left {
        /// Who.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
    },
    /// A member that was said to be Down is in the view again, the same run of it.
    Rejoined {
        /// Who.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
    },
    /// This node is ready: it may write. After [`Event::Unready`]: it builds roles again.
    Ready,
    /// This node was lost to the others and came back, and that happened shortly before as well: it builds no roles for so
    /// long but those that no other can, and what runs here moves away. Look for what kept it from answering.
    Unready {
        /// How long.
        wait: Duration,
    },
    /// Everybody in the view agrees, and has for the settle time.
    Converged {
        /// The view.
        view: Vec<NodeId>,
    },
    /// A role started here.
    RoleStarted {
        /// Which.
        role: String,
        /// Its fencing token.
        token: FencingToken,
    },
    /// A role stopped here, for the reason given.
    RoleStopped {
        /// Which.
        role: String,
        /// Why.
        why: String,
    },
    /// A role that was asked to stop here did not within its stop grace, and was aborted.
    RoleAborted {
        /// Which.
        role: String,
        /// The stop grace.
        after: Duration,
    },
    /// Another spec of a role stands than this node declared: that of a higher revision, or of the same and written later.
    /// Said once of each change, by every node whose own differs. Usually an upgrade is under way; give specs that differ
    /// different [revisions](field@RoleSpec::revision), so that the newer stands whatever the order.
    RoleSpecDiffers {
        /// Which.
        role: String,
        /// What stands, and is run.
        standing: Box<RoleSpec>,
        /// What this node declared, in its configuration or by [`Cluster::add_role`](crate::Cluster::add_role).
        declared: Box<RoleSpec>,
    },
    /// No member of the view has a place for a role, or now for another reason. Every node says so.
    RoleUnplaced {
        /// Which.
        role: String,
        /// What it is.
        kind: String,
        /// Why.
        why: Unplaced,
    },
    /// A role that had no place has one.
    RolePlaced {
        /// Which.
        role: String,
    },
    /// A member gave a role up because it failed too often, and is not asked again for a while. Every node says so.
    RoleGaveUp {
        /// Which.
        role: String,
        /// Who.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
        /// How it failed last.
        why: String,
        /// When it may be asked again, in milliseconds of estimated time.
        until_ms: u64,
    },
    /// A member that gave a role up may be asked for it again.
    RoleExclusionOver {
        /// Which.
        role: String,
        /// Who.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
    },
    /// More instances of a role ran at once than asked for, as after a cut, when both sides did. Every node that sees the
    /// claims of all says so when it has been over for a second, and once before if it has lasted 10 s. Not for a planned
    /// handover, and not while a lower count is being reached. What is shorter than the settle time and a busy digest pause
    /// together ([`settle_ms`](crate::TimingConfig::settle_ms), [`digest_busy_ms`](crate::TimingConfig::digest_busy_ms)) is
    /// not told.
    RoleOverlap {
        /// Which.
        role: String,
        /// How many there were at the most.
        instances: u32,
        /// For how long, from the start of the first that was one too many: by its fencing token if that was out of sight.
        /// At least so long; a restart meanwhile makes it look shorter.
        lasted: Duration,
        /// Whether it is over.
        over: bool,
    },
    /// Fewer instances of a role ran than before, although there was a place for more. Every node says so when as many run
    /// again, and once before if it has lasted 10 s. A handover that breaks before it makes is a short gap, and so is a
    /// restart; what never ran is not missed, and what has no place is told by [`Event::RoleUnplaced`].
    RoleGap {
        /// Which.
        role: String,
        /// How many were missing at the most.
        missing: u32,
        /// For how long: from when this node saw it, which for a host that vanished is when it was found Down.
        lasted: Duration,
        /// Whether it is over.
        over: bool,
    },
    /// Entries came with stamps further ahead of time than is allowed: somebody's clock is wrong.
    ClockAhead {
        /// Who wrote them.
        replica: ReplicaId,
        /// By how much they are ahead.
        ahead: Duration,
    },
    /// Two parts of the cluster met that had gone on without each other, and were united.
    IslandsMerged {
        /// The rows that one side had collected as removed and that came back from the other.
        resurrected: u64,
    },
    /// A member was evicted from the roster.
    Evicted {
        /// Which run.
        replica: ReplicaId,
        /// Why.
        why: String,
    },
    /// A node of another cluster was met; neither talks to the other. Said once an hour of each cluster. Give each cluster
    /// a port of its own if they are not to meet at all.
    OtherCluster {
        /// Where it was met: the first of its nodes that was heard.
        address: SocketAddr,
        /// The name of that cluster, where it was said: calls on the subnet and datagrams carry a hash of it only.
        name: Option<String>,
    },
    /// Another live node has this node's name, or claims its address; both are told. It is not said of a process that was
    /// started in the place of one that is gone. Said once of each other run, and once a minute at the most.
    NameTaken {
        /// The name that the other has.
        node: NodeId,
        /// The other run.
        other: ReplicaId,
        /// Where it listens.
        address: SocketAddr,
        /// Whether this node keeps the name. If not, it takes no part any more, or is not admitted as long as the other
        /// lives: give it a name of its own, and an address.
        keeps: bool,
    },
    /// A member uses other types for a table than this node; each is told by its own node. Nothing is spoilt: neither reads
    /// the other's rows as its own. Give the new types a table of their own, or see
    /// [`TableConfig::schema`](crate::TableConfig::schema) if they mean the same. Said once of each member and table.
    SchemaDiffers {
        /// The table.
        table: String,
        /// The other node.
        node: NodeId,
        /// This run of it.
        replica: ReplicaId,
        /// What this node uses.
        ours: String,
        /// What the other uses.
        theirs: String,
    },
    /// A node was met that has no protocol version in common with this one; neither understands the other, and both are
    /// told. Or this node was not admitted because of a member with which it has none. Said once an hour of each address.
    /// Update whichever is older.
    NoCommonProtocol {
        /// Where it was met.
        address: SocketAddr,
        /// The versions that it speaks.
        theirs: Versions,
        /// Those that this node speaks.
        ours: Versions,
    },
}
