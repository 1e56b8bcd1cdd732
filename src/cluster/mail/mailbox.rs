//! The role's end: [`Mailbox`], [`Message`], [`Responder`].

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;

use super::RoleProtocol;
use super::inbox::{Caller, Inbox, Item};
use super::packet::NotBegun;
use crate::driver::RoleLine;
use crate::id::ReplicaId;

/// What comes for a role, one message after the other; from [`RoleContext::mailbox`](crate::RoleContext::mailbox).
///
/// It holds 1,024 messages, and 16 MiB of those that came from other nodes; what exceeds that is refused with
/// [`MessageError::Full`](super::MessageError::Full). Messages that come before the task asks for its mailbox wait too.
pub struct Mailbox<P: RoleProtocol> {
    inbox: Arc<Inbox>,
    line: RoleLine,
    protocol: PhantomData<fn() -> P>,
}

/// What came.
#[derive(Debug)]
pub enum Message<P: RoleProtocol> {
    /// To be answered.
    Call(P::Call, Responder<P::Reply>),
    /// Not to be answered.
    Cast(P::Cast),
}

/// Answers a call. Dropped without an answer, it refuses. It may be answered later, from any task.
pub struct Responder<R> {
    caller: Caller,
    from: ReplicaId,
    reply: PhantomData<fn(R)>,
}

impl<P: RoleProtocol> Mailbox<P> {
    pub(in crate::cluster) fn new(inbox: Arc<Inbox>, line: RoleLine) -> Self {
        Self { inbox, line, protocol: PhantomData }
    }

    /// Sets how many messages wait, at least one.
    #[must_use]
    pub fn room_for(self, messages: usize) -> Self {
        self.inbox.set_room(messages);
        self
    }

    /// The next message, for whose answer somebody still waits; `None` once the role is asked to end. What waits then goes
    /// back to whoever sent it, and to the successor. With the message that is handed out the role has begun: whoever sent
    /// it will not send it again. Cancel safe.
    ///
    /// A message of other types than `P` says is refused, and not seen here.
    pub async fn next(&mut self) -> Option<Message<P>> {
        loop {
            let item = tokio::select! {
                biased;
                () = self.line.stop_requested() => {
                    self.inbox.close();
                    return None;
                }
                item = self.inbox.next() => item?,
            };
            if let Some(message) = open(item) {
                return Some(message);
            }
        }
    }
}

/// The message in an item, unless it is not understood.
pub(in crate::cluster) fn open<P: RoleProtocol>(item: Item) -> Option<Message<P>> {
    let Item { body, caller, from, .. } = item;
    match caller {
        Some(caller) => match body.into_value() {
            Ok(call) => return Some(Message::Call(call, Responder { caller, from, reply: PhantomData })),
            Err(why) => caller.not_begun(NotBegun::NotUnderstood(why), None),
        },
        None => match body.into_value() {
            Ok(cast) => return Some(Message::Cast(cast)),
            Err(why) => tracing::warn!(%from, why, "a cast was dropped, since it is not understood"),
        },
    }
    None
}

impl<R: Serialize + Send + 'static> Responder<R> {
    /// Answers.
    pub fn reply(self, reply: R) {
        self.caller.reply(reply);
    }

    /// Says that there is no answer, and why: [`MessageError::Refused`](super::MessageError::Refused).
    pub fn refuse(self, why: impl Into<String>) {
        self.caller.refuse(&why.into());
    }
}

impl<R> Responder<R> {
    /// Whether nobody waits any more, as far as is known: of callers on other nodes only those are known whose node is this.
    pub fn is_gone(&self) -> bool {
        self.caller.is_gone()
    }

    /// The run of the node that asks.
    pub fn from(&self) -> ReplicaId {
        self.from
    }
}

impl<P: RoleProtocol> fmt::Debug for Mailbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("open", &self.inbox.is_open()).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("from", &self.from).finish_non_exhaustive()
    }
}
