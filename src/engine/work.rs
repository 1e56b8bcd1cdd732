//! From replicated state to running roles: agreement on the picture that every member draws from the same rows, and what
//! the supervisor of this node does about it.

#[cfg(feature = "testkit")]
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::drawn::Drawn;
use super::message::MemberInfo;
use super::reporting::Reporting;
use super::system::System;
use super::timers::Timer;
use super::{Engine, Event, Output, Timing};
#[cfg(feature = "testkit")]
use crate::convergence::Fingerprint;
use crate::convergence::{Agreement, Edge};
use crate::id::ReplicaId;
use crate::replication::EAGER_TO_ALL;
use crate::roles::{Claim, ClaimState, Permit, RoleReport, Supervisor, SupervisorOutput};
use crate::sabotage::{Rule, Sabotage};
use crate::store::{Key, Row, TableName, owner_key};
use crate::time::{Instant, Now};
use crate::wire;

/// The part of the engine that deals with agreement and roles.
pub(super) struct Work {
    /// What may have changed since it was last looked at.
    stale: Stale,
    reporting: Reporting,
    agreement: Agreement,
    supervisor: Supervisor,
    pub(super) drawn: Drawn,
    pub(super) system: System,
    sabotage: Sabotage,
}

/// What has to be done anew. Reports come from everybody and change nothing but the agreement; the picture is dear.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stale {
    Nothing,
    Agreement,
    Picture,
}

impl Work {
    pub(super) fn new(own: ReplicaId, seed: u64, timing: &Timing, sabotage: Sabotage) -> Self {
        Self {
            stale: Stale::Picture,
            reporting: Reporting::default(),
            agreement: Agreement::new(timing.settle, timing.patience).sabotaged(sabotage),
            supervisor: Supervisor::new(own, seed).sabotaged(sabotage),
            sabotage,
            drawn: Drawn::default(),
            system: System::new(),
        }
    }

    pub(super) fn set_timing(&mut self, timing: &Timing) {
        self.agreement.set_times(timing.settle, timing.patience);
    }

    /// Something changed that the picture is drawn from.
    pub(super) fn redraw(&mut self) {
        self.stale = Stale::Picture;
    }

    /// Rows of the system tables may have changed of which nothing was said.
    pub(super) fn reread(&mut self) {
        self.system.note_all();
        self.redraw();
    }

    /// These rows changed.
    pub(super) fn note(&mut self, rows: &[Row]) {
        for row in rows.iter().filter(|row| row.table.is_reserved()) {
            if !self.system.tables.has(&row.table) {
                continue;
            }
            self.system.note(&row.table, &row.key);
            let stale = if row.table == self.system.tables.agree { Stale::Agreement } else { Stale::Picture };
            self.stale = self.stale.max(stale);
        }
    }

