//! Streams and the handshake that opens each.
//!
//! ```text
//!   opened here    Connecting ─▶ Greeting ─▶ Idle (watch)   or   Pulling (join, repair)   or   Pushing   or   Mail
//!   accepted       Greeted    ─▶ Idle (watch)   or   Asked ─▶ Serving                     or   Pushed    or   Mail
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::message::{Control, FrameBody, Hello, Purpose, Refusal, control_frame, read_frame};
use super::{Engine, Output, StreamId};
use crate::id::ReplicaId;
use crate::membership::Identity;
use crate::replication::{Pull, Serve};
use crate::time::Instant;
use crate::wire::Malformed;

/// How many sessions a node serves at once. Each keeps a snapshot alive, and nothing is collected meanwhile.
const SERVE_AT_ONCE: usize = 16;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) purpose: Purpose,
    /// Whether this node opened it.
    pub(super) outgoing: bool,
    /// The other end: who it should be for a stream opened here, who it says it is for an accepted one.
    pub(super) peer: Option<ReplicaId>,
    pub(super) address: SocketAddr,
    pub(super) phase: StreamPhase,
    pub(super) heard: Instant,
    /// Whether the session is to compare buckets.
    pub(super) buckets: bool,
    /// Whether the other end was outside the roster when the session began.
    pub(super) island: bool,
    /// Whether the session is over a difference that does not hold still.
    pub(super) restless: bool,
}

#[derive(Debug)]
pub(super) enum StreamPhase {
    /// Being opened.
    Connecting,
    /// The hello is under way.
    Greeting,
    /// Accepted, waiting for the hello.
    Greeted,
    /// A watch stream at rest.
    Idle,
    /// Rows are coming in.
    Pulling(Pull),
    /// Welcomed, waiting for what it wants; with who it is, if it wants to be admitted.
    Asked(Option<Box<Identity>>),
    /// Rows are going out.
    Serving(Box<Serve>),
    /// What is written here goes out.
    Pushing,
    /// What is written at the other end comes in.
    Pushed,
    /// Letters go out and come in.
    Mail,
}

/// All streams, by number.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) open: BTreeMap<StreamId, Stream>,
    opened: u64,
}

impl Streams {
    fn next_id(&mut self) -> StreamId {
        self.opened += 1;
        StreamId(self.opened * 2)
    }

    pub(super) fn serving(&self) -> usize {
        let busy = |stream: &&Stream| matches!(stream.phase, StreamPhase::Asked(_) | StreamPhase::Serving(_));
        self.open.values().filter(busy).count()
    }

    fn find(&self, outgoing: bool, purpose: Purpose, peer: ReplicaId) -> Option<StreamId> {
        let is =
            |stream: &Stream| stream.outgoing == outgoing && stream.purpose == purpose && stream.peer == Some(peer);
        self.open.iter().find(|(_, stream)| is(stream)).map(|(id, _)| *id)
    }
}

impl Engine {
    /// How many repair sessions are open, of both kinds.
    #[cfg(feature = "testkit")]
    pub(crate) fn sessions(&self) -> usize {
        let is_session = |stream: &&Stream| matches!(stream.phase, StreamPhase::Pulling(_) | StreamPhase::Serving(_));
        self.streams.open.values().filter(is_session).count()
    }

    pub(super) fn open_stream(
        &mut self,
        peer: ReplicaId,
        address: SocketAddr,
        purpose: Purpose,
        buckets: bool,
    ) -> StreamId {
        let stream = self.streams.next_id();
        let island = self.formed() && !self.roster.is_admitted(peer);
        let heard = self.now.instant;
        let phase = StreamPhase::Connecting;
        let (peer, restless) = (Some(peer), false);
        let state = Stream { purpose, outgoing: true, peer, address, phase, heard, buckets, island, restless };
        self.streams.open.insert(stream, state);
        self.outputs.push_back(Output::Connect { stream, to: address });
        stream
    }

