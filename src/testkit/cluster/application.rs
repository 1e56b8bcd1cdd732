//! The tenant of a host in a [`TestCluster`](super::TestCluster): the application's own handle and role tasks.
//!
//! ```text
//!   engine ── Tenant ─┬─▶ Face ─▶ Cluster (status, events, replies)
//!                     └─▶ Roles ─▶ the application's futures
//!          ◀── poll ──── orders, writes, ended roles, the end of the last handle
//! ```
//!
//! These are the driver's own parts; only its event loop, with sockets and timers, is not used.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use crate::cluster::Cluster;
use crate::cluster::plan::{Handle, Run};
use crate::driver::face::{Face, Orders};
use crate::driver::role_task::Roles;
use crate::driver::{Clock, RoleRunner};
use crate::engine::{Event, Input, MailEvent, Reply, RoleReport, Status};
use crate::roles::{FencingToken, RoleStart};
use crate::signals::Board;
use crate::testkit::host::Host;
use crate::testkit::tenant::{Act, Tenant};

/// What an application does on its simulated host.
pub(super) struct Application {
    face: Face,
    orders: Orders,
    roles: Roles,
    written: mpsc::Receiver<()>,
    /// Ends when the application drops its last handle.
    life: oneshot::Receiver<Infallible>,
}

impl Application {
    /// Lets an application live on a host whose process was just started, and gives it its handle.
    pub(super) fn move_in(host: &mut Host, roles: Roles, handle: Handle, clock: Clock) -> Cluster {
        let engine = host.engine.as_mut().expect("the process was just started");
        let board = Arc::<Board>::default();
        engine.set_board(Arc::clone(&board));
        let (face, orders, ends) = Face::new(Arc::new(engine.status()));
        let (wake, written) = mpsc::channel(1);
        // What was written before now told nobody.
        let _ = wake.try_send(());
        host.store.on_outbox(Box::new(move || {
            // An error means that it is known already, or that nobody is there any more.
            let _ = wake.try_send(());
        }));
        let (alive, life) = oneshot::channel();
        let driver = ends.driver(Arc::default(), Arc::default(), alive);
        let run = Run {
            node: host.options.node.clone(),
            replica: host.store.replica(),
            address: host.address,
            store: Arc::clone(&host.store),
            board,
            clock,
        };
        host.tenant = Some(Box::new(Self { face, orders, roles, written, life }));
        handle.make(run, driver)
    }

    /// What builds and runs role tasks.
    pub(super) fn roles(runner: Box<dyn RoleRunner>, stop_grace: std::time::Duration) -> Roles {
        Roles::new(runner, stop_grace)
    }
}

impl Tenant for Application {
    fn start_role(&mut self, start: RoleStart) -> Option<RoleReport> {
        self.roles.start(&start)
    }

    fn stop_role(&mut self, role: String, token: FencingToken) {
        self.roles.stop(role, token);
    }

    fn status(&mut self, status: Arc<Status>) {
        self.face.publish(status);
    }

    fn event(&mut self, event: Event) {
        self.face.tell(event);
    }

    fn mail(&mut self, event: MailEvent) {
        self.face.deliver(event);
    }

    fn reply(&mut self, request: u64, reply: Reply) {
        self.face.reply(request, reply);
    }

    /// As the event loop does: whoever asked hears of it when the role tasks are gone.
    fn left(mut self: Box<Self>, request: u64, reply: Reply) {
        tokio::spawn(async move {
            self.roles.shutdown().await;
            self.face.reply(request, reply);
        });
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Act> {
        if Pin::new(&mut self.life).poll(context).is_ready() {
            return Poll::Ready(Act::End);
        }
        if let Poll::Ready(Some(())) = self.written.poll_recv(context) {
            return Poll::Ready(Act::Input(Input::StoreChanged));
        }
        if let Poll::Ready(report) = self.roles.poll_next(context) {
            return Poll::Ready(Act::Input(Input::Role(report)));
        }
        while let Poll::Ready(Some(order)) = self.orders.poll_recv(context) {
            if let Some(command) = self.face.command(order) {
                return Poll::Ready(Act::Input(Input::Command(command)));
            }
        }
        self.face.poll_letters(context).map(|letters| Act::Input(Input::Mail(letters)))
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("face", &self.face).finish_non_exhaustive()
    }
}