    /// Whether something changed since it was last looked at.
    pub(super) fn is_stale(&self) -> bool {
        self.stale > Stale::Nothing
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.agreement.poll_timeout(), self.supervisor.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn stop_all(&mut self, now: Now) {
        self.supervisor.stop_all(now);
    }

    /// No role runs here.
    pub(super) fn idle(&self) -> bool {
        self.supervisor.idle()
    }

    /// No role runs here, and whoever was to have one has it.
    pub(super) fn handed_over(&self) -> bool {
        self.supervisor.handed_over()
    }

    pub(super) fn drawn(&self) -> &Drawn {
        &self.drawn
    }

    /// The system table of roles.
    pub(super) fn roles_table(&self) -> &TableName {
        &self.system.tables.roles
    }

    /// This row of a system table changed.
    pub(super) fn note_row(&mut self, table: &TableName, key: &Key) {
        self.system.note(table, key);
        self.redraw();
    }

    /// Whether somebody claims a role, in the view or not.
    pub(super) fn has_claim(&self, role: &str, holder: ReplicaId) -> bool {
        self.system.claims().contains_key(&(role.to_owned(), holder))
    }

    /// Starting what is missing needs agreement, or has waited long enough for it; stopping and moving need more.
    fn permit(&self) -> Permit {
        match () {
            () if self.sabotage.breaks(Rule::AssignUnagreed) => Permit::Move,
            () if self.agreement.agreed() && self.sabotage.breaks(Rule::NoConvergenceToStop) => Permit::Move,
            () if self.agreement.converged() => Permit::Move,
            () if self.agreement.agreed() || self.agreement.impatient() => Permit::Start,
            () => Permit::Wait,
        }
    }

    pub(super) fn converged(&self) -> bool {
        self.agreement.converged()
    }

    #[cfg(feature = "testkit")]
    pub(super) fn agrees(&self) -> bool {
        self.agreement.agreed()
    }

    pub(super) fn view(&self) -> impl Iterator<Item = ReplicaId> {
        self.drawn.candidates.iter().map(|candidate| candidate.replica)
    }

    pub(super) fn in_view(&self, member: ReplicaId) -> bool {
        self.drawn.in_view.contains(&member)
    }

    /// Who keeps the view from agreeing, and how.
    pub(super) fn lag(&self) -> Option<(Option<ReplicaId>, String)> {
        if self.agreement.converged() {
            return None;
        }
        Some(match self.agreement.laggard(self.system.reports()) {
            Some((member, lag)) => (Some(member), lag.to_string()),
            None => (None, "the view agrees, but has not for the settle time yet".to_owned()),
        })
    }

    /// What a member says of itself.
    pub(super) fn info(&self, member: ReplicaId) -> Option<&MemberInfo> {
        self.system.members().get(&member)
    }

    fn name_of(&self, member: ReplicaId) -> String {
        let found = self.drawn.candidates.iter().find(|candidate| candidate.replica == member);
        found.map_or_else(|| member.to_string(), |candidate| candidate.node.to_string())
    }

    /// A role that does not run where and as often as it should.
    pub(super) fn unsettled_role(&self) -> Option<String> {
        for spec in &self.drawn.roles {
            let hosts = self.drawn.assignment.hosts(&spec.name);
            let claims = self.drawn.holdings.iter().filter(|holding| holding.role == spec.name);
            if let Some(passing) = claims.clone().find(|holding| Engine::passes(&holding.claim.state)) {
                let (state, at) = (passing.claim.state.word(), self.name_of(passing.holder));
                return Some(format!("role {:?} is {state} at {at}", spec.name));
            }
            let running: BTreeSet<ReplicaId> = claims
                .filter(|holding| holding.claim.state == ClaimState::Running)
                .map(|holding| holding.holder)
                .collect();
            if running != hosts.iter().copied().collect() {
                return Some(format!("role {:?} runs on {} of {} hosts", spec.name, running.len(), hosts.len()));
            }
        }
        None
    }
}

impl Engine {
    /// Says of this node that it is ready, and asks for its roles.
    pub(super) fn declare(&mut self) {
        self.declare_self();
        self.declare_roles();
        self.work.reread();
    }

    /// Says of this node who it is and what it can build.
    pub(super) fn declare_self(&mut self) {
        let (node, kinds) = (self.swim.identity().node.clone(), self.config.kinds.iter().cloned().collect());
        let info = MemberInfo {
            node,
            kinds,
            labels: self.config.labels.clone(),
            load: self.signals.load(),
            unready: self.is_unready(),
            leaves: self.leaving.is_some(),
            late: self.is_late(),
        };
        self.put_own(self.work.system.tables.members.clone(), &[], &wire::encode(&info));
        self.work.redraw();
    }

    fn put_own(&mut self, table: TableName, name: &[u8], value: &[u8]) {
        self.work.system.note(&table, &Key::from(owner_key(self.own, name)));
        if self.store.put_own(self.now, &table, name, value).is_err() {
            self.stats.own_writes_refused += 1;
        }
    }

    pub(super) fn work_deadline(&mut self) {
        let edge = self.work.agreement.handle_deadline(self.now.instant);
        self.edge(edge);
        let (store, now) = (&self.store, self.now);
        self.work.supervisor.handle_deadline(now, &mut || store.tick(now));
        if edge.is_some() {
            self.work.stale = self.work.stale.max(Stale::Agreement);
        }
    }