    pub(super) fn stream_accepted(&mut self, stream: StreamId, from: SocketAddr) {
        let state = Stream {
            purpose: Purpose::Watch,
            outgoing: false,
            peer: None,
            address: from,
            phase: StreamPhase::Greeted,
            heard: self.now.instant,
            buckets: false,
            island: false,
            restless: false,
        };
        self.streams.open.insert(stream, state);
    }

    pub(super) fn stream_connected(&mut self, stream: StreamId) {
        let hello = Hello {
            spoken: self.spoken_by_all(),
            cluster: self.config.cluster.clone(),
            identity: self.swim.identity().clone(),
            purpose: Purpose::Watch,
            roster: self.roster.fingerprint(),
            members: self.swim.fingerprint(),
        };
        let Some(state) = self.streams.open.get_mut(&stream) else { return };
        state.phase = StreamPhase::Greeting;
        state.heard = self.now.instant;
        let hello = Hello { purpose: state.purpose, ..hello };
        let version = self.speech.version_for(state.address);
        self.first_frame(stream, version, &Control::Hello(Box::new(hello)));
    }

    pub(super) fn stream_failed(&mut self, stream: StreamId, refused: bool) {
        if let Some(state) = self.streams.open.remove(&stream) {
            self.lost(stream, &state, refused, None);
        }
    }

    pub(super) fn stream_closed(&mut self, stream: StreamId) {
        if let Some(state) = self.streams.open.remove(&stream) {
            self.lost(stream, &state, false, None);
        }
    }

    /// Closes a stream from this side, as a failure.
    pub(super) fn drop_stream(&mut self, stream: StreamId, refusal: Option<&Refusal>) {
        if let Some(state) = self.streams.open.remove(&stream) {
            self.outputs.push_back(Output::Close { stream });
            self.lost(stream, &state, false, refusal);
        }
    }

    /// Tells whoever waited for a stream that it is gone before its work was done.
    fn lost(&mut self, stream: StreamId, state: &Stream, refused: bool, refusal: Option<&Refusal>) {
        let now = self.now.instant;
        if let (Purpose::Mail, Some(peer)) = (state.purpose, state.peer) {
            return self.mail_ended(peer, stream);
        }
        let Some(peer) = state.peer.filter(|_| state.outgoing) else { return };
        match (state.purpose, &state.phase) {
            (Purpose::Watch, StreamPhase::Idle) => self.watchers.ended(now, peer),
            (Purpose::Watch, _) => self.watchers.failed(now, peer, refused),
            (Purpose::Join, phase) => {
                if matches!(phase, StreamPhase::Pulling(_)) {
                    self.store.start_over();
                }
                self.join_failed(peer, refusal);
            }
            (Purpose::Repair, _) => self.scheduler.ended(peer),
            (Purpose::Push, _) => self.push_ended(peer),
            (Purpose::Mail, _) => {}
        }
    }

    pub(super) fn close_watch(&mut self, target: ReplicaId) {
        if let Some(stream) = self.streams.find(true, Purpose::Watch, target) {
            self.streams.open.remove(&stream);
            self.outputs.push_back(Output::Close { stream });
        }
    }

    /// Ends sessions with a member that is Down. (Its watch stream is the watchers' business.)
    pub(super) fn close_streams_with(&mut self, peer: ReplicaId) {
        let with =
            |stream: &Stream| stream.peer == Some(peer) && (stream.purpose != Purpose::Watch || !stream.outgoing);
        let streams: Vec<_> = self.streams.open.iter().filter(|(_, state)| with(state)).map(|(id, _)| *id).collect();
        for stream in streams {
            self.drop_stream(stream, None);
        }
    }

    pub(super) fn frame(&mut self, stream: StreamId, control: &Control) {
        let bytes = control_frame(control);
        self.stats.stream_bytes += bytes.len() as u64;
        self.outputs.push_back(Output::Frame { stream, bytes });
    }

