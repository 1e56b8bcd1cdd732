//! The one task that owns the engine.
//!
//! ```text
//!   datagrams ─┐                                             ┌─▶ datagrams
//!   streams ───┤                                             ├─▶ streams
//!   accepted ──┤                                             ├─▶ role tasks
//!   heard ─────┼─▶ up to 64 inputs ─▶ Deadline? ─▶ outputs ──┤
//!   store ─────┤                                             ├─▶ status, events
//!   roles ─────┤                                             └─▶ replies
//!   letters ───┤                                             ├─▶ letters
//!   orders ────┘                              └─▶ what an output brings about is an input of the next turn
//! ```
//!
//! Everything else of a node that runs (streams, role tasks, strategies, the acceptor) is a task owned from here, so
//! that all of it is gone when this task is: dropped, or unwound by a panic.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::command::Order;
use super::counts::Counts;
use super::datagrams::{Datagrams, Received};
use super::discover::supervise;
use super::face::{Face, Orders};
use super::guard::{AbortOnDrop, caught};
use super::role_task::Roles;
use super::streams::{Accepted, MOST_INCOMING, Streams, acceptor};
use super::{Bound, Clock, Driver, Machine, RunConfig};
use crate::discovery::{BeaconCounts, Broadcast, BroadcastSetup, Context, Stranger, is_beacon};
use crate::engine::{Input, Liveness, Output, Reply, Status};

/// So many inputs of one source are handled before the others get their turn.
const BATCH: usize = 64;
/// And so many of streams: a frame of rows takes as long as hundreds of datagrams.
const FRAMES: usize = 8;
/// How long streams may take to write what was sent, after the node left.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) fn spawn<M: Machine>(bound: Bound, run: RunConfig<M>) -> Driver {
    let (counts, beacons) = (Arc::<Counts>::default(), Arc::<BeaconCounts>::default());
    let (face, orders, ends) = Face::new(run.engine.status());
    let socket = Arc::new(bound.udp);
    let alone = watch::Sender::new(is_alone(&run.engine.status()));
    let (streams, inbox) = Streams::new(bound.bound.ip(), Arc::clone(&counts));
    let (found_sender, found) = mpsc::channel(BATCH);
    let (stranger_sender, strangers) = mpsc::channel(BATCH);
    let (accepted_sender, accepted) = mpsc::channel(BATCH);
    let mut tasks = JoinSet::new();

    let mut strategies = run.strategies;
    let beacon_inbox = run.beacon.map(|config| {
        let (net, cluster_port, counts) = (bound.net, bound.cluster_port, Arc::clone(&beacons));
        let (socket, bound, cluster) = (Arc::clone(&socket), bound.bound, run.cluster);
        let (sender, unicast) = mpsc::channel(BATCH);
        let strangers = stranger_sender;
        let setup = BroadcastSetup { cluster, config, net, cluster_port, socket, bound, counts, strangers };
        strategies.push(Box::new(Broadcast::new(setup, unicast)));
        sender
    });
    let context = Context::new(bound.advertised, found_sender, alone.subscribe());
    for strategy in strategies {
        tasks.spawn(supervise(strategy, context.clone()));
    }
    tasks.spawn(acceptor(bound.tcp, MOST_INCOMING, accepted_sender, Arc::clone(&counts)));

    let written = Arc::new(Notify::new());
    // What was written before now told nobody.
    written.notify_one();
    let wake = Arc::clone(&written);
    run.store.on_outbox(Box::new(move || wake.notify_one()));

    let event_loop = EventLoop {
        machine: run.engine,
        clock: run.clock,
        datagrams: Datagrams::new(socket, Arc::clone(&counts)),
        streams,
        roles: Roles::new(run.runner, run.stop_grace),
        face,
        pending: VecDeque::new(),
        left: Vec::new(),
        beacon_inbox,
        counts: Arc::clone(&counts),
        alone,
        tasks,
    };
    let (batch, ordered) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    let sources = Sources { inbox, found, strangers, accepted, orders, ordered, written, batch };
    let task = AbortOnDrop(tokio::spawn(async move {
        if let Err(why) = caught(event_loop.run(sources)).await {
            tracing::error!(why, "the event loop of this node ended; the node is gone, others will take it for dead");
        }
    }));
    ends.driver(counts, beacons, task)
}

/// Where inputs come from, apart from what the event loop asks for itself.
struct Sources {
    inbox: mpsc::Receiver<Input>,
    found: mpsc::Receiver<SocketAddr>,
    strangers: mpsc::Receiver<Stranger>,
    accepted: mpsc::Receiver<Accepted>,
    orders: Orders,
    ordered: Vec<Order>,
    written: Arc<Notify>,
    batch: Vec<Input>,
}

struct EventLoop<M> {
    machine: M,
    clock: Clock,
    datagrams: Datagrams,
    streams: Streams,
    roles: Roles,
    face: Face,
    /// Brought about by outputs, to be handled in the next turn.
    pending: VecDeque<Input>,
    /// The replies that end this node, given when everything is closed.
    left: Vec<(u64, Reply)>,
    beacon_inbox: Option<mpsc::Sender<(SocketAddr, Bytes)>>,
    counts: Arc<Counts>,
    alone: watch::Sender<bool>,
    /// Strategies and the acceptor.
    tasks: JoinSet<()>,
}

