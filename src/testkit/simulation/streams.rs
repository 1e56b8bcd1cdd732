//! Streams: they lose nothing and keep their order, wait while nothing gets through, and break when that takes too long.
//!
//! ```text
//!   near end ── Pipe { waiting } ──▶ far end        one pipe for each direction
//!                 │ the way is closed: what was sent waits, a close too
//!                 └ after 15 minutes the near end is told that the stream broke; the far end hears when it sends
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::datagrams::flipped;
use super::{Happening, Simulation};
use crate::engine::{Input, StreamId};
use crate::testkit::host::NodeIndex;
use crate::testkit::network::Way;
use crate::time::Instant;

/// One end of a stream: host, its life, the number there.
pub(super) type End = (usize, u64, StreamId);

/// How long somebody waits for an answer to an attempt to open a stream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long TCP sends again before it gives a connection up (Linux, `tcp_retries2` of 15).
const BROKEN_AFTER: Duration = Duration::from_secs(924);

/// What a host takes off its process's hands while nothing gets through.
const SEND_BUFFER: usize = 256 << 10;

/// What goes from one end of a stream to the other.
#[derive(Debug)]
pub(super) struct Pipe {
    far: End,
    /// When the last thing that is under way arrives: streams keep order.
    last: Instant,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Since when something waits.
    stuck_since: Option<Instant>,
    /// The process closed its end; only what waits is still to go.
    closed: bool,
    /// The other end is closed, and the news of that is under way.
    ending: bool,
}

#[derive(Debug)]
enum Waiting {
    /// The process was not told yet that there is room for more.
    Frame {
        bytes: Bytes,
        owes_flush: bool,
    },
    Close,
}

impl Pipe {
    fn new(far: End, now: Instant) -> Self {
        Self {
            far,
            last: now,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            stuck_since: None,
            closed: false,
            ending: false,
        }
    }
}

impl Simulation {
    pub(super) fn connect(&mut self, from: usize, stream: StreamId, to: SocketAddr) {
        let fail = |refused| Input::ConnectFailed { stream, refused };
        let Some(target) = self.at(to) else { return self.input(from, CONNECT_TIMEOUT, fail(false)) };
        let link = (NodeIndex(from), NodeIndex(target));
        let after = self.network.frame(&mut self.random, self.now, link, 40).after;
        match (self.way(from, target), self.way(target, from)) {
            (Way::Rejecting, _) => self.input(from, after, fail(true)),
            (Way::Silent, _) | (_, Way::Silent) => self.input(from, CONNECT_TIMEOUT, fail(false)),
            _ if self.hosts[target].engine.is_none() => self.input(from, after * 2, fail(true)),
            _ => {
                self.hosts[target].accepted += 1;
                let far = (target, self.hosts[target].life, StreamId(self.hosts[target].accepted * 2 + 1));
                let near = (from, self.hosts[from].life, stream);
                self.pipes.insert(near, Pipe::new(far, self.now + after));
                self.pipes.insert(far, Pipe::new(near, self.now + after * 2));
                self.input(target, after, Input::Accepted { stream: far.2, from: self.hosts[from].address });
                self.input(from, after * 2, Input::Connected { stream });
            }
        }
    }

    /// Whether a process still has its end of a stream.
    pub(super) fn has_end(&self, end: End) -> bool {
        self.pipes.get(&end).is_some_and(|pipe| !pipe.closed)
    }

    pub(super) fn send_frame(&mut self, near: End, bytes: Bytes) {
        let Some(pipe) = self.pipes.get_mut(&near) else { return };
        pipe.waiting_bytes += bytes.len();
        pipe.waiting.push_back(Waiting::Frame { bytes, owes_flush: true });
        if self.flow(near) {
            return;
        }
        let Some(pipe) = self.pipes.get_mut(&near) else { return };
        if let Some(Waiting::Frame { owes_flush, .. }) = pipe.waiting.back_mut()
            && pipe.waiting_bytes <= SEND_BUFFER
        {
            // It waits, but its process is rid of it.
            *owes_flush = false;
            self.flushed(near, Duration::ZERO);
        }
    }

    fn flushed(&mut self, near: End, after: Duration) {
        let (host, life, stream) = near;
        self.schedule(after, Happening::Input { host, life, input: Input::Flushed { stream } });
    }

