//! Two live nodes of one name: which of them keeps it, and what each is told.
//!
//! ```text
//!   newcomer ── refused for its name ─▶ says so, once to the keeper ──────▶ the keeper says so
//!   one of two members gives way ─────▶ says so, and to the other for 10 s ─▶ that one says so
//! ```
//!
//! No node is told on hearsay. A member that is held for alive may have died a moment ago, and its successor under the same
//! name at another address is no second one. Proof is only what names the run that receives it: no run is known to another
//! before it starts, so the sender has lived beside it.

use std::net::SocketAddr;
use std::time::Duration;

use super::message::Message;
use super::strangers::Said;
use super::{Engine, Event};
use crate::id::{NodeId, ReplicaId};
use crate::membership::Identity;
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

/// What is known of others that have this node's name.
#[derive(Debug, Default)]
pub(super) struct Namesakes {
    said: Said<(ReplicaId, bool)>,
    last: Option<Instant>,
    /// Who has the name in the cluster that refused this node for it, and when it was refused last.
    keeper: Option<(Identity, Instant)>,
    /// To whom this node gave way, and when.
    heir: Option<(Identity, Instant)>,
}

impl Engine {
    /// Says for a while to the one to which this node gave way that it was there, and forgets an old refusal.
    pub(super) fn tend_namesakes(&mut self) {
        let now = self.now.instant;
        if self.sabotage.breaks(Rule::NamesOfTheDead) {
            let own = self.swim.identity().clone();
            let runs = self.roster.iter().filter(|(_, admission)| admission.node == own.node);
            let former = runs.map(|(replica, _)| replica).filter(|replica| *replica != own.replica).max();
            former.into_iter().for_each(|replica| self.say_name_taken(&Identity { replica, ..own.clone() }, true));
        }
        if self.namesakes.keeper.as_ref().is_some_and(|(_, at)| now.since(*at) >= REFUSED) {
            self.namesakes.keeper = None;
            self.status.changed();
        }
        if let Some((heir, since)) = &self.namesakes.heir {
            let (to, address) = (heir.replica, heir.address);
            if now.since(*since) < LAST_WORDS {
                self.tell_namesake(to, address);
            }
        }
    }

    fn tell_namesake(&mut self, to: ReplicaId, address: SocketAddr) {
        let from = Box::new(self.swim.identity().clone());
        self.send_to(address, &Message::Namesake { to, from });
    }

    /// Another run lived beside this one, and was refused for the name or gave way.
    pub(super) fn met(&mut self, other: &Identity) {
        let own = self.swim.identity();
        let is_namesake = other.node == own.node && other.replica != own.replica && other.address != own.address;
        let keeps = self.formed() && self.leaving.is_none() && self.roster.is_admitted(self.own);
        if is_namesake && keeps && !self.leavers.contains(&other.replica) {
            self.say_name_taken(other, true);
        }
    }

    /// This node gives way to a process of its name, which the roster holds in its place.
    pub(super) fn give_way(&mut self, holder: ReplicaId) {
        let Some((heir, _)) = self.swim.member(holder) else { return };
        let heir = heir.clone();
        self.namesakes.heir = Some((heir.clone(), self.now.instant));
        self.tell_namesake(heir.replica, heir.address);
        self.namesakes.last = None;
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
        if self.namesakes.said.is_due(now, (other.replica, keeps), AGAIN) {
            self.namesakes.last = Some(now);
            let Identity { node, replica, address, .. } = other.clone();
            self.event(Event::NameTaken { node, other: replica, address, keeps });
        }
    }

    /// A sponsor did not admit this node, since its name is taken by one that it found alive. That one is told.
    pub(super) fn refused_for_name(&mut self, keeper: &Identity) {
        if self.formed() || keeper.node != self.swim.identity().node {
            return;
        }
        self.namesakes.keeper = Some((keeper.clone(), self.now.instant));
        self.tell_namesake(keeper.replica, keeper.address);
        self.say_name_taken(keeper, false);
        self.status.changed();
    }

    /// Who has this node's name in a cluster that just refused to admit it.
    fn refused_by(&self) -> Option<&Identity> {
        let (keeper, at) = self.namesakes.keeper.as_ref()?;
        (!self.formed() && self.now.instant.since(*at) < REFUSED).then_some(keeper)
    }

    /// Who has this node's name, because of which it is not admitted, or had to give way.
    pub(super) fn name_taken_by(&self) -> Option<&Identity> {
        self.namesakes.heir.as_ref().map(|(heir, _)| heir).or_else(|| self.refused_by())
    }

    /// Whether a member has this name that is not Down.
    pub(super) fn lives_under_name(&self, node: &NodeId) -> bool {
        let holder = self.roster.holder_of(node).filter(|holder| self.roster.is_admitted(*holder));
        holder.is_some_and(|holder| holder == self.own || self.gossip.live.contains(&holder))
    }

    /// Why this node is not ready, if it is for its name.
    pub(super) fn name_trouble(&self) -> Option<String> {
        let Identity { node, address, .. } = self.name_taken_by()?;
        Some(format!("a live node at {address} is called {node} too, and keeps that name; give this node another one"))
    }
}