    pub(super) fn stream_frame(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(state) = self.streams.open.get_mut(&stream) else { return };
        state.heard = self.now.instant;
        if matches!(state.phase, StreamPhase::Greeted | StreamPhase::Greeting) {
            return self.stream_first_frame(stream, bytes);
        }
        let understood = match (read_frame(bytes), &state.phase) {
            (Ok(FrameBody::Rows(rows)), StreamPhase::Pulling(_)) => self.session_rows(stream, rows).is_ok(),
            (Ok(FrameBody::Rows(rows)), StreamPhase::Pushed) => self.pushed_rows(stream, rows).is_ok(),
            (Ok(FrameBody::Control(Control::Roster(roster))), StreamPhase::Pulling(_)) => {
                self.join_roster(&roster);
                true
            }
            (Ok(FrameBody::Control(Control::End { context, floor })), StreamPhase::Pulling(_)) => {
                self.session_end(stream, &context, floor);
                true
            }
            #[cfg(feature = "sabotage")]
            (Ok(FrameBody::Control(Control::Claim(context))), StreamPhase::Pulling(_)) => {
                self.store.join_context(&context);
                true
            }
            (
                Ok(FrameBody::Control(Control::Pull { roster, members, knows, have, expected })),
                StreamPhase::Asked(_),
            ) => {
                if let Some(peer) = state.peer {
                    self.meet(peer, roster, members);
                }
                self.session_asked(stream, knows, &have, &expected)
            }
            _ => false,
        };
        if !understood {
            self.stats.malformed += 1;
            self.drop_stream(stream, None);
        }
    }

    /// The first frame of the other side, in a version that this one may not speak.
    fn stream_first_frame(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(state) = self.streams.open.get(&stream) else { return };
        let (outgoing, address) = (state.outgoing, state.address);
        match (self.read_first(address, outgoing, bytes), outgoing) {
            (Ok((_, None)), _) => self.close_unread(stream, outgoing),
            (Ok((front, Some(FrameBody::Control(Control::Hello(hello))))), false) => {
                // What can be read is written in a version of both.
                let shared = self.config.protocol.shared(front.versions);
                self.hello(stream, *hello, shared.map_or(front.version, |shared| shared.high));
            }
            (Ok((_, Some(FrameBody::Control(Control::Welcome { identity, spoken, roster, members })))), true) => {
                self.told_spoken(identity.replica, spoken);
                self.welcome(stream, &identity, roster, members);
            }
            (Ok((_, Some(FrameBody::Control(Control::Refuse(refusal))))), true) => self.turned_away(stream, &refusal),
            (Ok(_) | Err(Malformed), _) => {
                self.stats.malformed += 1;
                self.drop_stream(stream, None);
            }
        }
    }

