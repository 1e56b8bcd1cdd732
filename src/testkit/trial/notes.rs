//! What a trial takes note of on its way, for the invariants: who left, since when all is calm, whether there are islands.

use super::{Broken, Course};
use crate::crdt::Dot;
use crate::engine::{Event, Reply};
use crate::testkit::NodeIndex;

impl Course {
    /// Those that were asked to leave and are gone: what they handed over must be there.
    pub(super) fn note_leavers(&mut self) -> Result<(), Broken> {
        let gone = self.harm.gone(&self.simulation);
        for leaver in &gone {
            self.facts.leaving.retain(|node| *node != leaver.node);
            let lost = self.process_ended();
            let mut replies = self.simulation.replies(leaver.node).iter().skip(leaver.replies);
            let reply = replies.find(|(request, _)| *request == 0).map(|(_, reply)| reply.clone());
            self.log.note(self.simulation.elapsed(), format_args!("{:?} left: {reply:?}, lost {lost:?}", leaver.node));
            let own = self.simulation.store(leaver.node).replica();
            // What it handed over may have gone with its new holder meanwhile.
            let others_stayed = self.harm.ended_at < leaver.since && gone.len() == 1;
            self.harm.ended_at = self.simulation.elapsed();
            if others_stayed && reply == Some(Reply::Left) && lost.iter().any(|dot| dot.replica == own) {
                let why = format!("{:?} ({own}) left in order and these of its writes are lost: {lost:?}", leaver.node);
                return Err(("who leaves in order leaves nothing behind", why));
            }
            let whole = self.facts.whole_since.is_some_and(|since| since < leaver.since);
            let heirs = self.staying().iter().any(|node| leaver.company.contains(node));
            if others_stayed && whole && heirs && reply != Some(Reply::Left) {
                let why = format!("{:?} ({own}) left a whole cluster and says {reply:?}", leaver.node);
                return Err(("who leaves a whole cluster leaves in order", why));
            }
        }
        Ok(())
    }

    pub(super) fn note_calm(&mut self) {
        let now = self.simulation.elapsed();
        let still: Vec<NodeIndex> =
            self.simulation.nodes().into_iter().filter(|node| self.simulation.is_paused(*node)).collect();
        self.facts.whole_since = match self.facts.whole_since {
            _ if self.harm.is_harsh() || !still.is_empty() => None,
            None => self.simulation.all_converged().then_some(now),
            since => since,
        };
        self.facts.stood_still.extend(still.into_iter().map(|node| (node, now)));
    }

    /// A node that became ready on its own while others are, who do not know each other: from now on there are islands,
    /// and what one removes another may still have.
    pub(super) fn note_islands(&mut self, node: NodeIndex) {
        let events = self.simulation.events(node);
        let from = self.events.insert(node, events.len()).unwrap_or_default();
        if !events[from..].contains(&Event::Ready) {
            return;
        }
        let apart = |one: NodeIndex, other: NodeIndex| {
            let engine = self.simulation.engine(one).filter(|_| self.simulation.store(one).is_open());
            engine.is_some_and(|engine| !engine.roster().is_admitted(self.simulation.store(other).replica()))
        };
        let alive = self.simulation.alive();
        self.facts.islands |= alive.into_iter().any(|other| other != node && apart(node, other) && apart(other, node));
    }

    pub(super) fn process_ended(&mut self) -> Vec<Dot> {
        let alive = self.simulation.alive();
        let stores = alive.iter().map(|node| self.simulation.store(*node));
        // A newcomer whose first pull breaks off begins it anew, with nothing.
        let others: Vec<_> = stores.filter(|store| store.is_open()).collect();
        self.story.lost(&others)
    }
}
