//! *Internal.*
//! The only place where subsystems meet: one state machine for production and for simulation.
//!
//! ```text
//!   Input ──▶ handle(now, input)
//!               │  dispatch: datagrams, streams, deadlines, commands
//!               ▼
//!   membership ─▶ roster ─▶ view ─▶ picture ─▶ fingerprint ─▶ agreement ─▶ supervisor      ┐
//!        │                            ▲                                        │           │ turn, until nothing
//!        │                            │ system tables                         ▼ claims     │ moves any more
//!        └────▶ datagrams      store ─┴─◀───────────────────────────────── own rows        ┘
//!                                │ outbox ─▶ eager rows
//!               ┌────────────────┘
//!   Output ◀── poll_output()      poll_timeout() ──▶ when to call handle(now, Input::Deadline)
//! ```
//!
//! The calling order: `handle` one input, drain `poll_output`, sleep until `poll_timeout` or the next input. No socket,
//! no clock, no thread and no randomness but the seed: the same inputs at the same times give the same outputs.
//!
//! [`Engine`] holds the subsystems; each file beside this one is the part of the engine that deals with one of them.

mod config;
mod datagrams;
mod departed;
mod drawn;
mod early;
mod event;
mod explain;
mod flapping;
mod gossip;
mod guard;
mod hanging;
mod input;
mod join;
mod leave;
mod mail;
mod mail_queue;
mod members;
mod message;
mod namesakes;
mod output;
mod pace;
mod peers;
mod placement;
mod push;
mod registry;
mod reporting;
mod roster;
mod rows;
mod schemas;
mod service;
mod sessions;
mod signals;
mod speech;
mod status;
mod strangers;
mod streams;
mod system;
mod timers;
mod visible;
mod waiting;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;

pub use config::{EngineConfig, Timing};
pub use event::{Event, Liveness, Member, Phase, RoleHost, RoleStatus, Status, Unplaced};
pub use input::{Command, Input, StreamId};
pub use mail::{Arrived, Letter, MAX_LETTER, MailEvent, Unsent};
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub use message::{Spoken, recode};
pub use output::{Denial, Output, Reply};
pub(crate) use registry::differences;
pub use status::EngineStats;
pub use visible::Visible;

pub use crate::roles::{RoleReport, RoleStart};

use crate::crdt::Roster;
use crate::id::ReplicaId;
use crate::membership::{Swim, Watchers};
use crate::replication::Scheduler;
use crate::sabotage::Sabotage;
use crate::store::Store;
use crate::time::{Instant, Now};
use crate::wire;
use timers::{Timer, Timers};