    pub(super) fn role_report(&mut self, report: RoleReport) {
        let told = match &report {
            RoleReport::Running { role, token } => Event::RoleStarted { role: role.clone(), token: *token },
            RoleReport::Stopped { role, aborted_after: Some(after), .. } => {
                Event::RoleAborted { role: role.clone(), after: *after }
            }
            RoleReport::Stopped { role, .. } => {
                Event::RoleStopped { role: role.clone(), why: "it was asked to".to_owned() }
            }
            RoleReport::Failed { role, why, .. } => Event::RoleStopped { role: role.clone(), why: why.clone() },
        };
        self.event(told);
        self.work.supervisor.report(self.now, &report);
        self.work.redraw();
    }

    /// Draws the picture anew if something changed, reports its fingerprint, and lets the supervisor act on it.
    /// Returns whether anything was written or asked for.
    pub(super) fn drain_work(&mut self) -> bool {
        if !self.formed() {
            return false;
        }
        let mut moved = false;
        let stale =
            if self.may_catch_up() { std::mem::replace(&mut self.work.stale, Stale::Nothing) } else { Stale::Nothing };
        if stale == Stale::Picture {
            self.status.dirty = true;
            self.draw();
            moved |= self.tend_roles();
            self.tell_placement();
            self.measure_service();
            self.report_fingerprint();
        }
        if stale >= Stale::Agreement {
            self.caught_up();
            self.agree();
            let (work, store, now) = (&mut self.work, &self.store, self.now);
            let (permit, drawn) = (work.permit(), &work.drawn);
            work.supervisor.decide(now, permit, &drawn.picture(), &drawn.assignment, &mut || store.tick(now));
        }
        while let Some(output) = self.work.supervisor.poll() {
            moved = true;
            match output {
                SupervisorOutput::Claim { role, claim } => self.write_claim(&role, claim.as_ref()),
                SupervisorOutput::Start(start) => self.outputs.push_back(Output::StartRole(start)),
                SupervisorOutput::Stop { role, token } => self.outputs.push_back(Output::StopRole { role, token }),
            }
        }
        moved
    }

    fn write_claim(&mut self, role: &str, claim: Option<&Claim>) {
        self.work.redraw();
        let table = self.work.system.tables.claims.clone();
        match claim {
            Some(claim) => self.put_own(table, role.as_bytes(), &wire::encode(claim)),
            None => {
                self.work.system.note(&table, &Key::from(owner_key(self.own, role.as_bytes())));
                if self.store.remove_own(self.now, &table, role.as_bytes()).is_err() {
                    self.stats.own_writes_refused += 1;
                }
            }
        }
    }

    /// Reads what changed in the system tables.
    pub(super) fn refresh(&mut self) {
        let Work { system, supervisor, .. } = &mut self.work;
        // Also claims of owners outside the view: every new token has to be above them.
        system.refresh(&self.store, |role, claim| supervisor.see(role, claim.token));
    }

    /// Reports at once, as long as that does not happen all the time in a large cluster.
    fn report_fingerprint(&mut self) {
        let now = self.now.instant;
        let members = self.live().len();
        if members > EAGER_TO_ALL
            && let Err(after) = self.work.reporting.next(now, self.config.timing.settle / 2, members)
        {
            self.timers.set_earlier(Timer::Report, after);
            return;
        }
        let value = wire::encode(&self.work.drawn.fingerprint);
        self.put_own(self.work.system.tables.agree.clone(), &[], &value);
    }

    /// The fingerprint that each node reports, as far as this one knows.
    #[cfg(feature = "testkit")]
    pub(crate) fn reports(&self) -> &BTreeMap<ReplicaId, Fingerprint> {
        self.work.system.reports()
    }

    fn agree(&mut self) {
        self.refresh();
        let Work { agreement, drawn, system, .. } = &mut self.work;
        let edge = agreement.update(self.now.instant, drawn.fingerprint, &drawn.in_view, system.reports());
        self.edge(edge);
    }

    fn edge(&mut self, edge: Option<Edge>) {
        if edge.is_some() {
            self.status.changed();
        }
        if edge == Some(Edge::Converged) {
            let view = self.work.drawn.candidates.iter().map(|candidate| candidate.node.clone()).collect();
            self.event(Event::Converged { view });
        }
    }
}
