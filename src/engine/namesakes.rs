//! Two live nodes of one name: both are told, and which of them keeps it.
//!
//! Nobody is told on hearsay. A member that is held for alive may have died a moment ago, and its successor under the same
//! name at another address is no second one. Proof is only what names the run that receives it, or comes on a stream that
//! was opened to it: nobody knew of that run before it started, so whoever says so has lived beside it.

use std::net::SocketAddr;
use std::time::Duration;

use super::message::Message;
use super::strangers::Said;
use super::{Engine, Event};
use crate::id::ReplicaId;
use crate::membership::{Identity, Liveness};
use crate::sabotage::Rule;
use crate::time::Instant;

/// The least pause between two events: a process that is started again and again is a new run each time.
const PAUSE: Duration = Duration::from_secs(60);

/// How long the event is not repeated of one run.
const AGAIN: Duration = Duration::from_secs(3_600);

/// For so long a node that was refused for its name makes no cluster of its own: its name is taken there, and it would
/// only be thrown out when it is met.
const REFUSED: Duration = Duration::from_secs(3);

/// For so long a node that gave way says to the other that it was there.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// No more than so many are told at a time.
const MOST_TOLD: usize = 4;

/// What is known of others that have this node's name.
#[derive(Debug, Default)]
pub(super) struct Namesakes {
    said: Said<ReplicaId>,
    last: Option<Instant>,
    /// Who has the name in the cluster that refused this node for it, and when it was refused last.
    keeper: Option<(Identity, Instant)>,
    /// To whom this node gave way, and when.
    heir: Option<(Identity, Instant)>,
}

impl Engine {
    /// Lets those that share this node's name, and are not known to be gone, know that this run of it lives.
    pub(super) fn tell_namesakes(&mut self) {
        let now = self.now.instant;
        if self.sabotage.breaks(Rule::NamesOfTheDead) {
            let own = self.swim.identity().clone();
            let runs = self.roster.iter().filter(|(_, admission)| admission.node == own.node);
            let former = runs.map(|(replica, _)| replica).filter(|replica| *replica != own.replica).max();
            former.into_iter().for_each(|replica| self.say_name_taken(&Identity { replica, ..own.clone() }, true));
        }
        if let Some((heir, since)) = &self.namesakes.heir {
            let (to, address) = (heir.replica, heir.address);
            if now.since(*since) < LAST_WORDS {
                self.tell_namesake(to, address);
            }
        } else if self.leaving.is_none() {
            let own = self.swim.identity();
            let shares = |identity: &Identity| identity.node == own.node && identity.address != own.address;
            let members = self.swim.members().filter(|(_, liveness)| *liveness != Liveness::Down);
            let sharing = members.map(|(identity, _)| identity).filter(|identity| shares(identity));
            let sharing: Vec<_> =
                sharing.map(|identity| (identity.replica, identity.address)).take(MOST_TOLD).collect();
            sharing.into_iter().for_each(|(to, address)| self.tell_namesake(to, address));
        }
    }

    fn tell_namesake(&mut self, to: ReplicaId, address: SocketAddr) {
        let from = Box::new(self.swim.identity().clone());
        self.send_to(address, &Message::Namesake { to, from });
    }

    /// It is proved that another run lives, or lived beside this one.
    pub(super) fn met(&mut self, other: &Identity) {
        let own = self.swim.identity();
        let is_namesake = other.node == own.node && other.replica != own.replica && other.address != own.address;
        let leaves = (self.leaving.is_some() && self.namesakes.heir.is_none()) || self.leavers.contains(&other.replica);
        if is_namesake && !leaves {
            let keeps = self.keeps_name_over(other);
            self.say_name_taken(other, keeps);
        }
    }

    /// The newer run has the name, as the roster has it, and of two that are as new the one that was admitted first.
    fn keeps_name_over(&self, other: &Identity) -> bool {
        let rank = |identity: &Identity| {
            let admission = self.roster.get(identity.replica);
            (admission.map_or(identity.boot, |admission| admission.boot), admission.is_some(), identity.replica)
        };
        let is_refused = self.name_taken_by().is_some_and(|keeper| keeper.replica == other.replica);
        self.namesakes.heir.is_none() && !is_refused && rank(self.swim.identity()) > rank(other)
    }

    /// This node gives way to a newer process of its name, which the roster holds in its place.
    pub(super) fn give_way(&mut self, newer: ReplicaId) {
        let Some((heir, _)) = self.swim.member(newer) else { return };
        let heir = heir.clone();
        self.namesakes.heir = Some((heir.clone(), self.now.instant));
        self.tell_namesake(heir.replica, heir.address);
        self.say_name_taken(&heir, false);
        self.stand_back();
    }

    /// Another process was started at this node's own address, or under it.
    pub(super) fn contested(&mut self, rival: &Identity, keeps: bool) {
        self.namesakes.last = None;
        self.say_name_taken(rival, keeps);
    }

    fn say_name_taken(&mut self, other: &Identity, keeps: bool) {
        let now = self.now.instant;
        if self.namesakes.last.is_some_and(|last| now.since(last) < PAUSE) {
            return;
        }
        if self.namesakes.said.is_due(now, other.replica, AGAIN) {
            self.namesakes.last = Some(now);
            let Identity { node, replica, address, .. } = other.clone();
            self.event(Event::NameTaken { node, other: replica, address, keeps });
        }
    }

    /// Somebody refused to admit this node, since its name is taken. Of itself he is a witness, of others he tells.
    pub(super) fn refused_for_name(&mut self, by: Option<ReplicaId>, keeper: &Identity) {
        self.namesakes.keeper = Some((keeper.clone(), self.now.instant));
        if by == Some(keeper.replica) {
            self.met(keeper);
        }
    }

    /// Who has this node's name in a cluster that just refused to admit it.
    pub(super) fn name_taken_by(&self) -> Option<&Identity> {
        let (keeper, at) = self.namesakes.keeper.as_ref()?;
        (!self.formed() && self.now.instant.since(*at) < REFUSED).then_some(keeper)
    }

    /// Why this node is not ready, if it is for its name.
    pub(super) fn name_trouble(&self) -> Option<String> {
        let Identity { node, address, .. } = self.name_taken_by()?;
        Some(format!("a live node at {address} is called {node} too, and keeps that name; give this node another one"))
    }
}
