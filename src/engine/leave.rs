//! The way out: stop the roles, see every own write in another member's hands, say goodbye.

use std::time::Duration;

use super::message::Message;
use super::timers::Timer;
use super::{Engine, Output, Reply};

/// How often the others are asked how much they hold.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How many unsaved rows are named at the most.
const NAMED: usize = 1_000;

/// How often the goodbye is said: datagrams get lost, and one of these is enough.
const GOODBYES: usize = 2;

/// A leave under way.
#[derive(Debug)]
pub(super) struct Leaving {
    request: u64,
    /// How many own writes must be held by somebody, once the roles have stopped and nothing more is written.
    until: Option<u64>,
    done: bool,
}

impl Engine {
    pub(super) fn begin_leaving(&mut self, request: u64, patience: Duration) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(Leaving { request, until: None, done: false });
        self.timers.set(Timer::LeavePatience, self.now.instant + patience);
        self.work.stop_all(self.now);
        self.status.dirty = true;
    }

    /// Looks whether the next step of leaving can be taken.
    pub(super) fn check_leaving(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.done {
            return;
        }
        if leaving.until.is_none() && self.work.idle() {
            leaving.until = Some(self.store.base_of(self.own));
            self.ask_holders();
        }
        let Some(until) = self.leaving.as_ref().and_then(|leaving| leaving.until) else { return };
        if self.peers.best_holder() >= until && (until > 0 || !self.formed()) {
            self.leave_now();
        }
    }

    /// While somebody leaves: ask the others how much they hold.
    pub(super) fn ask_holders(&mut self) {
        if self.leaving.as_ref().is_some_and(|leaving| leaving.done) {
            return;
        }
        for peer in self.live().clone() {
            self.ask_digest(peer, false);
        }
        self.timers.set_earlier(Timer::Probe, self.now.instant + ASK_AGAIN);
    }

    /// Leaves, whether or not everything is in other hands.
    pub(super) fn leave_now(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        if std::mem::replace(&mut leaving.done, true) {
            return;
        }
        let request = leaving.request;
        let unsaved = self.unsaved();
        let reply = if unsaved.is_empty() { Reply::Left } else { Reply::LeftWithUnsaved(unsaved) };
        for _ in 0..GOODBYES {
            for peer in self.live().clone() {
                self.send(peer, &Message::Leave);
            }
        }
        self.swim.leave(self.now.instant);
        self.drain_membership();
        self.status.dirty = true;
        self.publish_status();
        self.outputs.push_back(Output::Reply { request, reply });
    }

    /// The rows written here that no other member holds for certain, as `table/key`. What the node said of itself goes
    /// with it and is not counted.
    fn unsaved(&self) -> Vec<String> {
        let mut have = self.store.context();
        have.remove(self.own);
        let held = self.peers.best_holder();
        if held > 0 {
            have.add_range(self.own, 1, held);
        }
        let mut serving = self.store.serve(&have);
        let mut names = Vec::new();
        while let Some(rows) = serving.next_rows(usize::MAX) {
            let lasting = rows.iter().filter(|row| !row.table.as_str().starts_with('@'));
            names.extend(lasting.map(|row| format!("{}/{}", row.table.as_str(), row.key.escape_ascii())));
            if names.len() >= NAMED {
                names.truncate(NAMED);
                break;
            }
        }
        names
    }
}