    /// Somebody says who he is and what he wants; he is answered in this version.
    fn hello(&mut self, stream: StreamId, hello: Hello, version: u8) {
        let peer = hello.identity.replica;
        if hello.cluster == self.config.cluster {
            self.met(&hello.identity);
        }
        let admits = matches!(hello.purpose, Purpose::Join | Purpose::Repair);
        let pushes = matches!(hello.purpose, Purpose::Push | Purpose::Mail);
        let refusal = if hello.cluster != self.config.cluster {
            self.other_cluster_named(hello.identity.address, &hello.cluster);
            Some(Refusal::Cluster(self.config.cluster.clone()))
        } else if let Some(refusal) = self.refused_for_versions(hello.spoken).filter(|_| admits) {
            Some(refusal)
        } else if admits && !self.formed() && self.leaving.is_none() {
            Some(Refusal::NotFormed)
        } else if let Some(keeper) = self.keeper_against(&hello) {
            Some(Refusal::NameTaken(Box::new(keeper)))
        } else if hello.purpose == Purpose::Join && !self.may_admit(&hello.identity)
            || admits && (!self.formed() || self.said_goodbye() || self.streams.serving() >= SERVE_AT_ONCE)
            || pushes && !(self.formed() && self.roster.is_admitted(peer))
        {
            Some(Refusal::Busy)
        } else {
            None
        };
        if hello.purpose == Purpose::Join && refusal == Some(Refusal::NotFormed) {
            self.asked_by_newcomer(peer);
        }
        if let Some(refusal) = refusal {
            self.first_frame(stream, version, &Control::Refuse(refusal));
            self.streams.open.remove(&stream);
            self.outputs.push_back(Output::Close { stream });
            return;
        }
        // One from each is enough; it may not have closed the former yet.
        if pushes && let Some(former) = self.streams.find(false, hello.purpose, peer) {
            self.drop_stream(former, None);
        }
        let Some(state) = self.streams.open.get_mut(&stream) else { return };
        state.peer = Some(peer);
        state.purpose = hello.purpose;
        let newcomer = (hello.purpose == Purpose::Join).then(|| Box::new(hello.identity));
        state.phase = match hello.purpose {
            Purpose::Join | Purpose::Repair => StreamPhase::Asked(newcomer),
            Purpose::Watch => StreamPhase::Idle,
            Purpose::Push => StreamPhase::Pushed,
            Purpose::Mail => StreamPhase::Mail,
        };
        let carries_mail = hello.purpose == Purpose::Mail;
        let welcome = Control::Welcome {
            identity: Box::new(self.swim.identity().clone()),
            spoken: self.spoken_by_all(),
            roster: (admits && hello.roster != self.roster.fingerprint()).then(|| self.roster.clone()),
            members: (admits && hello.members != self.swim.fingerprint()).then(|| self.swim.records()),
        };
        self.first_frame(stream, version, &welcome);
        if carries_mail {
            self.mail_accepted(peer, stream);
        }
    }

    /// Who has the name of a node that asks to be admitted. One at the same address is not meant: that is the former run,
    /// which is soon known to be gone.
    fn keeper_against(&self, hello: &Hello) -> Option<Identity> {
        let keeper = self.outrun_by(&hello.identity).filter(|_| hello.purpose == Purpose::Join)?;
        (keeper.address != hello.identity.address && !self.said_goodbye()).then(|| keeper.clone())
    }

    fn welcome(
        &mut self,
        stream: StreamId,
        identity: &Identity,
        roster: Option<crate::crdt::Roster>,
        members: Option<Vec<crate::membership::Record>>,
    ) {
        let now = self.now.instant;
        let Some(state) = self.streams.open.get_mut(&stream) else { return };
        let expected = state.peer;
        if expected != Some(identity.replica) {
            let (purpose, target) = (state.purpose, expected);
            if let (Purpose::Watch, Some(target)) = (purpose, target) {
                self.streams.open.remove(&stream);
                self.outputs.push_back(Output::Close { stream });
                self.watchers.answered_by(now, target, identity);
            } else {
                self.drop_stream(stream, None);
            }
            return;
        }
        if state.purpose == Purpose::Watch {
            state.phase = StreamPhase::Idle;
            self.watchers.opened(now, identity.replica);
            return;
        }
        if state.purpose == Purpose::Push {
            state.phase = StreamPhase::Pushing;
            return self.push_welcomed(identity.replica);
        }
        if state.purpose == Purpose::Mail {
            state.phase = StreamPhase::Mail;
            return self.mail_welcomed(identity.replica, stream);
        }
        self.session_welcomed(stream, identity.replica, roster, members);
    }

    /// The other end does not want to talk.
    fn turned_away(&mut self, stream: StreamId, refusal: &Refusal) {
        let Some((peer, address)) = self.streams.open.get(&stream).map(|state| (state.peer, state.address)) else {
            return;
        };
        match refusal {
            Refusal::Cluster(name) => self.other_cluster_named(address, name),
            Refusal::Protocol(theirs, address) => self.refused_by_speaker(*address, *theirs),
            Refusal::NameTaken(keeper) => self.refused_for_name(peer, keeper),
            Refusal::NotFormed | Refusal::Busy => {}
        }
        self.drop_stream(stream, Some(refusal));
    }
}
