//! Who lives on a simulated host in the application's place.
//!
//! ```text
//!   engine ── roles, status, events, replies ──▶ Tenant          instead of what `drive` pretends
//!          ◀── inputs ── poll_tenants ◀── poll ── Tenant
//! ```
//!
//! A host without a tenant pretends: its role tasks start and end at once, what happens is only kept. A tenant brings real
//! ones. The simulation knows no runtime; whoever drives it with tenants polls them, at the time of his own clock.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Simulation;
use super::host::{Host, NodeIndex};
use crate::engine::{Event, Input, MailEvent, Reply, RoleReport, Status};
use crate::roles::{FencingToken, RoleStart};

/// Carries out what an engine asks of its application, and says what the application does. Dropped with its process.
pub(super) trait Tenant: fmt::Debug + Send {
    /// Starts the task of a role; what to tell the engine at once, which is nothing where that comes later.
    fn start_role(&mut self, start: RoleStart) -> Option<RoleReport>;

    /// Asks the task of a role to end.
    fn stop_role(&mut self, role: String, token: FencingToken);

    /// What the node sees changed.
    fn status(&mut self, status: Arc<Status>);

    /// Something happened.
    fn event(&mut self, event: Event);

    /// Letters came, or did not go.
    fn mail(&mut self, event: MailEvent);

    /// A command was answered, but for the one to leave.
    fn reply(&mut self, request: u64, reply: Reply);

    /// The node left, and this is the answer to whoever asked for it.
    fn left(self: Box<Self>, request: u64, reply: Reply);

    /// What the application does next; wakes the context's task when there is more.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Act>;
}

/// What an application does.
#[derive(Debug)]
pub(super) enum Act {
    /// The engine is to hear of it.
    Input(Input),
    /// It let go of its node, which ends as in a crash.
    End,
}

impl Host {
    /// A report of a real task: whether it runs is known from here on.
    fn note(&mut self, report: &RoleReport) {
        match report {
            RoleReport::Running { role, .. } => self.tasks.insert(role.clone()),
            RoleReport::Stopped { role, .. } | RoleReport::Failed { role, .. } => self.tasks.remove(role),
        };
    }

    /// Starts a role's task, pretended or real; what to tell the engine.
    pub(super) fn start_role(&mut self, start: RoleStart) -> Option<RoleReport> {
        let report = match &mut self.tenant {
            Some(tenant) => tenant.start_role(start)?,
            None => RoleReport::Running { role: start.spec.name.clone(), token: start.token },
        };
        self.note(&report);
        Some(report)
    }

    /// Asks a role's task to end; what to tell the engine, where the task was only pretended.
    pub(super) fn stop_role(&mut self, role: String, token: FencingToken) -> Option<RoleReport> {
        if let Some(tenant) = &mut self.tenant {
            tenant.stop_role(role, token);
            return None;
        }
        self.tasks.remove(&role);
        Some(RoleReport::stopped(role, token))
    }

    pub(super) fn publish(&mut self, status: Arc<Status>) {
        if let Some(tenant) = &mut self.tenant {
            tenant.status(Arc::clone(&status));
        }
        self.status = Some(status);
    }

    pub(super) fn tell(&mut self, event: Event) {
        match &mut self.tenant {
            Some(tenant) => tenant.event(event),
            None => self.events.push(event),
        }
    }

    /// Hands over what became of letters, if anybody is there to take it.
    pub(super) fn mail(&mut self, event: MailEvent) {
        if let Some(tenant) = &mut self.tenant {
            tenant.mail(event);
        }
    }

    /// Hands over the answer to a command; whether the node has left with it.
    pub(super) fn reply(&mut self, request: u64, reply: Reply) -> bool {
        let left = matches!(reply, Reply::Left | Reply::LeftWithUnsaved(_));
        match self.tenant.take() {
            None => self.replies.push((request, reply)),
            Some(tenant) if left => tenant.left(request, reply),
            Some(mut tenant) => {
                tenant.reply(request, reply);
                self.tenant = Some(tenant);
            }
        }
        left
    }
}

impl Simulation {
    /// Hears what applications do now, in the order of their hosts; whether they did anything.
    pub(super) fn poll_tenants(&mut self, context: &mut Context<'_>) -> bool {
        let mut acted = false;
        for index in 0..self.hosts.len() {
            while let Some(tenant) = &mut self.hosts[index].tenant {
                let Poll::Ready(act) = tenant.poll(context) else { break };
                acted = true;
                match act {
                    Act::Input(input) => {
                        if let Input::Role(report) = &input {
                            self.hosts[index].note(report);
                        }
                        self.input(index, Duration::ZERO, input);
                    }
                    Act::End => self.kill(NodeIndex(index)),
                }
            }
        }
        acted
    }
}