impl<M: Machine> EventLoop<M> {
    async fn run(mut self, mut sources: Sources) {
        self.carry_out();
        while self.left.is_empty() {
            self.turn(&mut sources).await;
            self.tick();
            self.carry_out();
        }
        self.shut_down(sources).await;
    }

    /// Waits for something to happen and handles a batch of it.
    async fn turn(&mut self, sources: &mut Sources) {
        let deadline = self.machine.poll_timeout().map(|instant| self.clock.timer(instant));
        tokio::select! {
            () = std::future::ready(()), if !self.pending.is_empty() => {
                for input in std::mem::take(&mut self.pending) {
                    self.handle(input);
                }
            }
            () = self.datagrams.readable() => self.receive(),
            _ = sources.inbox.recv_many(&mut sources.batch, FRAMES) => {
                for input in sources.batch.drain(..) {
                    if let Some(input) = self.streams.admit(input) {
                        self.machine.handle(self.clock.now(), input);
                        // Frames are large: what they bring about goes out before the next one is looked at.
                        self.carry_out();
                    }
                }
            }
            Some(accepted) = sources.accepted.recv() => {
                let input = self.streams.accept(accepted);
                self.handle(input);
            }
            Some(address) = sources.found.recv() => self.handle(Input::Discovered { address }),
            Some(stranger) = sources.strangers.recv() => self.handle(match stranger {
                Stranger::OfCluster { address, cluster } => Input::Stranger { address, cluster },
                Stranger::OfVersion { from, bytes } => Input::Datagram { from, bytes },
            }),
            () = sources.written.notified() => self.handle(Input::StoreChanged),
            report = self.roles.next() => self.handle(Input::Role(report)),
            1.. = sources.orders.recv_many(&mut sources.ordered, BATCH) => {
                for order in sources.ordered.drain(..) {
                    if let Some(command) = self.face.command(order) {
                        self.machine.handle(self.clock.now(), Input::Command(command));
                    }
                }
            }
            letters = poll_fn(|context| self.face.poll_letters(context)) => self.handle(Input::Mail(letters)),
            Some(()) = self.streams.reap() => {}
            () = sleep_until(deadline) => {}
        }
    }

    fn handle(&mut self, input: Input) {
        self.machine.handle(self.clock.now(), input);
    }

    /// Whatever woke the loop, a deadline that has passed does not wait for its turn.
    fn tick(&mut self) {
        let now = self.clock.now();
        if self.machine.poll_timeout().is_some_and(|deadline| deadline <= now.instant) {
            self.machine.handle(now, Input::Deadline);
        }
    }

    fn receive(&mut self) {
        for _ in 0..BATCH {
            match self.datagrams.receive() {
                Received::Datagram(from, bytes) if is_beacon(&bytes) => {
                    let beacon_inbox = self.beacon_inbox.as_ref();
                    if beacon_inbox.is_none_or(|inbox| inbox.try_send((from, bytes)).is_err()) {
                        Counts::add(&self.counts.beacons_dropped);
                    }
                }
                Received::Datagram(from, bytes) => self.handle(Input::Datagram { from, bytes }),
                Received::Dropped => {}
                Received::Nothing => return,
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let brought_about = match output {
                Output::Datagram { to, bytes } => self.datagrams.send(self.clock.now().instant, to, &bytes),
                Output::Connect { stream, to } => {
                    self.streams.connect(stream, to);
                    None
                }
                Output::Frame { stream, bytes } => self.streams.send(stream, bytes),
                Output::Close { stream } => {
                    self.streams.close(stream);
                    None
                }
                Output::StartRole(start) => self.roles.start(&start).map(Input::Role),
                Output::StopRole { role, token } => {
                    self.roles.stop(role, token);
                    None
                }
                Output::Status(status) => {
                    self.publish(status);
                    None
                }
                Output::Event(event) => {
                    self.face.tell(event);
                    None
                }
                Output::Mail(event) => {
                    self.face.deliver(event);
                    None
                }
                Output::Reply { request, reply } => {
                    match reply {
                        Reply::Left | Reply::LeftWithUnsaved(_) => self.left.push((request, reply)),
                        Reply::Converged
                        | Reply::Waiting(_)
                        | Reply::Visible { .. }
                        | Reply::Stats(_)
                        | Reply::Explained(_)
                        | Reply::Moves(_)
                        | Reply::Done
                        | Reply::Role { .. }
                        | Reply::Denied(_) => {
                            self.face.reply(request, reply);
                        }
                    }
                    None
                }
            };
            self.pending.extend(brought_about);
        }
    }

    fn publish(&self, status: Arc<Status>) {
        let alone = is_alone(&status);
        self.alone.send_if_modified(|before| std::mem::replace(before, alone) != alone);
        self.face.publish(status);
    }

    /// The node left. Whoever asked for it hears so when everything is closed: a new node can have the port then.
    async fn shut_down(mut self, sources: Sources) {
        drop(sources);
        self.roles.shutdown().await;
        self.tasks.shutdown().await;
        self.streams.shutdown(LAST_WORDS).await;
        drop(self.datagrams);
        for (request, reply) in self.left {
            self.face.reply(request, reply);
        }
    }
}

fn is_alone(status: &Status) -> bool {
    status.members.iter().all(|member| member.replica == status.replica || member.liveness == Liveness::Down)
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
