//! What the event loop needs of an engine and of a store, so that it can be tested with a scripted one of each.

use std::sync::Arc;

use crate::engine::{Engine, Input, Output, Status};
use crate::store::Store;
use crate::time::{Instant, Now};

/// A state machine without IO: told what happened, it is asked what to do.
///
/// After every [`handle`](Machine::handle), [`poll_output`](Machine::poll_output) is called until it returns `None`, and
/// then [`poll_timeout`](Machine::poll_timeout) once.
pub trait Machine: Send + 'static {
    /// Something happened.
    fn handle(&mut self, now: Now, input: Input);
    /// What to do next.
    fn poll_output(&mut self) -> Option<Output>;
    /// When to be told [`Input::Deadline`], if nothing happens before.
    fn poll_timeout(&self) -> Option<Instant>;
    /// What the node sees; asked once, before anything is handled.
    fn status(&self) -> Arc<Status>;
}

/// A store that tells when it has something to send.
pub trait Outbox: Send + Sync {
    /// Sets what to call whenever the outbox goes from empty to non-empty.
    fn on_outbox(&self, waker: Box<dyn Fn() + Send + Sync>);
}

impl Machine for Engine {
    fn handle(&mut self, now: Now, input: Input) {
        Engine::handle(self, now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Engine::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Engine::poll_timeout(self)
    }

    fn status(&self) -> Arc<Status> {
        Arc::new(Engine::status(self))
    }
}

impl Outbox for Store {
    fn on_outbox(&self, waker: Box<dyn Fn() + Send + Sync>) {
        Store::on_outbox(self, waker);
    }
}
