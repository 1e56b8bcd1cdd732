//! The server's end of a mailbox: nobody who put something there is left without an answer.

use std::future::Future;
use std::pin::Pin;
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
    in_hand: Option<Answer<S::Reply>>,
    open: bool,
    /// What comes to the role that the server is, where others can send it messages.
    outside: Option<Box<dyn Outside<S>>>,
    outside_first: bool,
}

/// Messages to the role that a server is.
pub(super) trait Outside<S: DistrServer>: Send {
    /// The next one; none when no more come. Cancel safe.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Message<S>>> + Send + '_>>;
}

impl<S: DistrServer> Desk<S> {
    pub(super) fn open(shared: &Arc<Shared<S>>) -> Self {
        let mailbox = shared.start();
        let (outside, outside_first) = (None, false);
        Self { shared: Arc::clone(shared), mailbox, in_hand: None, open: true, outside, outside_first }
    }

    /// Takes messages that come to the role, too.
    pub(super) fn with_outside(mut self, outside: Option<Box<dyn Outside<S>>>) -> Self {
        self.outside = outside;
        self
    }

    /// The next message for whose answer somebody still waits. Cancel safe.
    pub(super) async fn next(&mut self) -> Message<S> {
        let Self { mailbox, outside, outside_first, .. } = self;
        // Neither can keep the other waiting for ever.
        *outside_first = !*outside_first;
        let outside = async {
            match outside {
                Some(outside) => match outside.next().await {
                    Some(message) => message,
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        let inside = async {
            loop {
                match mailbox.recv().await {
                    Some(Message::Call(_, answer)) if answer.is_closed() => {}
                    Some(message) => return message,
                    // It was closed, and who closed it reads no more.
                    None => std::future::pending().await,
                }
            }
        };
        if *outside_first {
            tokio::select! { biased; message = outside => message, message = inside => message }
        } else {
            tokio::select! { biased; message = inside => message, message = outside => message }
        }
    }

    /// A call is being dealt with from now on.
    pub(super) fn take(&mut self, answer: Answer<S::Reply>) {
        self.in_hand = Some(answer);
    }

    /// Answers it.
    pub(super) fn answer(&mut self, reply: S::Reply) {
        if let Some(answer) = self.in_hand.take() {
            answer.send(Ok(reply));
        }
    }

    /// Takes no more messages, and answers for those that nobody will deal with. `why` is told to whoever's call was begun with
    /// and not finished.
    pub(super) fn close(&mut self, state: ServerState, why: &str) {
        // While it is stopping, it may still be dropped.
        self.open = state == ServerState::Stopping;
        self.shared.shut(state);
        if let Some(answer) = self.in_hand.take() {
            answer.send(Err(CallError::Failed { why: why.to_owned() }));
        }
        self.mailbox.close();
        let refusal = CallError::from(self.shared.refusal());
        let mut lost = 0_u64;
        // A message that is being put in at this very moment goes with the mailbox, which its sender notices.
        while let Ok(message) = self.mailbox.try_recv() {
            match message {
                Message::Call(_, answer) => answer.send(Err(refusal.clone())),
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
