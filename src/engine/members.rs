//! Membership's part: what foca finds, what the watchers see, and what discovery brings.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rand::RngExt;

use super::message::{Message, Purpose, kind};
use super::{Engine, Event, TICK};
use crate::id::ReplicaId;
use crate::membership::{Change, Identity, Liveness, Record, SwimOutput, WatchOutput};
use crate::replication::{self, Due};
use crate::sabotage::Rule;
use crate::wire;

/// About how many members of a large cluster answer when a known address is heard of again.
const LOOKERS: u32 = 8;

impl Engine {
    /// Carries out what foca and the watchers want; returns whether anything happened that others may react to.
    pub(super) fn drain_membership(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.swim.poll() {
            match output {
                SwimOutput::Send { to, bytes } => {
                    let mut datagram = self.envelope(kind::SWIM).open();
                    if self.guard.may_send(to, datagram.len() + 2 + bytes.len()) {
                        let announces = self.guard.answers_nobody() && !self.is_live_address(to);
                        wire::push_padded(&mut datagram, &bytes, announces);
                        self.output_datagram(to, datagram);
                    } else {
                        self.stats.answers_withheld += 1;
                    }
                }
                SwimOutput::Contested { rival, keeps } => self.contested(&rival, keeps),
                SwimOutput::Change(change) => {
                    moved = true;
                    self.member_change(change);
                }
            }
        }
        if moved {
            self.members_changed();
        } else if self.gossip.stale && self.may_catch_up() {
            self.follow_members();
        }
        while let Some(output) = self.watchers.poll() {
            moved = true;
            self.watch_output(output);
        }
        moved
    }

    /// An address at which a member may listen.
    pub(super) fn discovered(&mut self, address: SocketAddr) {
        // A process that was killed and started again at once is still held for its former self. But not everybody has
        // to look after everybody: of a large cluster, about as many as would do.
        if self.sabotage.breaks(Rule::DiscoveryStops) && !self.live().is_empty() {
            return;
        }
        if address == self.swim.identity().address {
            return;
        }
        let known = self.is_live_address(address);
        let look = if known { self.looks_after_one() } else { self.guard.may_greet(self.now.instant) };
        if look {
            self.swim.announce(self.now.instant, address);
        }
    }

    /// Whether this node is one of those who look after somebody: in a large cluster about as many as would do, by lot.
    fn looks_after_one(&mut self) -> bool {
        let live = self.live().len().try_into().unwrap_or(LOOKERS);
        self.random.random_ratio(LOOKERS, LOOKERS.max(live))
    }

    /// Whether a member that is not Down listens at this address.
    pub(super) fn is_live_address(&self, address: SocketAddr) -> bool {
        self.swim.at(address).is_some_and(|(_, liveness)| liveness != Liveness::Down)
    }

    /// The operating system says that datagrams to this address do not arrive. Anybody can forge that, so it accuses
    /// nobody; it only makes us look.
    pub(super) fn unreachable(&mut self, to: SocketAddr) {
        self.stats.unreachable += 1;
        if let Some(member) = self.swim.at(to).map(|(identity, _)| identity.replica) {
            self.watchers.look(self.now.instant, member);
        }
    }

    /// A member found dead by its watchers, or a newcomer: told by one of them, or by its sponsor, and passed on in a large
    /// cluster by those to whom it is news.
    pub(super) fn news_of_members(&mut self, sender: ReplicaId, records: Vec<Record>) {
        let before = self.swim.fingerprint();
        let records = self.swim.apply_news(self.now.instant, sender, records);
        if self.swim.fingerprint() != before && self.live().len() > replication::EAGER_TO_ALL {
            self.broadcast(&Message::News(records), Some(sender));
        }
    }

    /// Tells everybody of a newcomer that this node admitted: by gossip alone the last would hear of it some rounds later.
    pub(super) fn tell_of(&mut self, newcomer: &Identity) {
        let heard = Record { identity: newcomer.clone(), incarnation: 0, state: Liveness::Alive };
        let record = self.swim.record(newcomer.replica).cloned().unwrap_or(heard);
        if record.state == Liveness::Alive && newcomer.replica != self.own {
            self.swim.apply(self.now.instant, vec![record.clone()]);
            self.broadcast(&Message::News(vec![record]), Some(newcomer.replica));
        }
    }