    /// Sends what waits, if it gets through now; whether nothing waits any more.
    fn flow(&mut self, near: End) -> bool {
        let Some(pipe) = self.pipes.get_mut(&near) else { return true };
        let far = pipe.far;
        if pipe.ending {
            pipe.waiting.clear();
            if pipe.closed {
                self.closed(near);
            }
            return true;
        }
        if self.way(near.0, far.0) != Way::Open {
            self.stuck(near);
            return false;
        }
        if !self.pipes.contains_key(&far) {
            // The host knows of no such stream and says so.
            self.broken(near);
            return true;
        }
        self.stuck.remove(&near);
        while let Some(next) = self.pipes.get_mut(&near).and_then(|pipe| pipe.waiting.pop_front()) {
            match next {
                Waiting::Frame { bytes, owes_flush } => self.deliver(near, far, bytes, owes_flush),
                Waiting::Close => {
                    let at = self.arrival(near, 40);
                    self.pipes.remove(&near);
                    if let Some(back) = self.pipes.get_mut(&far) {
                        back.ending = true;
                    }
                    let (host, life, stream) = far;
                    self.queue.push(at, Happening::Input { host, life, input: Input::Closed { stream } });
                }
            }
        }
        if let Some(pipe) = self.pipes.get_mut(&near) {
            (pipe.waiting_bytes, pipe.stuck_since) = (0, None);
        }
        true
    }

    fn deliver(&mut self, near: End, far: End, bytes: Bytes, owes_flush: bool) {
        let link = (NodeIndex(near.0), NodeIndex(far.0));
        let copy = self.network.frame(&mut self.random, self.now, link, bytes.len());
        let at = self.in_order(near, self.now + copy.after);
        let bytes = flipped(&mut self.random, bytes, copy.flips);
        let (host, life, stream) = far;
        self.queue.push(at, Happening::Input { host, life, input: Input::Frame { stream, bytes } });
        if owes_flush {
            // As with full buffers: there is room again when it has arrived.
            self.flushed(near, at.since(self.now));
        }
    }

    fn arrival(&mut self, near: End, bytes: usize) -> Instant {
        let Some(far) = self.pipes.get(&near).map(|pipe| pipe.far) else { return self.now };
        let link = (NodeIndex(near.0), NodeIndex(far.0));
        let after = self.network.frame(&mut self.random, self.now, link, bytes).after;
        self.in_order(near, self.now + after)
    }

    fn in_order(&mut self, near: End, at: Instant) -> Instant {
        let Some(pipe) = self.pipes.get_mut(&near) else { return at };
        pipe.last = at.max(pipe.last + Duration::from_nanos(1));
        pipe.last
    }

    fn stuck(&mut self, near: End) {
        if !self.stuck.insert(near) {
            return;
        }
        if let Some(pipe) = self.pipes.get_mut(&near) {
            pipe.stuck_since = Some(self.now);
        }
        self.schedule(BROKEN_AFTER, Happening::GiveUp { end: near, since: self.now });
    }

    /// The host sent again and again; now it gives up.
    pub(super) fn give_up(&mut self, near: End, since: Instant) {
        if self.pipes.get(&near).is_some_and(|pipe| pipe.stuck_since == Some(since)) {
            self.broken(near);
        }
    }

    fn broken(&mut self, near: End) {
        self.stuck.remove(&near);
        let Some(pipe) = self.pipes.remove(&near) else { return };
        if !pipe.closed {
            let (host, life, stream) = near;
            self.schedule(Duration::ZERO, Happening::Input { host, life, input: Input::Closed { stream } });
        }
    }

    /// The network changed: what waits may get through now.
    pub(super) fn flow_again(&mut self) {
        for end in std::mem::take(&mut self.stuck) {
            self.stuck.insert(end);
            self.flow(end);
        }
    }

    /// A process closes its end; what it sent still goes, and then the other end hears of it.
    pub(super) fn hang_up(&mut self, near: End) {
        let Some(pipe) = self.pipes.get_mut(&near) else { return };
        pipe.closed = true;
        pipe.waiting.push_back(Waiting::Close);
        self.flow(near);
    }

    /// A stream is no more to one end: it was told that the other one closed it.
    pub(super) fn closed(&mut self, near: End) {
        self.stuck.remove(&near);
        self.pipes.remove(&near);
    }

    /// Nothing of a process is left that could still be sent.
    pub(super) fn drop_ends(&mut self, host: usize, life: u64) {
        let all = (host, life, StreamId(0))..=(host, life, StreamId(u64::MAX));
        let ends: Vec<End> = self.pipes.range(all).map(|(end, _)| *end).collect();
        ends.into_iter().for_each(|end| self.closed(end));
    }

    /// All ends of a process that it has not closed.
    pub(super) fn ends_of(&self, host: usize, life: u64) -> Vec<End> {
        let all = (host, life, StreamId(0))..=(host, life, StreamId(u64::MAX));
        self.pipes.range(all).filter(|(_, pipe)| !pipe.closed).map(|(end, _)| *end).collect()
    }
}
