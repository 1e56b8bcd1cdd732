//! What `foca` asks for: timers by deadline, datagrams in order.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use foca::{Notification, Timer, TimerToken};

use super::health::Health;
use super::tap::{Kind, Tap};
use super::{Identity, Timing};
use crate::time::Instant;

/// A datagram that `foca` wants sent.
pub(super) struct Queued {
    pub(super) to: Identity,
    pub(super) kind: Kind,
    pub(super) bytes: Bytes,
}

/// The runtime that `foca` sees.
pub(super) struct Collector {
    pub(super) now: Instant,
    /// How long everything takes. `foca` asks for times of its own, with which it began.
    pub(super) timing: Timing,
    pub(super) queued: Vec<Queued>,
    /// Members whose probe failed here, with the incarnation that is suspected.
    pub(super) accused: Vec<(Identity, u16)>,
    pub(super) health: Health,
    /// When anybody was heard last.
    pub(super) heard: Instant,
    /// When the probe under way began.
    probing: Instant,
    /// By deadline, then in `foca`'s order, then as submitted.
    timers: BTreeSet<(Instant, Timer<Identity>, u64)>,
    submitted: u64,
    /// The next gossip, and when it is due. With nothing to tell it would only come to ask for the next.
    gossip: Option<(Instant, Timer<Identity>)>,
    /// `foca`'s token of the present connection; each connection begins with a probe timer that carries it.
    token: Option<TimerToken>,
    tap: Tap,
}

impl Collector {
    pub(super) fn new(tap: Tap, timing: Timing) -> Self {
        Self {
            now: Instant::ZERO,
            timing,
            queued: Vec::new(),
            accused: Vec::new(),
            health: Health::default(),
            heard: Instant::ZERO,
            probing: Instant::ZERO,
            timers: BTreeSet::new(),
            submitted: 0,
            gossip: None,
            token: None,
            tap,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, ..)| *at)
    }

    pub(super) fn next_due(&mut self) -> Option<Timer<Identity>> {
        if self.next_deadline()? > self.now {
            return None;
        }
        self.timers.pop_first().map(|(_, timer, _)| timer)
    }

    /// The timer by which the member that has been Down for longest would be forgotten.
    pub(super) fn take_oldest_removal(&mut self) -> Option<Timer<Identity>> {
        let oldest = self.timers.iter().find(|(_, timer, _)| matches!(timer, Timer::RemoveDown(_)))?.clone();
        self.timers.remove(&oldest);
        Some(oldest.1)
    }

    pub(super) fn clear_timers(&mut self) {
        self.timers.clear();
        self.gossip = None;
    }

    /// There is something to tell: gossips at the next moment at which it would have been due all the time.
    pub(super) fn gossip_again(&mut self, period: Duration) {
        let Some((due, timer)) = self.gossip.take() else { return };
        let (late, period) = (self.now.since(due).as_nanos(), period.as_nanos().max(1));
        let at = if due > self.now {
            due
        } else {
            self.now + Duration::from_nanos(u64::try_from(period - late % period).unwrap_or(u64::MAX))
        };
        self.submitted += 1;
        self.timers.insert((at, timer, self.submitted));
    }

    /// Starts a suspicion that did not come from a probe of `foca`'s. It lapses like all others when `foca` loses
    /// everybody, since it carries the token of this connection.
    pub(super) fn start_suspicion(&mut self, member: Identity, incarnation: u16, after: Duration) {
        self.accused.push((member.clone(), incarnation));
        if let Some(token) = self.token {
            self.insert(Timer::ChangeSuspectToDown { member_id: member, incarnation, token }, after);
        }
    }

    /// Gives everything that judges others `late` more time: while we did not run, we heard nobody.
    pub(super) fn postpone_judgement(&mut self, late: Duration) {
        self.heard = self.heard + late;
        for (at, timer, number) in std::mem::take(&mut self.timers) {
            let judges = matches!(
                timer,
                Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } | Timer::ChangeSuspectToDown { .. }
            );
            self.timers.insert((if judges { at + late } else { at }, timer, number));
        }
    }

    fn insert(&mut self, timer: Timer<Identity>, after: Duration) {
        self.submitted += 1;
        // Never at once: a timer that renews itself would keep the loop that fires what is due from ending.
        self.timers.insert((self.now + after.max(Duration::from_millis(1)), timer, self.submitted));
    }
}

impl foca::Runtime<Identity> for Collector {
    fn notify(&mut self, _: Notification<'_, Identity>) {}

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        let kind = self.tap.seen().sending.take().unwrap_or(Kind::Other);
        self.queued.push(Queued { to, kind, bytes: Bytes::copy_from_slice(data) });
    }

    fn submit_after(&mut self, timer: Timer<Identity>, asked: Duration) {
        let after = match &timer {
            Timer::PeriodicGossip(_) => {
                self.gossip = Some((self.now + self.timing.gossip_interval, timer));
                return;
            }
            Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                self.accused.push((member_id.clone(), *incarnation));
                if self.heard < self.probing {
                    self.health.missed();
                }
                self.timing.suspicion
            }
            Timer::ProbeRandomMember(token) => {
                self.token = Some(*token);
                self.probing = self.now;
                // `foca` submits the suspicion of the last probe just before.
                if self.accused.is_empty() {
                    self.health.met();
                }
                self.health.stretch(self.timing.probe_period)
            }
            Timer::SendIndirectProbe { .. } => self.health.stretch(self.timing.probe_timeout),
            Timer::RemoveDown(_) => self.timing.forget_down,
            _ => asked,
        };
        self.insert(timer, after);
    }
}

/// A runtime that does nothing, to make `foca` show something.
pub(super) struct Nobody;

impl foca::Runtime<Identity> for Nobody {
    fn notify(&mut self, _: Notification<'_, Identity>) {}
    fn send_to(&mut self, _: Identity, _: &[u8]) {}
    fn submit_after(&mut self, _: Timer<Identity>, _: Duration) {}
}