/// One node: membership, replication, convergence and roles as one state machine.
pub struct Engine {
    config: EngineConfig,
    /// The hash of the cluster's name, in every envelope.
    cluster: u64,
    own: ReplicaId,
    now: Now,
    random: SmallRng,
    store: Arc<Store>,
    swim: Swim,
    watchers: Watchers,
    roster: Roster,
    /// Members that were evicted from the roster and are back: what one side collected meanwhile, the other may still
    /// hold, so contexts say nothing until their buckets were compared.
    foreign: BTreeSet<ReplicaId>,
    /// Members that said that they leave.
    leavers: BTreeSet<ReplicaId>,
    /// When each member was found Down.
    down_since: BTreeMap<ReplicaId, Instant>,
    /// Since when each member of the roster has been Down or not heard of.
    silent_since: BTreeMap<ReplicaId, Instant>,
    departed: departed::Departed,
    flapping: flapping::Flapping,
    /// Of whom it was said that they are Down, and not yet that they are back.
    said_down: BTreeSet<ReplicaId>,
    /// When a member was last evicted from the roster because of the tombstone quota.
    evicted_for_quota: Option<Instant>,
    peers: peers::Peers,
    scheduler: Scheduler,
    streams: streams::Streams,
    join: join::Joining,
    gossip: gossip::Gossip,
    early: early::Early,
    guard: guard::Guard,
    work: work::Work,
    registry: registry::Registry,
    service: service::Service,
    told_roles: placement::Told,
    pace: pace::Pace,
    waiting: waiting::Waiting,
    visibility: visible::Visibility,
    schemas: schemas::Schemas,
    signals: signals::Signals,
    leaving: Option<leave::Leaving>,
    namesakes: namesakes::Namesakes,
    speech: speech::Speech,
    strangers: strangers::Strangers,
    timers: Timers,
    outputs: VecDeque<Output>,
    status: status::Published,
    stats: EngineStats,
    packing: rows::Packing,
    pushing: push::Pushing,
    mail: mail_queue::Mail,
    sabotage: Sabotage,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("identity", self.swim.identity()).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Engine {
    /// A node that knows nobody yet. Its store must be new, made for the same replica, and shared with nobody that
    /// writes before this.
    pub fn new(now: Now, config: EngineConfig, store: Arc<Store>) -> Self {
        let own = config.identity.replica;
        assert_eq!(store.replica(), own, "a store belongs to one replica");
        let sabotage = store.sabotage();
        let mut engine = Self {
            own,
            now,
            random: SmallRng::seed_from_u64(config.seed),
            swim: Swim::new(config.identity.clone(), &config.timing.membership, config.seed ^ 0x5757_494d)
                .sabotaged(sabotage),
            watchers: Watchers::new(own).sabotaged(sabotage),
            roster: Roster::default(),
            foreign: BTreeSet::new(),
            leavers: BTreeSet::new(),
            down_since: BTreeMap::new(),
            silent_since: BTreeMap::new(),
            departed: departed::Departed::default(),
            flapping: flapping::Flapping::default(),
            said_down: BTreeSet::new(),
            evicted_for_quota: None,
            peers: peers::Peers::default(),
            scheduler: Scheduler::new(config.timing.digests_apart()),
            streams: streams::Streams::default(),
            join: join::Joining::default(),
            gossip: gossip::Gossip::new(),
            early: early::Early::default(),
            guard: guard::Guard::new(now.instant),
            work: work::Work::new(own, config.seed ^ 0x726f_6c65, &config.timing, sabotage),
            registry: registry::Registry::new(&config.roles),
            service: service::Service::default(),
            told_roles: placement::Told::default(),
            pace: pace::Pace::new(),
            waiting: waiting::Waiting::default(),
            visibility: visible::Visibility::default(),
            schemas: schemas::Schemas::default(),
            signals: signals::Signals::new(),
            leaving: None,
            namesakes: namesakes::Namesakes::default(),
            speech: speech::Speech::new(config.protocol),
            strangers: strangers::Strangers::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            status: status::Published::default(),
            stats: EngineStats::default(),
            cluster: wire::cluster_hash(&config.cluster),
            packing: rows::Packing::default(),
            pushing: push::Pushing::new(now.instant),
            mail: mail_queue::Mail::default(),
            sabotage,
            store,
            config,
        };
        engine.begin_joining();
        engine.timers.set(Timer::Tick, now.instant + TICK);
        engine.timers.set(Timer::Digest, now.instant + engine.config.timing.digest_idle);
        engine.turn();
        engine
    }

    /// Takes one input. Afterwards drain [`Self::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        let stepped = now.stepped_ms(self.now);
        self.now = now;
        if let Some(stepped) = stepped {
            self.peers.stepped(stepped);
            self.update_clock_offset();
        }
        let Some(input) = self.mail_input(input) else { return };
        self.begin_turn(matches!(input, Input::Role(_) | Input::Command(_)));
        match input {
            Input::Datagram { from, bytes } => self.datagram(from, &bytes),
            Input::Discovered { address } => self.discovered(address),
            Input::Stranger { address, cluster } => self.other_cluster(address, cluster),
            Input::Accepted { stream, from } => self.stream_accepted(stream, from),
            Input::Connected { stream } => self.stream_connected(stream),
            Input::ConnectFailed { stream, refused } => self.stream_failed(stream, refused),
            Input::Frame { stream, bytes } => self.stream_frame(stream, &bytes),
            Input::Flushed { stream } => self.stream_flushed(stream),
            Input::Closed { stream } => self.stream_closed(stream),
            Input::Unreachable { to } => self.unreachable(to),
            Input::StoreChanged => {}
            Input::Deadline => self.deadline(),
            Input::Role(report) => self.role_report(report),
            Input::Command(command) => self.command(command),
            Input::Mail(_) => unreachable!("letters were dealt with before"),
        }
        self.turn();
    }

