//! What lies between whoever drives an engine and the handle to it that the application holds.
//!
//! ```text
//!   event loop, or a simulated host                     the application's handle
//!     Face ── publish ─▶ status ──────────────────────────▶ Driver::status
//!          ── tell ────▶ events ──────────────────────────▶ Driver::events
//!          ── reply ───▶ Waiting ─▶ Requests                    ▲
//!     Orders ◀── (number, Command) ───────────────────────── Driver::commander
//!     Mail ◀── letters, both ways ─────────────────────────▶ Driver::mail
//!   Life, which ends with the Driver ◀─────────────────────── Driver
//! ```
//!
//! It knows neither sockets nor role tasks, so that a node on a simulated network has the same face.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{broadcast, mpsc};

use super::Driver;
use super::command::{Commander, Order, Waiting};
use super::counts::Counts;
use super::latest::Latest;
use super::mail::Mail;
use crate::discovery::BeaconCounts;
use crate::engine::{Command, Event, Letter, MailEvent, Reply, Status, differences};

/// How many events a reader may be behind before it misses some.
const EVENTS: usize = 1_024;

/// The end of whoever owns the engine.
#[derive(Debug)]
pub(crate) struct Face {
    status: Latest<Arc<Status>>,
    events: broadcast::Sender<Event>,
    waiting: Waiting,
    mail: Arc<Mail>,
}

/// What the application asks for, in order.
pub(crate) type Orders = mpsc::UnboundedReceiver<Order>;

/// What a [`Driver`] owns besides: dropped with it, it stops the node.
pub(crate) trait Life: fmt::Debug + Send + Sync {}

impl<T: fmt::Debug + Send + Sync> Life for T {}

/// All that is needed for a [`Driver`], but for what keeps it alive.
#[derive(Debug)]
pub(crate) struct Ends {
    status: super::Reader<Arc<Status>>,
    events: broadcast::WeakSender<Event>,
    commander: Commander,
    mail: Arc<Mail>,
}

impl Face {
    /// A face that shows this status, and the ends of it.
    pub(crate) fn new(status: Arc<Status>) -> (Self, Orders, Ends) {
        let (commander, orders) = Commander::channel();
        let status = Latest::new(status);
        let events = broadcast::Sender::new(EVENTS);
        let mail = Arc::new(Mail::new());
        let ends = Ends { status: status.reader(), events: events.downgrade(), commander, mail: Arc::clone(&mail) };
        (Self { status, events, waiting: Waiting::default(), mail }, orders, ends)
    }

    pub(crate) fn publish(&self, status: Arc<Status>) {
        self.status.set(status);
    }

    pub(crate) fn tell(&self, event: Event) {
        log(&event);
        // An error means that nobody listens.
        let _ = self.events.send(event);
    }

    /// Hands over what became of letters.
    pub(crate) fn deliver(&self, event: MailEvent) {
        self.mail.deliver(event);
    }

    /// All letters that wait for the engine.
    pub(crate) fn poll_letters(&self, context: &mut Context<'_>) -> Poll<Vec<Letter>> {
        self.mail.poll_take(context)
    }

    pub(crate) fn reply(&mut self, request: u64, reply: Reply) {
        self.waiting.reply(request, reply);
    }

    /// What an order says to the engine; nothing, if it is about a request that is over.
    pub(crate) fn command(&mut self, order: Order) -> Option<Command> {
        match order {
            Order::Request { request, command, replies } => {
                self.waiting.wait(request, replies);
                Some(command)
            }
            Order::Forget { request } => self.waiting.forget(request).then_some(Command::Forget { request }),
        }
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.mail.close();
    }
}

/// What whoever runs the node should know though no application listens: how it is set up beside others.
fn log(event: &Event) {
    match event {
        Event::OtherCluster { address, name } => {
            tracing::info!(%address, name, "a node of another cluster is on this network and is ignored");
        }
        Event::NameTaken { node, address, keeps: true, .. } => {
            tracing::warn!(%node, %address, "another live node has this one's name or address and is shut out");
        }
        Event::NameTaken { node, address, .. } => {
            tracing::error!(%node, %address, "another live node has this one's name or address; give this one its own");
        }
        Event::SchemaDiffers { table, node, ours, theirs, .. } => {
            tracing::warn!(table, %node, ours, theirs, "another node uses other types for a table; neither reads the other's rows");
        }
        Event::RoleAborted { role, after } => {
            tracing::warn!(role, ?after, "a role did not end within its stop grace and was aborted");
        }
        Event::Unready { wait } => {
            tracing::warn!(?wait, "others find this node down again and again; it builds no roles for a while");
        }
        Event::NoCommonProtocol { address, theirs, ours } => {
            tracing::warn!(%address, %theirs, %ours, "a node with no common protocol version is ignored; update the older");
        }
        other => log_role(other),
    }
}

/// What becomes of roles.
fn log_role(event: &Event) {
    match event {
        Event::RoleSpecDiffers { role, standing, declared } => {
            let differences = differences(standing, declared);
            tracing::warn!(role, differences, "another spec of a role stands than this node declares");
        }
        Event::RoleUnplaced { role, kind, why } => {
            tracing::warn!(role, kind, %why, "no node can host a role");
        }
        Event::RoleGaveUp { role, node, why, .. } => {
            tracing::warn!(role, %node, why, "a node gave a role up, which failed too often there");
        }
        Event::RoleOverlap { role, instances, lasted, over } => {
            tracing::warn!(role, instances, ?lasted, over, "more instances of a role ran than asked for");
        }
        Event::RoleGap { role, missing, lasted, over } => {
            tracing::info!(role, missing, ?lasted, over, "fewer instances of a role ran than asked for");
        }
        _ => {}
    }
}

impl Ends {
    /// The handle, which ends `life` when it is dropped.
    pub(crate) fn driver(self, counts: Arc<Counts>, beacons: Arc<BeaconCounts>, life: impl Life + 'static) -> Driver {
        let Self { status, events, commander, mail } = self;
        Driver { status, events, commander, mail, counts, beacons, _life: Box::new(life) }
    }
}