    /// Notes which members of the roster have not been heard of for a while: what they say of others when they come is old.
    pub(super) fn tend_hearsay(&mut self) {
        let (now, swim) = (self.now.instant, &mut self.swim);
        let unheard = self.silent_since.iter().filter(|(_, since)| now.since(**since) >= TICK);
        unheard.for_each(|(replica, _)| swim.missing(now, *replica));
        let roster = &self.roster;
        swim.forget_unknown(|replica| roster.is_admitted(replica));
    }

    pub(super) fn address_of(&self, replica: ReplicaId) -> Option<SocketAddr> {
        self.swim.member(replica).map(|(identity, _)| identity.address)
    }

    /// Members of the roster, this node excluded, that are not Down.
    pub(super) fn live(&self) -> &BTreeSet<ReplicaId> {
        &self.gossip.live
    }

    /// To everybody in a small cluster, else to a few at random.
    pub(super) fn broadcast(&mut self, message: &Message, except: Option<ReplicaId>) {
        for peer in replication::targets(&mut self.gossip.peers, except, &mut self.random) {
            self.send(peer, message);
        }
    }

    /// Who lives or who is in the roster changed.
    pub(super) fn members_changed(&mut self) {
        self.work.redraw();
        self.status.dirty = true;
        self.gossip.stale = true;
        if self.may_catch_up() {
            self.follow_members();
        }
    }

    /// Brings everything up to date that is derived from who lives and who is in the roster.
    pub(super) fn follow_members(&mut self) {
        self.caught_up();
        self.gossip.stale = false;
        let living = || self.swim.members().filter(|(_, liveness)| *liveness != Liveness::Down);
        let (roster, gossip) = (&self.roster, &mut self.gossip);
        gossip.alive = living().map(|(identity, _)| identity.replica).collect();
        gossip.live = gossip.alive.iter().copied().filter(|replica| roster.is_admitted(*replica)).collect();
        gossip.peers = gossip.live.iter().copied().collect();
        gossip.silent =
            roster.members().filter(|member| *member != self.own && !gossip.live.contains(member)).collect();
        self.peers.count(|peer| gossip.live.contains(&peer));
        let ring: Vec<Identity> = living()
            .map(|(identity, _)| identity)
            .chain([self.swim.identity()])
            .filter(|identity| !self.leavers.contains(&identity.replica))
            .cloned()
            .collect();
        self.watchers.set_members(self.now.instant, &ring);
    }

    fn member_change(&mut self, change: Change) {
        match change {
            Change::Up(identity) => self.member_up(identity),
            Change::Suspected(identity) => {
                self.event(Event::Suspected { node: identity.node, replica: identity.replica });
            }
            Change::Refuted(identity) => self.watchers.refuted(self.now.instant, identity.replica),
            Change::Down(identity) => self.member_down(&identity),
            Change::Replaced { old, new } if old.replica != new.replica => {
                self.member_down(&old);
                // Where another process listens, it does not run any more. Who leaves may have to wait for its successor.
                if self.formed() && self.leaving.is_none() {
                    self.evict(old.replica, "another process runs at its address");
                }
                if self.swim.member(new.replica).is_some_and(|(_, liveness)| liveness != Liveness::Down) {
                    self.member_up(new);
                }
            }
            Change::Replaced { .. } => {}
            // It moved past a predecessor whose clock was ahead; nobody had found it Down.
            Change::Renewed(identity) if identity.replica == self.own && identity.renewal == 0 => {}
            Change::Renewed(identity) if identity.replica == self.own => self.came_back(),
            Change::Renewed(identity) => self.watchers.refuted(self.now.instant, identity.replica),
        }
    }

    fn member_up(&mut self, identity: Identity) {
        let replica = identity.replica;
        self.silent_since.remove(&replica);
        if identity.node == self.swim.identity().node {
            self.tell_namesakes();
        }
        let returns = self.down_since.remove(&replica).is_some();
        if returns {
            self.count_down();
            self.watchers.refuted(self.now.instant, replica);
        }
        if self.formed() {
            if self.looks_after_one() {
                self.ask_digest(replica, false);
                if returns && self.roster.is_admitted(replica) {
                    // Whom else it knows, and what it missed: a session tells both.
                    self.pull_from(replica, Due::Rosters);
                }
            }
        } else {
            self.try_join_soon();
        }
    }

