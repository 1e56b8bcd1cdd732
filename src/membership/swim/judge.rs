//! Who is accused, found Down, or announced to in spite of being Down.

use rand::RngExt;

use super::Swim;
use crate::id::ReplicaId;
use crate::membership::{Identity, Liveness, Record, direct};
use crate::sabotage::Rule;
use crate::time::Instant;

impl Swim {
    /// Accuses a member, which is told at once and has [`Timing::suspicion`](crate::membership::Timing::suspicion) to refute.
    pub fn suspect(&mut self, now: Instant, replica: ReplicaId) {
        let Some(held) = self.members.find(replica).filter(|held| held.state == Liveness::Alive && !self.left) else {
            return;
        };
        self.collector.now = now;
        let suspect = Record { state: Liveness::Suspect, ..held.clone() };
        self.collector.start_suspicion(suspect.identity.clone(), suspect.incarnation, self.collector.timing.suspicion);
        self.update(vec![suspect]);
    }

    /// Declares a member Down on proof that it is gone. The record returned is for pushing to everybody at once; a few
    /// are told here. `None` if it is unknown or Down already.
    pub fn declare_down(&mut self, now: Instant, replica: ReplicaId) -> Option<Record> {
        let held = self.members.find(replica).filter(|held| held.state != Liveness::Down && !self.left)?;
        self.collector.now = now;
        let down = Record { state: Liveness::Down, ..held.clone() };
        self.update(vec![down.clone()]);
        let _ = self.foca.gossip(&mut self.collector);
        self.settle();
        // Should the proof be wrong, the member learns of it at once and comes back.
        self.send(&down.identity, direct::turn_undead(&self.own(), &down.identity));
        Some(down)
    }

    /// When everybody has been silent for so long that the fault lies with all of them, or here.
    pub(super) fn silence_ends(&self) -> Option<Instant> {
        (self.members.count(Liveness::Alive) > 0 && !self.left)
            .then(|| self.collector.heard + self.collector.timing.suspicion)
    }

    /// One probe after the other would take a period for each member until a node that was cut off from a large cluster
    /// knew that it is alone.
    pub(super) fn accuse_all(&mut self) {
        // Accused, they answer soon or not at all; whoever joins now gets his time.
        self.collector.heard = self.collector.now;
        let is_alive = |record: &&Record| record.state == Liveness::Alive;
        let alive: Vec<ReplicaId> = self.members.iter().filter(is_alive).map(|held| held.identity.replica).collect();
        alive.into_iter().for_each(|replica| self.suspect(self.collector.now, replica));
    }

    pub(super) fn announce_to(&mut self, to: Identity) {
        if !self.left && to.address != self.identity().address {
            let _ = self.foca.announce(to, &mut self.collector);
            self.settle();
        }
    }

    /// Picks one Down member. `foca` does this only while it is connected, and a node that lost all its peers, or two
    /// nodes that hold each other as Down, would never meet again. An announcement is accepted by address; whoever
    /// holds its sender as Down answers so, and both come back under a renewed identity.
    pub(super) fn announce_to_down(&mut self, acquainted: impl Fn(ReplicaId) -> bool) {
        if self.sabotage.breaks(Rule::DownNotAnnouncedTo) {
            return;
        }
        let is_down = |record: &&Record| record.state == Liveness::Down && acquainted(record.identity.replica);
        let picked = match self.members.iter().filter(is_down).count() {
            0 => return,
            down => self.rng.random_range(0..down),
        };
        let mut down = self.members.iter().filter(is_down);
        let picked = down.nth(picked).map(|record| record.identity.clone());
        drop(down);
        if let Some(identity) = picked {
            self.announce_to(identity);
        }
    }
}
