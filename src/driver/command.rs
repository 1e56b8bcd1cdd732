//! What the application asks of a running driver, and how it is answered.
//!
//! ```text
//!   Commander::request ─▶ (number, Command) ─▶ event loop ─▶ engine
//!            Requests ◀─────── Reply ◀──────── event loop ◀─ Output::Reply
//!   drop of Requests ─▶ Command::Forget, unless the last reply was given
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::engine::{Command, Reply};

/// The node does not run any more: it left, its driver was dropped, or its event loop panicked (which the log says).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node does not run any more; start a new one")]
pub struct Gone;

/// Gives commands to a driver. Cheap to clone; does not keep the driver alive.
#[derive(Clone, Debug)]
pub struct Commander {
    orders: mpsc::UnboundedSender<Order>,
    next: Arc<AtomicU64>,
}

/// What reaches the event loop. Unbounded, because `Forget` is sent by a `drop`, which cannot wait; each order is one
/// call of the application, and small.
#[derive(Debug)]
pub(crate) enum Order {
    Request { request: u64, command: Command, replies: mpsc::UnboundedSender<Reply> },
    Forget { request: u64 },
}

impl Commander {
    pub(super) fn channel() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        (Self { orders, next: Arc::new(AtomicU64::new(1)) }, receiver)
    }

    /// Gives the command that `make` returns for a fresh request number, and hands back its replies.
    ///
    /// # Errors
    /// [`Gone`] when the node does not run any more.
    #[expect(clippy::unused_async, reason = "so that a bounded queue would change no caller")]
    pub async fn request(&self, make: impl FnOnce(u64) -> Command) -> Result<Requests, Gone> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (replies, receiver) = mpsc::unbounded_channel();
        let order = Order::Request { request, command: make(request), replies };
        self.orders.send(order).map_err(|_| Gone)?;
        Ok(Requests { request, replies: receiver, orders: self.orders.clone() })
    }
}

/// The replies to one command. Dropping it tells the engine that nobody waits any more.
#[derive(Debug)]
pub struct Requests {
    request: u64,
    replies: mpsc::UnboundedReceiver<Reply>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Requests {
    /// The next reply; `None` after the last one, or when the node is gone before it could give one. Cancel safe.
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // An error means that the driver is gone, and with it the request.
        let _ = self.orders.send(Order::Forget { request: self.request });
    }
}

/// Who waits for which reply; lives in the event loop.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<u64, mpsc::UnboundedSender<Reply>>);

impl Waiting {
    pub(super) fn wait(&mut self, request: u64, replies: mpsc::UnboundedSender<Reply>) {
        self.0.insert(request, replies);
    }

    /// Whether somebody waited for this request until now.
    pub(super) fn forget(&mut self, request: u64) -> bool {
        self.0.remove(&request).is_some()
    }

    /// Hands the reply to whoever waits for it; the request is over with any reply but `Waiting`.
    pub(super) fn reply(&mut self, request: u64, reply: Reply) {
        let last = !matches!(reply, Reply::Waiting(_));
        if let Some(replies) = self.0.get(&request) {
            // An error means that its Requests was dropped; the Forget is on its way.
            let _ = replies.send(reply);
        }
        if last {
            self.0.remove(&request);
        }
    }
}
