//! What the driver does in production: hands inputs to the engine, and carries out what it asks for.

use std::time::Duration;

use rand::RngExt;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Happening, Simulation};
use crate::engine::{Engine, Input, Output, Phase};
use crate::id::ReplicaId;
use crate::testkit::host::{NodeIndex, OWN_BUFFER};
use crate::testkit::trace::Step;
use crate::time::Instant;
use crate::wire::{self, MAX_DATAGRAM, MAX_FRAME};

/// The pause between beacons of a node that is alone, and of one that is not: the ends of what discovery's pace draws.
const BEACON_ALONE: Duration = Duration::from_secs(1);
const BEACON_IN_COMPANY: Duration = Duration::from_secs(30);

impl Simulation {
    /// Lets the next thing happen, if it does so by `end`; the host that it happened to.
    pub(crate) fn step(&mut self, end: Instant) -> Option<NodeIndex> {
        let version = self.network.version();
        if version != std::mem::replace(&mut self.network_seen, version) {
            self.flow_again();
        }
        if self.queue.next()? > end {
            return None;
        }
        let (at, happening) = self.queue.pop()?;
        self.now = at;
        Some(NodeIndex(self.happen(happening)))
    }

    fn happen(&mut self, happening: Happening) -> usize {
        match happening {
            Happening::Input { host, life, input } => {
                if self.hosts[host].life == life {
                    self.arrive(host, input);
                }
                host
            }
            Happening::Packet { host, input } => {
                self.arrive(host, input);
                host
            }
            Happening::Wake { host, life } => {
                if self.hosts[host].life == life {
                    self.wake(host);
                }
                host
            }
            Happening::Beacon { host, life } => {
                if self.hosts[host].life == life {
                    self.beacon(host, life);
                }
                host
            }
            Happening::Task { host, life, task } => {
                if self.hosts[host].life == life {
                    self.take_turn(host, task);
                }
                host
            }
            Happening::GiveUp { end, since } => {
                self.give_up(end, since);
                end.0
            }
        }
    }

    /// Something reaches a host: its process, or the buffers of its system while the process stands still.
    pub(super) fn arrive(&mut self, host: usize, input: Input) {
        let there = &mut self.hosts[host];
        if there.paused {
            let datagrams = there.backlog.iter().filter(|input| matches!(input, Input::Datagram { .. })).count();
            if !matches!(input, Input::Datagram { .. }) || datagrams < OWN_BUFFER {
                there.backlog.push_back(input);
            }
            return;
        }
        let end = (host, there.life);
        let end = |stream| (end.0, end.1, stream);
        match &input {
            Input::Frame { stream, .. } | Input::Flushed { stream } if !self.has_end(end(*stream)) => return,
            Input::Closed { stream } => {
                let end = end(*stream);
                self.closed(end);
            }
            _ => {}
        }
        self.handle(host, input);
    }

    fn wake(&mut self, host: usize) {
        let there = &mut self.hosts[host];
        // A wake that was moved forward leaves one behind that nobody asked for.
        if there.wake_at != Some(self.now) {
            return;
        }
        there.wake_at = None;
        if there.paused {
            return;
        }
        if there.due().is_some_and(|due| due <= self.now) {
            self.handle(host, Input::Deadline);
        } else {
            self.set_alarm(host);
        }
    }

    pub(super) fn set_alarm(&mut self, host: usize) {
        let there = &mut self.hosts[host];
        let Some(due) = there.due() else { return };
        let due = due.max(self.now);
        // One that comes too early looks again; one that came too late would be a deadline missed.
        if there.wake_at.is_none_or(|wake_at| wake_at > due) {
            there.wake_at = Some(due);
            let life = there.life;
            self.queue.push(due, Happening::Wake { host, life });
        }
    }

    pub(super) fn handle(&mut self, host: usize, input: Input) {
        let now = self.now_at(NodeIndex(host));
        let Some(engine) = &mut self.hosts[host].engine else { return };
        if let Input::Datagram { bytes, .. } | Input::Frame { bytes, .. } = &input {
            self.trace_hash = xxh3_64_with_seed(bytes, self.trace_hash);
        }
        let when = self.trace_hash ^ self.now.as_nanos() ^ now.wall_ms.rotate_left(32);
        self.trace_hash = xxh3_64_with_seed(&(host as u64).to_be_bytes(), when);
        if let Some(recorder) = &mut self.recorder {
            recorder.step(self.now, now, host, || Step::Input(input.clone()));
        }
        engine.handle(now, input);
        self.drain(host);
    }

