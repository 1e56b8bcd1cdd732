//! Repair sessions over streams: this node as requester and as responder.

use bytes::Bytes;
use rand::RngExt;

use super::message::{Control, Have, Purpose, control_frame, kind};
use super::rows::AT_ONCE;
use super::streams::StreamPhase;
use super::timers::Timer;
use super::{Engine, Event, Output, StreamId};
use crate::crdt::{Context, Dot, Roster};
use crate::id::ReplicaId;
use crate::membership::{Liveness, Record};
use crate::replication::{self, Due, Pull, Serve, ServeNext};
use crate::sabotage::Rule;
use crate::store::{Merged, Row};
use crate::time::Stamp;
use crate::wire::{self, Malformed};

impl Engine {
    /// Starts a session with `peer`, if it may.
    pub(super) fn pull_from(&mut self, peer: ReplicaId, due: Due) {
        let Some(address) = self.address_of(peer) else { return };
        if self.formed() && self.leaving.is_none() && self.scheduler.may_pull(peer) {
            let restless = self.scheduler.started(self.now.instant, peer);
            self.stats.pulls += 1;
            let stream = self.open_stream(peer, address, Purpose::Repair, due == Due::Buckets);
            if let Some(state) = self.streams.open.get_mut(&stream) {
                state.restless = restless;
            }
        }
    }

    /// The responder knows us: tell it what differs on our side, and what we have.
    pub(super) fn session_welcomed(
        &mut self,
        stream: StreamId,
        peer: ReplicaId,
        roster: Option<Roster>,
        members: Option<Vec<Record>>,
    ) {
        let theirs = roster.as_ref().map(Roster::fingerprint);
        let tell_members = members.is_some();
        self.meet(peer, roster, members);
        let roster = theirs.filter(|theirs| *theirs != self.roster.fingerprint()).map(|_| self.roster.clone());
        let members = tell_members.then(|| self.swim.records());
        let foreign = self.foreign.contains(&peer) && !self.sabotage.breaks(Rule::TrustingIslands);
        let Some(state) = self.streams.open.get_mut(&stream) else { return };
        state.buckets |= foreign;
        let buckets = state.buckets.then(|| self.store.hold_tombstones());
        let compares = buckets.is_some();
        let restless = state.restless;
        state.phase = StreamPhase::Pulling(Pull { buckets, ..Pull::default() });
        let have = if compares {
            self.stats.bucket_pulls += 1;
            Have::Buckets(self.store.bucket_hashes())
        } else {
            Have::Context(self.store.context())
        };
        let expected = if restless { self.expected() } else { Vec::new() };
        let knows = self.roster.fingerprint();
        self.frame(stream, &Control::Pull { roster, members, knows, have, expected });
    }

    /// What the other side of a session told of rosters and members; nothing where it holds the same.
    pub(super) fn meet(&mut self, peer: ReplicaId, roster: Option<Roster>, members: Option<Vec<Record>>) {
        self.swim.exchanged(self.now.instant, peer, members);
        if let Some(roster) = roster {
            self.join_roster(&roster);
        }
    }

    /// Rows of a session, with their own dots and nothing more.
    pub(super) fn session_rows(&mut self, stream: StreamId, body: &[u8]) -> Result<(), Malformed> {
        let mut rows = replication::Rows::new(body);
        loop {
            let some = rows.by_ref().take(AT_ONCE).collect::<Result<Vec<_>, _>>()?;
            if some.is_empty() {
                return Ok(());
            }
            self.merge_session(stream, some)?;
        }
    }

    fn merge_session(&mut self, stream: StreamId, rows: Vec<Row>) -> Result<(), Malformed> {
        let Some(StreamPhase::Pulling(pull)) = self.streams.open.get_mut(&stream).map(|state| &mut state.phase) else {
            return Err(Malformed);
        };
        pull.rows += rows.len() as u64;
        let merged = if pull.buckets.is_some() {
            self.store.merge_buckets(self.now, rows)
        } else {
            self.store.merge(self.now, rows)
        };
        pull.news += merged.news.len() as u64;
        pull.resurrected += merged.resurrected;
        pull.refused += merged.refused as u64;
        self.merged(&merged);
        Ok(())
    }

