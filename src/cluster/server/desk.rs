//! The server's end of a mailbox: nobody who put something there is left without an answer.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::door::{Answer, Message, Shared};
use super::{CallError, DistrServer, ServerState};

/// The mailbox of one start, and the call that is being dealt with.
///
/// It lives outside of the future that runs the server, so that it can answer for one that panicked; dropped with it, it
/// says that the server has ended.
pub(super) struct Desk<S: DistrServer> {
    shared: Arc<Shared<S>>,
    mailbox: mpsc::Receiver<Message<S>>,
    in_hand: Option<Answer<S>>,
    open: bool,
}

impl<S: DistrServer> Desk<S> {
    pub(super) fn open(shared: &Arc<Shared<S>>) -> Self {
        let mailbox = shared.start();
        Self { shared: Arc::clone(shared), mailbox, in_hand: None, open: true }
    }

    /// The next message for whose answer somebody still waits. Cancel safe.
    pub(super) async fn next(&mut self) -> Message<S> {
        loop {
            match self.mailbox.recv().await {
                Some(Message::Call(_, answer)) if answer.is_closed() => {}
                Some(message) => return message,
                // It was closed, and who closed it reads no more.
                None => std::future::pending().await,
            }
        }
    }

    /// A call is being dealt with from now on.
    pub(super) fn take(&mut self, answer: Answer<S>) {
        self.in_hand = Some(answer);
    }

    /// Answers it.
    pub(super) fn answer(&mut self, reply: S::Reply) {
        if let Some(answer) = self.in_hand.take() {
            // An error means that nobody waits any more.
            let _ = answer.send(Ok(reply));
        }
    }

    /// Takes no more messages, and answers for those that nobody will deal with. `why` is told to whoever's call was begun with
    /// and not finished.
    pub(super) fn close(&mut self, state: ServerState, why: &str) {
        // While it is stopping, it may still be dropped.
        self.open = state == ServerState::Stopping;
        self.shared.shut(state);
        if let Some(answer) = self.in_hand.take() {
            let _ = answer.send(Err(CallError::Failed { why: why.to_owned() }));
        }
        self.mailbox.close();
        let refusal = CallError::from(self.shared.refusal());
        let mut lost = 0_u64;
        // A message that is being put in at this very moment goes with the mailbox, which its sender notices.
        while let Ok(message) = self.mailbox.try_recv() {
            match message {
                Message::Call(_, answer) => drop(answer.send(Err(refusal.clone()))),
                Message::Cast(_) => lost += 1,
            }
        }
        if lost > 0 {
            tracing::warn!(table = self.shared.table().name(), casts = lost, "a server ended before it came to these");
        }
    }
}

impl<S: DistrServer> Drop for Desk<S> {
    fn drop(&mut self) {
        if self.open {
            self.close(ServerState::Stopped, "it was dropped before it answered");
        }
    }
}
