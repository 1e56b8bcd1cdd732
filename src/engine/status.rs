//! What this node sees of the cluster, published when it changes; and what it counts.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::kind;
use super::{Engine, Liveness, Member, Output, Phase, RoleHost, RoleStatus, Status};
use crate::convergence::Fingerprint;
#[cfg(feature = "testkit")]
use crate::id::ReplicaId;
use crate::membership::{self, Identity};
#[cfg(feature = "testkit")]
use crate::roles::Picture;
use crate::roles::{Assignment, Holding, RoleSpec};
use crate::wire;

/// What an engine counts, since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EngineStats {
    /// Datagrams and frames that did not decode, and streams closed for it.
    pub malformed: u64,
    /// Datagrams of another cluster.
    pub foreign_cluster: u64,
    /// Datagrams and frames of a protocol version that this node does not speak.
    pub other_protocol: u64,
    /// Messages of senders outside the roster.
    pub outside_roster: u64,
    /// Datagrams dropped because their sender, or strangers together, sent too many.
    pub over_rate: u64,
    /// Answers not given because a stranger asked with less.
    pub answers_withheld: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Their bytes, without the headers of IP and UDP.
    pub datagram_bytes: u64,
    /// Those of them that membership's were.
    pub swim_bytes: u64,
    /// Those of them that rows were.
    pub row_bytes: u64,
    /// Bytes sent over streams, without the headers of TCP.
    pub stream_bytes: u64,
    /// Messages that would not have fitted a datagram.
    pub oversized: u64,
    /// Rows refused: out of bounds, or written by somebody who may not.
    pub rows_refused: u64,
    /// Rows that had been collected as removed and came back.
    pub resurrected: u64,
    /// Batches with stamps too far ahead of time.
    pub ahead: u64,
    /// Repair sessions started here.
    pub pulls: u64,
    /// Those of them that compared buckets.
    pub bucket_pulls: u64,
    /// Peers that rows were pushed to and that did not keep up: what they miss was left to sessions.
    pub pushes_given_up: u64,
    /// Times the operating system said that a datagram did not arrive.
    pub unreachable: u64,
    /// Own system rows that the store did not take.
    pub own_writes_refused: u64,
}

impl EngineStats {
    fn sent(&mut self, datagram: &[u8]) {
        let bytes = datagram.len() as u64;
        self.datagrams_sent += 1;
        self.datagram_bytes += bytes;
        match wire::kind_of(datagram) {
            Ok(kind::SWIM) => self.swim_bytes += bytes,
            Ok(kind::ROWS) => self.row_bytes += bytes,
            _ => {}
        }
    }
}

/// The last status published.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) dirty: bool,
    /// Whether it is published without a pause.
    urgent: bool,
    last: Option<Arc<Status>>,
}

impl Published {
    /// Something changed that nobody must read wrongly, however many changes there are.
    pub(super) fn changed(&mut self) {
        (self.dirty, self.urgent) = (true, true);
    }
}

impl Engine {
    /// Sends a datagram, and counts it.
    pub(super) fn put_out(&mut self, to: SocketAddr, bytes: Bytes) {
        self.stats.sent(&bytes);
        self.outputs.push_back(Output::Datagram { to, bytes });
    }

    /// What this engine counted since its start.
    pub fn stats(&self) -> EngineStats {
        self.stats
    }

    /// What this node sees of the cluster.
    pub fn status(&self) -> Status {
        let drawn = self.work.drawn();
        let own = self.swim.identity();
        let myself = Member {
            node: own.node.clone(),
            replica: own.replica,
            address: own.address,
            liveness: Liveness::Alive,
            in_view: self.work.in_view(own.replica),
        };
        // Of the Down those are shown for whom somebody still waits.
        let is_shown = |(identity, liveness): &(&Identity, membership::Liveness)| {
            *liveness != membership::Liveness::Down || !self.roster.is_evicted(identity.replica)
        };
        let others = self.swim.members().filter(is_shown).map(|(identity, liveness)| Member {
            node: identity.node.clone(),
            replica: identity.replica,
            address: identity.address,
            liveness: match liveness {
                membership::Liveness::Alive => Liveness::Alive,
                membership::Liveness::Suspect => Liveness::Suspect,
                membership::Liveness::Down => Liveness::Down,
            },
            in_view: self.work.in_view(identity.replica),
        });
        let mut members: Vec<Member> = others.chain([myself]).collect();
        members.sort_by(|one, other| (&one.node, one.replica).cmp(&(&other.node, other.replica)));
        let phase = match () {
            () if self.leaving.is_some() => Phase::Left,
            () if !self.formed() => Phase::Joining,
            () if drawn.candidates.len() > 1 => Phase::Clustered,
            () => Phase::Standalone,
        };
        Status {
            node: own.node.clone(),
            replica: own.replica,
            phase,
            members,
            fingerprint: drawn.fingerprint.to_string(),
            agreed: self.work.converged(),
            roles: self.role_statuses(),
        }
    }

    /// The fingerprint of what assignment reads, and what this node computed from it.
    pub fn assignment(&self) -> (Fingerprint, &Assignment) {
        let drawn = self.work.drawn();
        (drawn.fingerprint, &drawn.assignment)
    }

    /// Whether all in the view report the same fingerprint, if only just.
    #[cfg(feature = "testkit")]
    pub(crate) fn agrees(&self) -> bool {
        self.work.agrees()
    }

    /// Everything that assignment reads.
    #[cfg(feature = "testkit")]
    pub(crate) fn picture(&self) -> Picture<'_> {
        self.work.drawn().picture()
    }

    /// Who is in the view.
    #[cfg(feature = "testkit")]
    pub(crate) fn view(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.work.view()
    }

    fn role_statuses(&self) -> Vec<RoleStatus> {
        let drawn = self.work.drawn();
        let host = |holding: &Holding| {
            let (replica, claim) = (holding.holder, &holding.claim);
            let node = drawn.node(replica)?.clone();
            Some(RoleHost { node, replica, token: claim.token, state: claim.state.clone() })
        };
        let hosts_of = |role: &str| {
            let mut hosts: Vec<RoleHost> = drawn.claims_of(role).iter().filter_map(host).collect();
            hosts.sort_by(|one, other| (&one.node, one.replica).cmp(&(&other.node, other.replica)));
            hosts
        };
        let status = |spec: &RoleSpec| {
            let assigned = drawn.assignment.hosts(&spec.name);
            RoleStatus {
                spec: spec.clone(),
                candidates: drawn.able(spec),
                wanted: if drawn.is_held_back(spec) { 0 } else { spec.count },
                assigned: assigned.iter().filter_map(|replica| drawn.node(*replica).cloned()).collect(),
                unplaced: drawn.unplaced(spec),
                hosts: hosts_of(&spec.name),
            }
        };
        drawn.roles.iter().map(status).collect()
    }

    /// Publishes the status if it changed.
    pub(super) fn publish_status(&mut self) {
        let Published { dirty, urgent, last } = &self.status;
        let due = last.is_none() || (*dirty && (*urgent || self.may_catch_up()));
        if !due {
            return;
        }
        (self.status.dirty, self.status.urgent) = (false, false);
        let status = self.status();
        if self.status.last.as_deref() != Some(&status) {
            let status = Arc::new(status);
            self.status.last = Some(status.clone());
            self.outputs.push_back(Output::Status(status));
        }
    }
}