    pub(super) fn boot(&mut self, index: usize) {
        let (replica, seed) = (ReplicaId(self.random.random()), self.random.random());
        self.hosts[index].booted = self.now;
        let now = self.now_at(NodeIndex(index));
        let config = self.hosts[index].boot(now, replica, seed);
        if let Some(recorder) = &mut self.recorder {
            let packing = self.hosts[index].options.packing;
            recorder.step(self.now, now, index, || Step::Boot { config: Box::new(config), packing });
        }
        let life = self.hosts[index].life;
        self.schedule(Duration::ZERO, Happening::Beacon { host: index, life });
        self.drain(index);
    }

    /// Looks for others every second while alone, every 30 s otherwise, in the broadcast domain.
    fn beacon(&mut self, host: usize, life: u64) {
        if self.hosts[host].engine.is_none() {
            return;
        }
        let phase = self.hosts[host].status.as_ref().map(|status| status.phase);
        let pause = if phase == Some(Phase::Clustered) { BEACON_IN_COMPANY } else { BEACON_ALONE };
        self.schedule(pause, Happening::Beacon { host, life });
        if self.hosts[host].paused || !self.hosts[host].plugged {
            return;
        }
        for other in 0..self.hosts.len() {
            let link = (NodeIndex(host), NodeIndex(other));
            if other == host || !self.hosts[other].plugged || !self.network.hears_beacons(link.0, link.1) {
                continue;
            }
            for copy in self.network.copies(&mut self.random, self.now, link, 64) {
                // The sum of one whose bits are wrong is wrong: nobody takes it for a beacon.
                if copy.flips == 0 {
                    let input = self.beacon_heard(host, other);
                    self.schedule(copy.after, Happening::Packet { host: other, input });
                }
            }
        }
    }

    /// What discovery makes of a beacon.
    fn beacon_heard(&self, host: usize, other: usize) -> Input {
        let (address, caller) = (self.hosts[host].address, &self.hosts[host].options);
        let hearer = &self.hosts[other].options;
        if !hearer.protocol.has(caller.protocol.low) {
            let bytes = wire::seal_in(caller.protocol.low, caller.protocol, wire::open(wire::BEACON));
            Input::Datagram { from: address, bytes }
        } else if hearer.cluster == caller.cluster {
            Input::Discovered { address }
        } else {
            Input::Stranger { address, cluster: wire::cluster_hash(&caller.cluster) }
        }
    }

    fn drain(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].engine.as_mut().and_then(Engine::poll_output) {
            if let Some(recorder) = &mut self.recorder {
                recorder.output(&output);
            }
            self.carry_out(host, output);
        }
        self.set_alarm(host);
    }

    fn carry_out(&mut self, host: usize, output: Output) {
        let life = self.hosts[host].life;
        let (size, limit) = match &output {
            Output::Datagram { bytes, .. } => (bytes.len(), MAX_DATAGRAM),
            Output::Frame { bytes, .. } => (bytes.len(), MAX_FRAME),
            _ => (0, 0),
        };
        if size > limit {
            self.hosts[host].oversized.get_or_insert((size, limit));
        }
        match output {
            Output::Datagram { to, bytes } => self.datagram(host, to, bytes),
            Output::Connect { stream, to } => self.connect(host, stream, to),
            Output::Frame { stream, bytes } => self.send_frame((host, life, stream), bytes),
            Output::Close { stream } => self.hang_up((host, life, stream)),
            Output::StartRole(start) => self.start_task(host, start),
            Output::StopRole { role, token } => self.stop_task(host, role, token),
            Output::Status(status) => self.hosts[host].publish(status),
            Output::Event(event) => self.hosts[host].tell(event),
            Output::Mail(event) => self.hosts[host].mail(event),
            Output::Reply { request, reply } => {
                if self.hosts[host].reply(request, reply) {
                    // What was sent is under way; the process ends.
                    self.kill(NodeIndex(host));
                }
            }
        }
    }
}
