//! Those who wait for convergence, and what stands in their way.

use std::time::Duration;

use super::timers::Timer;
use super::{Command, Denial, Engine, Output, Reply};
use crate::id::{NodeId, ReplicaId};
use crate::roles::ClaimState;
use crate::time::Instant;

/// How often the others are asked while somebody waits.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The waiters and what they were last told.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Vec<Waiter>,
    /// When the last of them began to wait: what others said before does not count.
    since: Instant,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    request: u64,
    /// For roles too.
    roles: bool,
    told: Option<String>,
}

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::AwaitConverged { request } => self.await_converged(request, true),
            Command::AwaitTables { request } => self.await_converged(request, false),
            Command::AwaitVisible { request, until, who } => self.await_visible(request, until, who),
            Command::Stats { request } => {
                let reply = Reply::Stats(Box::new(self.stats()));
                self.outputs.push_back(Output::Reply { request, reply });
            }
            Command::Explain { request, role } => self.explain(request, &role),
            Command::WhatIf { request, change } => self.what_if(request, &change),
            Command::Forget { request } => {
                self.waiting.waiters.retain(|waiter| waiter.request != request);
                self.forget_visible(request);
            }
            Command::SetTiming { request, timing } => {
                let done = timing.validate().map_err(Denial::from).map(|()| self.set_timing(*timing));
                self.reply(request, done);
            }
            Command::Evict { request, node } => {
                let done = self.evict_node(&node);
                self.reply(request, done);
            }
            Command::Leave { request, patience_ms } => {
                self.begin_leaving(request, Duration::from_millis(patience_ms));
            }
            Command::AddRole { request, spec } => {
                let done = self.add_role(*spec);
                self.reply_role(request, done);
            }
            Command::RemoveRole { request, role } => {
                let done = self.remove_role(&role);
                self.reply_role(request, done);
            }
        }
    }

    fn await_converged(&mut self, request: u64, roles: bool) {
        self.waiting.waiters.push(Waiter { request, roles, told: None });
        self.waiting.since = self.now.instant;
        self.timers.set_earlier(Timer::Probe, self.now.instant);
    }

    fn reply(&mut self, request: u64, done: Result<(), Denial>) {
        let reply = done.map_or_else(Reply::Denied, |()| Reply::Done);
        self.outputs.push_back(Output::Reply { request, reply });
    }

    fn reply_role(&mut self, request: u64, done: Result<bool, Denial>) {
        let reply = done.map_or_else(Reply::Denied, |changed| Reply::Role { changed });
        self.outputs.push_back(Output::Reply { request, reply });
    }

    /// Asks those whose state somebody here is waiting for.
    pub(super) fn probe(&mut self) {
        if self.leaving.is_some() {
            self.ask_all();
        }
        self.ask_visible();
        if self.waiting.waiters.is_empty() {
            return;
        }
        let own = self.compared();
        let behind: Vec<ReplicaId> = self
            .work
            .view()
            .filter(|member| *member != self.own)
            .filter(|member| self.compared_of(*member) != Some(own))
            .collect();
        for member in behind {
            self.ask_digest(member, true);
        }
        self.timers.set_earlier(Timer::Probe, self.now.instant + ASK_AGAIN);
    }

    fn compared_of(&self, member: ReplicaId) -> Option<crate::replication::Compared> {
        let (heard, last) = self.peers.get(member)?.last.as_ref()?;
        (*heard >= self.waiting.since)
            .then_some(crate::replication::Compared { digest: last.digest, roster: last.roster })
    }

    /// Answers those who wait, as far as there is something new to say.
    pub(super) fn check_waiting(&mut self) {
        self.check_leaving();
        self.check_visible();
        if self.waiting.waiters.is_empty() || !self.may_catch_up() {
            return;
        }
        let culprit = self.culprit();
        let role = if culprit.is_none() { self.work.unsettled_role() } else { None };
        let mut waiters = std::mem::take(&mut self.waiting.waiters);
        waiters.retain_mut(|Waiter { request, roles, told }| {
            match culprit.as_ref().or(role.as_ref().filter(|_| *roles)) {
                None => {
                    self.outputs.push_back(Output::Reply { request: *request, reply: Reply::Converged });
                    false
                }
                Some(text) => {
                    if told.as_ref() != Some(text) {
                        *told = Some(text.clone());
                        let reply = Reply::Waiting(text.clone());
                        self.outputs.push_back(Output::Reply { request: *request, reply });
                    }
                    true
                }
            }
        });
        self.waiting.waiters = waiters;
    }

    /// What stands in the way of convergence but for roles: membership or tables, in that order; `None` if nothing does.
    fn culprit(&self) -> Option<String> {
        if !self.formed() {
            let why = self.kept_out().unwrap_or_else(|| "it was admitted by no member yet".to_owned());
            return Some(format!("this node is not ready: {why}"));
        }
        if let Some(lag) = self.work.lag() {
            return Some(match lag {
                (Some(member), what) => format!("member {} {what}", self.name_of(member)),
                (None, what) => what,
            });
        }
        self.work.view().filter(|member| *member != self.own).find_map(|member| self.table_lag(member))
    }

    fn table_lag(&self, member: ReplicaId) -> Option<String> {
        let own = self.compared();
        let name = self.name_of(member);
        let last = self.peers.get(member).and_then(|peer| peer.last.as_ref());
        let Some((_, last)) = last.filter(|(heard, _)| *heard >= self.waiting.since) else {
            return Some(format!("member {name} has not said yet where it stands"));
        };
        if last.roster != own.roster {
            return Some(format!("member {name} has another roster: {:016x}, here {:016x}", last.roster, own.roster));
        }
        if (last.digest.root, last.digest.owners) == (own.digest.root, own.digest.owners) {
            if last.digest.context != own.digest.context {
                return Some(format!("member {name} does not know the same writes yet"));
            }
            return None;
        }
        let ours = self.store.table_digests();
        let differs = last.tables.iter().find(|theirs| ours.iter().any(|own| own.0 == theirs.0 && own.1 != theirs.1));
        Some(match differs {
            Some((table, digest)) => {
                format!("member {name} has another state of table {:?}: digest {digest:016x}", table.as_str())
            }
            None => format!("member {name} has other tables: digest {:016x}", last.digest.root),
        })
    }

    pub(super) fn name_of(&self, member: ReplicaId) -> String {
        self.node_of(member).map_or_else(|| member.to_string(), |node| node.to_string())
    }

    /// The node that a member is a run of, while membership knows it.
    pub(super) fn node_of(&self, member: ReplicaId) -> Option<NodeId> {
        match self.swim.member(member) {
            Some((identity, _)) => Some(identity.node.clone()),
            None => (member == self.own).then(|| self.swim.identity().node.clone()),
        }
    }

    /// Whether a role's claim is one that passes: something is about to happen.
    pub(super) fn passes(state: &ClaimState) -> bool {
        !matches!(state, ClaimState::Running | ClaimState::Failed { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{EngineConfig, Input, Timing};
    use crate::membership::Identity;
    use crate::store::{Store, StoreConfig};
    use crate::time::Now;

    #[test]
    fn who_is_told_that_all_agree_reads_nothing_else_in_the_status() {
        let own = ReplicaId(7);
        let node = NodeId::new("larry").unwrap();
        let config = EngineConfig {
            cluster: "parking".to_owned(),
            identity: Identity { address: ([127, 0, 0, 1], 4_871).into(), node, replica: own, boot: 1, renewal: 0 },
            timing: Timing::local(),
            kinds: Default::default(),
            labels: Default::default(),
            roles: Vec::new(),
            tombstone_quota: EngineConfig::TOMBSTONE_QUOTA,
            departed_authors: EngineConfig::DEPARTED_AUTHORS,
            protocol: Default::default(),
            seed: 1,
        };
        let mut now = Now { instant: Instant::ZERO, wall_ms: 1_000 };
        let mut engine = Engine::new(now, config, Arc::new(Store::new(StoreConfig::new(own, 1))));
        engine.handle(now, Input::Command(Command::AwaitConverged { request: 1 }));
        let mut agreed = false;
        for _ in 0..10_000 {
            while let Some(output) = engine.poll_output() {
                match output {
                    Output::Status(status) => agreed = status.agreed,
                    Output::Reply { reply: Reply::Converged, .. } => {
                        assert!(agreed, "the answer overtook the status");
                        return;
                    }
                    _ => {}
                }
            }
            let due = engine.poll_timeout().expect("a node that looks for others has deadlines");
            now.wall_ms += u64::try_from(due.since(now.instant).as_millis()).unwrap();
            now.instant = due;
            engine.handle(now, Input::Deadline);
        }
        panic!("a node alone agrees with itself in the end");
    }
}