    /// The last row came: now, and only now, may the responder's context be joined, and only if each row was taken and
    /// contexts were what was compared. Buckets that look equal are passed over with the tombstones in them, so after
    /// them an ordinary session has the last word.
    pub(super) fn session_end(&mut self, stream: StreamId, context: &Context, floor: Stamp) {
        let Some(state) = self.streams.open.remove(&stream) else { return };
        self.outputs.push_back(Output::Close { stream });
        let (Some(peer), StreamPhase::Pulling(pull)) = (state.peer, state.phase) else { return };
        if pull.refused == 0 || self.sabotage.breaks(Rule::CommitPastRefused) {
            self.store.raise_floor(floor);
            if pull.buckets.is_none() {
                self.store.join_context(context);
            } else if pull.news + pull.resurrected == 0 {
                self.foreign.remove(&peer);
            }
        }
        if state.island || pull.resurrected > 0 {
            self.event(Event::IslandsMerged { resurrected: pull.resurrected });
        }
        match state.purpose {
            Purpose::Join if pull.refused > 0 => {
                self.store.start_over();
                self.join_failed(peer, None);
            }
            Purpose::Join => self.become_ready(),
            Purpose::Repair | Purpose::Watch | Purpose::Push | Purpose::Mail => {
                self.scheduler.ended(peer);
                self.ask_digest(peer, false);
            }
        }
        // A row of a bucket may win though its dot was known. All else that sessions bring is noted as it comes.
        if pull.buckets.is_some() {
            self.work.reread();
        }
        self.schedule_holes();
    }

    /// A requester says what it has: begin to serve the rest. A newcomer is admitted only now that it answered a welcome:
    /// a hello may be all that is left of a process. To somebody outside the roster nothing is served: its promises are
    /// not awaited, so what it lacks may be collected while it pulls.
    pub(super) fn session_asked(&mut self, stream: StreamId, knows: u64, have: &Have, expected: &[ReplicaId]) -> bool {
        let Some(state) = self.streams.open.get_mut(&stream) else { return false };
        let peer = state.peer;
        if let StreamPhase::Asked(Some(newcomer)) = std::mem::replace(&mut state.phase, StreamPhase::Asked(None)) {
            if !self.may_admit(&newcomer) {
                self.drop_stream(stream, None);
                return true;
            }
            self.admit(&newcomer);
            self.tell_of(&newcomer);
        }
        if self.said_goodbye() || !peer.is_some_and(|peer| self.roster.is_admitted(peer)) {
            self.drop_stream(stream, None);
            return true;
        }
        let Some(state) = self.streams.open.get_mut(&stream) else { return false };
        let frame = self.packing.frame;
        let serve = match have {
            // No snapshot is taken for nothing; and nothing is claimed then but what the other has.
            Have::Context(have) if self.store.context().is_known_to(have, expected) => {
                let claims = self.sabotage.breaks(Rule::ExpectedClaimed);
                Serve::nothing(if claims { self.store.context() } else { have.clone() })
            }
            Have::Context(context) => Serve::new(self.store.serve(context), frame),
            Have::Buckets(hashes) => Serve::new(self.store.serve_buckets(hashes), frame),
        };
        state.phase = StreamPhase::Serving(Box::new(serve));
        if knows != self.roster.fingerprint() && !self.sabotage.breaks(Rule::BareSession) {
            let roster = self.roster.clone();
            self.frame(stream, &Control::Roster(roster));
        }
        self.serve_on(stream);
        true
    }

    pub(super) fn stream_flushed(&mut self, stream: StreamId) {
        let now = self.now.instant;
        let Some(state) = self.streams.open.get_mut(&stream) else { return };
        state.heard = now;
        match (&mut state.phase, state.peer) {
            (StreamPhase::Serving(serve), _) => {
                serve.flushed();
                self.serve_on(stream);
            }
            (StreamPhase::Pushing, Some(peer)) => self.push_flushed(peer),
            _ => {}
        }
    }