    fn member_down(&mut self, identity: &Identity) {
        let replica = identity.replica;
        if self.down_since.insert(replica, self.now.instant).is_some() {
            return;
        }
        self.count_down();
        self.scheduler.forget(replica);
        self.close_streams_with(replica);
        #[cfg(feature = "sabotage")]
        if self.sabotage.breaks(Rule::OwnerRowsOfTheDown) {
            self.store.forget_owner(replica);
            self.work.reread();
        }
        let (node, left) = (identity.node.clone(), self.leavers.contains(&replica));
        if self.roster.is_admitted(replica) && !left {
            self.said_down.insert(replica);
            self.event(Event::Down { node, replica });
        }
    }

    fn watch_output(&mut self, output: WatchOutput) {
        let now = self.now.instant;
        match output {
            WatchOutput::Open(identity) => {
                self.open_stream(identity.replica, identity.address, Purpose::Watch, false);
            }
            WatchOutput::Close(target) => self.close_watch(target),
            WatchOutput::Suspect(target) => self.swim.suspect(now, target),
            WatchOutput::Tell { to, about } => self.send(to, &Message::Refused(about)),
            WatchOutput::Ask { to, about } => self.send(to, &Message::Look(about)),
            WatchOutput::Down(target) => {
                if let Some(record) = self.swim.declare_down(now, target) {
                    self.broadcast(&Message::News(vec![record]), Some(target));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::timers::Timer;
    use super::super::{EngineConfig, Input, Output, TICK, Timing};
    use super::*;
    use crate::id::NodeId;
    use crate::store::{Store, StoreConfig};
    use crate::time::{Instant, Now};

    fn identity(name: &str, number: u16) -> Identity {
        let address = SocketAddr::from(([10, 0, 0, 1], 4_870 + number));
        let node = NodeId::new(name).unwrap();
        Identity { address, node, replica: ReplicaId(number.into()), boot: 1, renewal: 0 }
    }

    /// Larry, who has admitted gary and holds him as alive.
    fn larry_with(gary: &Identity) -> Engine {
        let now = Now { instant: Instant::from_nanos(1), wall_ms: 1 };
        let identity = identity("larry", 1);
        let store = Arc::new(Store::new(StoreConfig::new(identity.replica, 7)));
        let cluster = "test".to_owned();
        let timing = Timing::lan();
        let tombstone_quota = EngineConfig::TOMBSTONE_QUOTA;
        let (kinds, roles) = (BTreeSet::new(), Vec::new());
        let config = EngineConfig {
            labels: Default::default(),
            cluster,
            identity,
            timing,
            kinds,
            roles,
            tombstone_quota,
            departed_authors: EngineConfig::DEPARTED_AUTHORS,
            protocol: Default::default(),
            seed: 7,
        };
        let mut larry = Engine::new(now, config, store);
        let alive = Record { identity: gary.clone(), incarnation: 0, state: Liveness::Alive };
        larry.swim.apply(now.instant, vec![alive]);
        larry.admit(gary);
        larry.turn();
        larry
    }

    #[test]
    fn a_member_found_dead_at_the_moment_of_the_housekeeping_is_told_as_down() {
        let gary = identity("gary", 2);
        let mut larry = larry_with(&gary);
        let now = Now { instant: larry.now.instant + TICK, wall_ms: 1_001 };
        // As when a suspicion lapses at the very deadline at which the long Down are counted.
        larry.swim.declare_down(now.instant, gary.replica).unwrap();
        assert!(larry.timers.next().is_some_and(|next| next <= now.instant));
        larry.handle(now, Input::Deadline);
        let mut outputs = std::iter::from_fn(|| larry.poll_output());
        let (node, replica) = (gary.node, gary.replica);
        let down = Event::Down { node, replica };
        assert!(outputs.any(|output| matches!(output, Output::Event(event) if event == down)));
    }

    #[test]
    fn who_renews_its_identity_does_not_lend_it_to_others() {
        let gary = identity("gary", 2);
        let mut larry = larry_with(&gary);
        larry.timers.stop(Timer::Join);
        let renewed = Identity { renewal: 1, ..gary };
        let record = Record { identity: renewed.clone(), incarnation: 0, state: Liveness::Alive };
        larry.swim.apply(larry.now.instant, vec![record]);
        larry.turn();
        assert_eq!(larry.swim.member(renewed.replica).unwrap().0, &renewed);
        assert_eq!(larry.swim.identity(), &identity("larry", 1));
        assert_eq!(larry.config.identity, identity("larry", 1));
    }
}
