//! The hostile network: packets that are lost, repeated and reordered, and repair sessions that are carried frame by
//! frame, frames delayed, until they end or are interrupted.
//!
//! Packets are addressed to a replica, not to a host: what was sent to the process that crashed does not reach the one
//! that took its place.

use std::collections::{BTreeMap, VecDeque};

use unisono::crdt::{Context, Roster};
use unisono::id::ReplicaId;
use unisono::sabotage::{Rule, Sabotage};
use unisono::store::{Report, Row, Serving};
use unisono::time::Stamp;

use super::Rng;
use super::replica::Replica;

/// What a packet carries.
#[derive(Clone)]
pub(crate) enum Body {
    Rows(Vec<Row>),
    /// Contexts go along only where the store is told to collect by dot.
    Reports(Vec<Report>, Vec<(ReplicaId, Context)>),
    Roster(Roster),
}

/// One datagram under way.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    pub(crate) body: Body,
}

/// Everything under way.
#[derive(Default)]
pub(crate) struct Network {
    packets: Vec<Packet>,
    /// Held up somewhere on the way, to arrive when hardly anybody still thinks of them.
    late: Vec<Packet>,
    /// By requester and responder: one session per peer.
    pub(crate) sessions: BTreeMap<(ReplicaId, ReplicaId), Session>,
}

/// More than this is not under way at once: what is older gets lost.
const MOST_PACKETS: usize = 250;

impl Network {
    /// Puts a packet on its way; with a chance of `late_percent`, on a very long one.
    pub(crate) fn send(&mut self, rng: &mut Rng, packet: Packet, late_percent: usize) {
        if rng.percent(late_percent) {
            self.late.push(packet);
            return;
        }
        if self.packets.len() >= MOST_PACKETS {
            self.lose(rng);
        }
        self.packets.push(packet);
    }

    /// Any packet, and in `again_percent` of the cases it will come once more.
    pub(crate) fn arrive(&mut self, rng: &mut Rng, again_percent: usize) -> Option<Packet> {
        let late = self.packets.is_empty() || rng.percent(1);
        let packets = if late && !self.late.is_empty() { &mut self.late } else { &mut self.packets };
        if packets.is_empty() {
            return None;
        }
        let at = rng.below(packets.len());
        if rng.percent(again_percent) { Some(packets[at].clone()) } else { Some(packets.swap_remove(at)) }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn lose(&mut self, rng: &mut Rng) {
        if !self.packets.is_empty() {
            let at = rng.below(self.packets.len());
            self.packets.swap_remove(at);
        }
    }

    /// The connections of a process that crashed close.
    pub(crate) fn close_sessions_of(&mut self, id: ReplicaId) {
        self.sessions.retain(|(a, b), _| *a != id && *b != id);
    }

    pub(crate) fn random_session(&self, rng: &mut Rng) -> Option<(ReplicaId, ReplicaId)> {
        let ends: Vec<_> = self.sessions.keys().copied().collect();
        (!ends.is_empty()).then(|| *rng.pick(&ends))
    }
}

enum Frame {
    /// Comes first: owner rows of a replica that the requester never heard of would be refused, and then taken for known.
    Roster(Roster),
    Rows(Vec<Row>),
    /// Also up to when the responder had collected: a joiner whose clock is slow must not write below that.
    Done(Context, Stamp),
}

enum Responder {
    /// The request is under way.
    Requested(Context),
    /// It was answered; rows are taken from the snapshot one frame at a time.
    Streaming(Serving),
    /// The last frame was handed over: the responder holds nothing open any more.
    Finished,
}

/// A pull: the requester tells what it has, the responder streams what is missing.
pub(crate) struct Session {
    responder: Responder,
    frames: VecDeque<Frame>,
    /// How many rows were refused.
    refused: usize,
}

/// How a session stands after a step.
#[derive(PartialEq, Eq)]
pub(crate) enum Progress {
    Going,
    /// One end did not know the other; nothing was committed.
    Refused,
    Complete,
}

impl Session {
    pub(crate) fn new(have: Context) -> Self {
        Self { responder: Responder::Requested(have), frames: VecDeque::new(), refused: 0 }
    }

    /// Lets one thing happen: the request or a frame arrives, or the responder sends a frame.
    pub(crate) fn step(
        &mut self,
        rng: &mut Rng,
        wall_ms: u64,
        requester: &mut Replica,
        responder: &Replica,
        sabotage: Sabotage,
    ) -> Progress {
        let send_first = self.frames.is_empty() || rng.percent(50);
        match &mut self.responder {
            Responder::Requested(have) => {
                // A replica that serves a stranger might go on to collect what the stranger is still to be told.
                if !responder.hears(requester.id) {
                    return Progress::Refused;
                }
                self.responder = Responder::Streaming(responder.store.serve(have));
                if !sabotage.breaks(Rule::BareSession) {
                    self.frames.push_back(Frame::Roster(responder.roster().clone()));
                }
                Progress::Going
            }
            Responder::Streaming(serving) if send_first => {
                let frame_bytes = *rng.pick(&[1, 100, 1_000]);
                match serving.next_rows(frame_bytes) {
                    Some(rows) => {
                        if sabotage.breaks(Rule::ChunkContext) {
                            requester.store.join_context(serving.context());
                        }
                        self.frames.push_back(Frame::Rows(rows));
                    }
                    None => {
                        self.frames.push_back(Frame::Done(serving.context().clone(), responder.store.floor()));
                        self.responder = Responder::Finished;
                    }
                }
                Progress::Going
            }
            _ => self.arrive(wall_ms, requester, responder.id, sabotage),
        }
    }

    fn arrive(&mut self, wall_ms: u64, requester: &mut Replica, responder: ReplicaId, sabotage: Sabotage) -> Progress {
        if !requester.hears(responder) {
            return Progress::Refused;
        }
        match self.frames.pop_front() {
            Some(Frame::Roster(roster)) => {
                requester.change_roster(|ours| {
                    ours.join(&roster);
                });
                Progress::Going
            }
            Some(Frame::Rows(rows)) => {
                self.refused += requester.store.merge(requester.now(wall_ms), rows).refused;
                Progress::Going
            }
            // Its end would claim rows that are not here.
            Some(Frame::Done(..)) if self.refused > 0 && !sabotage.breaks(Rule::CommitPastRefused) => Progress::Refused,
            Some(Frame::Done(context, floor)) => {
                requester.store.raise_floor(floor);
                requester.store.join_context(&context);
                Progress::Complete
            }
            None => Progress::Going,
        }
    }
}

/// A session that nothing disturbs.
pub(crate) fn pull(rng: &mut Rng, wall_ms: u64, nodes: &mut [Replica], requester: usize, responder: usize) {
    let [requester, responder] = nodes.get_disjoint_mut([requester, responder]).expect("two replicas");
    let mut session = Session::new(requester.store.context());
    loop {
        match session.step(rng, wall_ms, requester, responder, Sabotage::default()) {
            Progress::Going => {}
            Progress::Refused => panic!("{:?} and {:?} refuse each other or their rows", requester.id, responder.id),
            Progress::Complete => return,
        }
    }
}