    /// What to do next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Deadline`], if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.swim.poll_timeout(), self.watchers.poll_timeout(), self.work.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Who this is.
    pub fn replica(&self) -> ReplicaId {
        self.own
    }

    /// Of how many processes this node knows whether they belong to the cluster or did.
    #[cfg(feature = "testkit")]
    pub fn remembered(&self) -> usize {
        self.roster.len()
    }

    /// Who belongs to the cluster, as far as this node knows.
    #[cfg(feature = "testkit")]
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Lets what changed run through the subsystems until nothing moves any more.
    fn turn(&mut self) {
        loop {
            let moved = self.drain_membership() | self.drain_outbox() | self.drain_work();
            if !moved {
                break;
            }
        }
        self.guard.done();
        self.schedule_expiry();
        // Before the answers: who is told that all agree must not read in the status that they do not.
        self.publish_status();
        self.check_waiting();
        self.publish_status();
        self.end_turn();
    }

    /// Other timers from now on. What is under way (a probe, a suspicion, a wait for others at the start) ends by the old.
    fn set_timing(&mut self, timing: Timing) {
        self.swim.set_timing(timing.membership.clone());
        self.scheduler.set_apart(timing.digests_apart());
        self.work.set_timing(&timing);
        self.config.timing = timing;
        // The pause under way may be of the longest.
        self.touch();
    }

    /// Sets the timer for the next row that ends.
    fn schedule_expiry(&mut self) {
        match self.store.next_expiry(self.now) {
            Some(at) => self.timers.set(Timer::Expiry, at),
            None => self.timers.stop(Timer::Expiry),
        }
    }

    fn deadline(&mut self) {
        let now = self.now.instant;
        self.timers.take_due(Timer::CatchUp, now);
        self.catch_up_for_work();
        // Whoever was admitted once has answered on a stream, and is no stranger whose address was forged.
        let roster = &self.roster;
        self.swim.handle_deadline(now, |replica| roster.get(replica).is_some());
        self.watchers.handle_deadline(now);
        // The housekeeping below counts the Down, so whoever was just found to be is told first.
        self.drain_membership();
        self.work_deadline();
        if self.timers.take_due(Timer::Expiry, now) {
            self.store.expire(self.now);
        }
        if self.timers.take_due(Timer::Join, now) {
            self.try_join();
        }
        if self.timers.take_due(Timer::Digest, now) {
            self.send_digests();
        }
        if self.timers.take_due(Timer::Forward, now) {
            self.forward_news();
        }
        // They are taken from the outbox at the end of the turn.
        self.timers.take_due(Timer::Push, now);
        if self.timers.take_due(Timer::Report, now) {
            self.work.redraw();
        }
        if self.timers.take_due(Timer::Holes, now) {
            self.repair_holes();
        }
        if self.timers.take_due(Timer::Probe, now) {
            self.probe();
        }
        if self.timers.take_due(Timer::Tick, now) {
            self.tick();
        }
        if self.timers.take_due(Timer::Ready, now) {
            self.ready_again();
        }
        if self.timers.take_due(Timer::LeavePatience, now) {
            self.leave_now();
        }
    }

    /// Housekeeping, once a second.
    fn tick(&mut self) {
        self.timers.set(Timer::Tick, self.now.instant + TICK);
        self.early.clear();
        self.evict_long_down();
        self.tell_namesakes();
        self.forget_speech();
        self.close_hanging_streams();
        self.tend_mail();
        self.calm_down();
        self.judge_lateness();
        self.exchange_members();
        self.update_clock_offset();
        self.publish_signals();
        self.tell_lasting();
        self.leavers.retain(|replica| self.swim.member(*replica).is_some());
        self.down_since.retain(|replica, _| self.swim.member(*replica).is_some());
        self.said_down.retain(|replica| self.swim.member(*replica).is_some());
        self.tend_hearsay();
        self.tend_schemas();
        if self.formed() {
            // Its own report counts too, and a node alone is asked for it by nobody.
            self.store.report(self.now);
            self.store.collect(self.now);
            self.forget_departed();
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// The pause of the housekeeping.
const TICK: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
mod crowd_tests;
#[cfg(test)]
mod push_tests;
#[cfg(test)]
mod tests;
