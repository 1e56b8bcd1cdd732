//! What a server and the handles to it share.
//!
//! ```text
//!            ┌──────────────── a pause ────────────────┐
//!            ▼                                         │ fails
//!        Starting ── init is done ──▶ Running ─────────┼──▶ Restarting ── too often ──▶ GaveUp
//!            │                           │ asked to end
//!            └───────────────────────────┴──▶ Stopping ──▶ Stopped
//! ```
//!
//! While it starts and runs there is a mailbox; in all other states messages are refused at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::{CallError, CastError, DistrServer, ServerConfig, ServerState};
use crate::cluster::Table;
use crate::driver::{Latest, Reader};

/// How a call is answered.
pub(super) enum Answer<R> {
    /// Somebody with a handle waits.
    Handle(oneshot::Sender<Result<R, CallError>>),
    /// It came as a message to the role.
    Role(Box<dyn Answers<R>>),
}

/// Whoever takes the answer to a message that came to the role.
pub(super) trait Answers<R>: Send {
    fn is_gone(&self) -> bool;
    fn answer(self: Box<Self>, answer: Result<R, CallError>);
}

impl<R> Answer<R> {
    /// Whether nobody waits any more.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Handle(sender) => sender.is_closed(),
            Self::Role(answers) => answers.is_gone(),
        }
    }

    pub(super) fn send(self, answer: Result<R, CallError>) {
        match self {
            // An error means that nobody waits any more.
            Self::Handle(sender) => drop(sender.send(answer)),
            Self::Role(answers) => answers.answer(answer),
        }
    }
}

/// What lies in a mailbox.
pub(super) enum Message<S: DistrServer> {
    Call(S::Call, Answer<S::Reply>),
    Cast(S::Cast),
}

/// What a server does now, and how to reach it.
pub(super) struct Door<S: DistrServer> {
    pub(super) state: ServerState,
    mailbox: Option<mpsc::Sender<Message<S>>>,
}

/// One server: all its starts, and the handles to it.
pub(super) struct Shared<S: DistrServer> {
    config: ServerConfig,
    table: Table<S::Key, S::Value>,
    /// The role that it is.
    role: Option<String>,
    door: Latest<Door<S>>,
    stop: Latest<bool>,
    starts: AtomicU64,
    gone: Reader<bool>,
    overran: OnceLock<Duration>,
}

impl<S: DistrServer> Shared<S> {
    pub(super) fn new(
        config: ServerConfig,
        table: Table<S::Key, S::Value>,
        role: Option<String>,
        gone: Reader<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            table,
            role,
            door: Latest::new(Door { state: ServerState::Starting, mailbox: None }),
            stop: Latest::new(false),
            starts: AtomicU64::new(0),
            gone,
            overran: OnceLock::new(),
        })
    }

    pub(super) fn config(&self) -> &ServerConfig {
        &self.config
    }

    pub(super) fn table(&self) -> &Table<S::Key, S::Value> {
        &self.table
    }

    pub(super) fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    pub(super) fn state(&self) -> ServerState {
        self.door.get().state
    }

    pub(super) fn doors(&self) -> Reader<Door<S>> {
        self.door.reader()
    }

    /// Turns true when the node is gone.
    pub(super) fn gone(&self) -> &Reader<bool> {
        &self.gone
    }

    /// Opens a mailbox for a start.
    pub(super) fn start(&self) -> mpsc::Receiver<Message<S>> {
        let (sender, mailbox) = mpsc::channel(self.config.capacity());
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.door.set(Door { state: ServerState::Starting, mailbox: Some(sender) });
        mailbox
    }

    /// All is prepared.
    pub(super) fn run(&self) {
        self.door.set(Door { state: ServerState::Running, ..self.door.get() });
    }

    /// No message is taken from here on.
    pub(super) fn shut(&self, state: ServerState) {
        self.door.set(Door { state, mailbox: None });
    }

    /// Puts a message into the mailbox, or says why not.
    pub(super) fn post(&self, message: Message<S>) -> Result<(), CastError> {
        let Door { state, mailbox } = self.door.get();
        let Some(mailbox) = mailbox else { return Err(refusal(&state)) };
        mailbox.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => CastError::Full { capacity: self.config.capacity() },
            TrySendError::Closed(_) => self.refusal(),
        })
    }

    /// Why a message that was taken came to nothing, or none is taken.
    pub(super) fn refusal(&self) -> CastError {
        refusal(&self.state())
    }

    /// Asks for the end.
    pub(super) fn ask_to_stop(&self) {
        self.stop.set(true);
    }

    pub(super) fn stop(&self) -> Reader<bool> {
        self.stop.reader()
    }

    /// It was dropped after its stop grace.
    pub(super) fn set_overran(&self, grace: Duration) {
        let _ = self.overran.set(grace);
    }

    pub(super) fn overran(&self) -> Option<Duration> {
        self.overran.get().copied()
    }

    /// How often it was started.
    pub(super) fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }
}

fn refusal(state: &ServerState) -> CastError {
    match state {
        ServerState::Restarting { why } => CastError::Restarting { why: why.clone() },
        // Between two starts; only who was under way meets this.
        ServerState::Starting | ServerState::Running => {
            CastError::Restarting { why: "it was started again".to_owned() }
        }
        ServerState::Stopping | ServerState::Stopped => CastError::Stopped,
        ServerState::GaveUp { failures, why } => CastError::GaveUp { failures: *failures, why: why.clone() },
    }
}

impl<S: DistrServer> Clone for Door<S> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), mailbox: self.mailbox.clone() }
    }
}
