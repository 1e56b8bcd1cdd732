//! What follows each call of `foca`: its news become changes, its datagrams pass the filter, its suspects are told.

use bytes::Bytes;

use super::outbid::Answer;
use super::{Swim, SwimOutput};
use crate::membership::collector::Queued;
use crate::membership::tap::Kind;
use crate::membership::{Change, Identity, Liveness, direct};
use crate::sabotage::Rule;

impl Swim {
    /// Takes over what `foca` just did: its news, its datagrams, and whom it accused.
    pub(super) fn settle(&mut self) {
        self.follow_predecessor();
        let mut changes = Vec::new();
        self.follow_own_identity(&mut changes);
        let own = self.identity().address;
        let applied = std::mem::take(&mut self.tap.seen().applied);
        for member in applied.into_iter().filter(|member| member.id().address != own) {
            let held = self.members.at(member.id().address).filter(|held| held.state == Liveness::Down);
            if held.is_some_and(|held| held.identity.replica == member.id().replica)
                && self.sabotage.breaks(Rule::ForgetDown)
            {
                continue;
            }
            self.members.put(member.into(), &mut changes);
        }
        if self.members.count(Liveness::Down) > 0 && !self.left && self.announce_down_at.is_none() {
            self.announce_down_at = Some(self.collector.now + self.collector.timing.announce_down);
        }
        self.hearsay.follow(self.collector.now, &changes);
        self.outputs.extend(changes.into_iter().map(SwimOutput::Change));
        let mut queued = std::mem::take(&mut self.collector.queued);
        // A stranger is answered with no more than he said. To come back oneself goes before telling him that he must,
        // which he learns from the answer anyhow; of two that told each other only that, neither would come back.
        queued.sort_by_key(|queued| queued.kind == Kind::TurnUndead);
        for queued in queued {
            self.pass(queued);
        }
        if self.foca.updates_backlog() > 0 {
            self.collector.gossip_again(self.collector.timing.gossip_interval);
        }
        for (identity, incarnation) in std::mem::take(&mut self.collector.accused) {
            let held = self.members.at(identity.address);
            if held.is_some_and(|held| held.identity == identity && held.incarnation == incarnation) {
                self.tell_suspect(&identity);
                let again = self.collector.now + self.collector.timing.gossip_interval;
                if !self.sabotage.breaks(Rule::ToldOnce) {
                    self.accused.insert(identity.replica, (identity, again));
                }
            }
        }
        self.note_own();
    }

    /// Somebody is held for the owner of our address whose boot is ahead of ours: a predecessor whose clock was. No
    /// renewal would ever win against it. One that lives and moves past us in turn is given way to in the end.
    fn follow_predecessor(&mut self) {
        let ahead = self.tap.seen().ahead.take();
        let ahead = ahead.filter(|ahead| ahead.supersedes(self.identity()) && !self.left);
        let Some(rival) = ahead else { return };
        let Some(moved) = self.identity().moved_past(&rival) else { return };
        match self.outbid.answer(self.collector.now, &rival) {
            Answer::Move => {
                let _ = self.foca.change_identity(moved, &mut self.collector);
            }
            Answer::GiveWay => self.outputs.push_back(SwimOutput::Contested { rival, keeps: false }),
            Answer::Nothing => {}
        }
    }

    fn follow_own_identity(&mut self, changes: &mut Vec<Change>) {
        let own = self.foca.identity();
        let mut seen = self.tap.seen();
        if seen.own != *own {
            seen.own = own.clone();
            seen.incarnation = 0;
            self.stats.renewals += 1;
            changes.push(Change::Renewed(own.clone()));
            drop(seen);
            // `foca` would wait to hear from somebody before it probes again, and if all whom it holds as alive are
            // gone by now, it would hold them as alive for ever. Applying nothing makes it look at its list.
            let _ = self.foca.apply_many(std::iter::empty(), true, &mut self.collector);
        }
    }

    /// The outbox filter. When a suspicion times out, `foca` tells its target that it is Down without looking whether
    /// that was applied; a member that refuted in time would have to rejoin. So the notice goes only to those that we
    /// do hold as Down, or that somebody newer at their address has superseded.
    fn pass(&mut self, queued: Queued) {
        let held = self.members.at(queued.to.address);
        match queued.kind {
            Kind::TurnUndead => {
                let newer = held.filter(|held| held.identity.supersedes(&queued.to)).cloned();
                let down = held.is_some_and(|held| held.identity == queued.to && held.state == Liveness::Down);
                #[cfg(test)]
                let down = down || self.unfiltered;
                if let Some(newer) = newer {
                    // Told instead who holds its address: a newcomer whose clock is behind its predecessor's learns
                    // how far, where a notice would have it renew in vain. A late one of our own past is past caring.
                    self.send(&queued.to, direct::gossip(&self.own(), &queued.to, newer));
                    return;
                }
                if !down {
                    self.stats.turn_undead_dropped += 1;
                    return;
                }
            }
            // Pinging a suspect without telling it what it is suspected of wastes the chance (Lifeguard's buddy
            // system).
            Kind::Ping if held.is_some_and(|held| held.identity == queued.to) => self.tell_suspect(&queued.to),
            _ => {}
        }
        self.outputs.push_back(SwimOutput::Send { to: queued.to.address, bytes: queued.bytes });
    }

    /// Tells again those whom we accused and who did not refute: what we said, or what they answered, may have been lost.
    pub(super) fn tell_accused(&mut self) {
        let now = self.collector.now;
        let members = &self.members;
        let is_suspect = |identity: &Identity| {
            let held = members.at(identity.address);
            held.is_some_and(|held| held.identity == *identity && held.state == Liveness::Suspect)
        };
        self.accused.retain(|_, (identity, _)| is_suspect(identity));
        let again = now + self.collector.timing.gossip_interval;
        let mut due = Vec::new();
        for (identity, at) in self.accused.values_mut().filter(|(_, at)| *at <= now) {
            *at = again;
            due.push(identity.clone());
        }
        due.iter().for_each(|identity| self.tell_suspect(identity));
    }

    fn tell_suspect(&mut self, identity: &Identity) {
        let held = self.members.at(identity.address).filter(|held| held.state == Liveness::Suspect);
        if let Some(about) = held.cloned() {
            self.stats.suspects_told += 1;
            self.send(identity, direct::ping(&self.own(), identity, about));
        }
    }

    pub(super) fn send(&mut self, to: &Identity, bytes: Option<Bytes>) {
        self.outputs.extend(bytes.map(|bytes| SwimOutput::Send { to: to.address, bytes }));
    }
}