    fn serve_on(&mut self, stream: StreamId) {
        #[cfg(feature = "sabotage")]
        let claims = self.sabotage.breaks(Rule::ChunkContext);
        let Some(StreamPhase::Serving(serve)) = self.streams.open.get_mut(&stream).map(|state| &mut state.phase) else {
            return;
        };
        while let Some(next) = serve.poll() {
            #[cfg(feature = "sabotage")]
            let claim = (claims && matches!(next, ServeNext::Rows(_))).then(|| Control::Claim(serve.context().clone()));
            let bytes: Bytes = match next {
                ServeNext::Rows(rows) => wire::seal_frame(replication::pack_all(&rows, wire::open_frame(kind::ROWS))),
                ServeNext::End(context) => control_frame(&Control::End { context, floor: self.store.floor() }),
            };
            self.stats.stream_bytes += bytes.len() as u64;
            self.outputs.push_back(Output::Frame { stream, bytes });
            #[cfg(feature = "sabotage")]
            self.outputs.extend(claim.map(|claim| Output::Frame { stream, bytes: control_frame(&claim) }));
        }
    }

    /// What a merge, of whatever kind, means for the rest.
    pub(super) fn merged(&mut self, merged: &Merged) {
        self.stats.rows_refused += merged.refused as u64;
        self.stats.resurrected += merged.resurrected;
        if merged.news.is_empty() && merged.resurrected == 0 {
            return;
        }
        self.touch();
        self.work.note(&merged.news);
        if merged.resurrected > 0 {
            self.work.reread();
        }
        if let Some((replica, ahead)) = merged.ahead {
            self.clock_ahead(replica, ahead);
        }
        self.schedule_holes();
    }

    /// Rows were announced that fit no datagram.
    pub(super) fn offered(&mut self, sender: ReplicaId, dots: &[Dot]) {
        if dots.iter().any(|dot| !self.store.knows(*dot)) {
            self.pull_from(sender, Due::Rows);
        }
    }

    /// Authors with a hole in their part of the context who can fill it. What an author that is gone told nobody is
    /// missing for ever; whether somebody else holds it, digests tell.
    fn open_holes(&self) -> Vec<ReplicaId> {
        let mut gaps = self.store.gaps();
        gaps.retain(|author| self.live().contains(author));
        gaps
    }

    /// Sets the timer for the oldest hole in the context, if there is one.
    pub(super) fn schedule_holes(&mut self) {
        if self.is_crowd() && self.timers.is_set(Timer::Holes) {
            // Looked at soon anyhow: while rows of many come in, there are holes all the time.
            return;
        }
        let gaps = self.open_holes();
        let patience = self.config.timing.hole_patience;
        self.scheduler.holes(self.now.instant, &gaps, patience);
        match self.scheduler.next_hole(patience) {
            Some(at) if self.is_crowd() => self.timers.set_earlier(Timer::Holes, at.max(self.now.instant + patience)),
            Some(at) => self.timers.set_earlier(Timer::Holes, at),
            None => self.timers.stop(Timer::Holes),
        }
    }

    /// Repairs holes that did not close by themselves, from their authors.
    pub(super) fn repair_holes(&mut self) {
        let now = self.now.instant;
        let gaps = self.open_holes();
        for author in self.scheduler.holes(now, &gaps, self.config.timing.hole_patience) {
            let distance = self.peers.get(author).and_then(|peer| peer.clock.round_trip()).unwrap_or_default() * 3;
            if distance > self.config.timing.hole_patience
                && !self.scheduler.holes(now, &gaps, distance).contains(&author)
            {
                continue;
            }
            self.pull_from(author, Due::Rows);
            if self.is_crowd() {
                // Rows of many authors go astray at a time, and whoever is asked first holds nearly all of them.
                break;
            }
        }
        if !gaps.is_empty() {
            self.timers.set_earlier(Timer::Holes, now + self.config.timing.hole_patience);
        }
    }

    /// With somebody whose member list differs, the lists are exchanged now and then; a session does that on the way.
    pub(super) fn exchange_members(&mut self) {
        let now = self.now.instant;
        if now.since(self.gossip.exchanged) < self.config.timing.membership.push_pull || !self.formed() {
            return;
        }
        self.gossip.exchanged = now;
        let own = self.swim.fingerprint();
        let differs = |replica: &ReplicaId| {
            self.peers.get(*replica).and_then(|peer| peer.last.as_ref()).is_some_and(|(_, last)| last.members != own)
        };
        let alive = |(identity, liveness): (&crate::membership::Identity, Liveness)| {
            (liveness == Liveness::Alive).then_some(identity.replica)
        };
        let others: Vec<ReplicaId> = self.swim.members().filter_map(alive).filter(differs).collect();
        if !others.is_empty() {
            let picked = self.random.random_range(0..others.len());
            self.pull_from(others[picked], Due::Rosters);
        }
    }
}
