//! What waits for a role or a handler on this node: bounded, and nobody in it is left without an answer.
//!
//! ```text
//!   push ─▶ items (so many, so many bytes) ─▶ next: handed out, and from then on begun
//!     └ full: given back        └ closed: all that waits goes back to whoever sent it
//! ```

use std::any::Any;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::packet::{self, NotBegun};
use super::post::Post;
use crate::id::ReplicaId;

/// So many messages wait in an inbox, unless its role says otherwise.
pub(super) const MESSAGES: usize = 1_024;
/// So many encoded bytes.
const BYTES: usize = 16 << 20;

/// A value of the application: as it is within a node, encoded between nodes.
pub(super) enum Body {
    Value(Box<dyn Any + Send>),
    Bytes(Bytes),
}

/// What came of a call.
pub(super) enum Outcome {
    Reply(Body),
    Refused(String),
    /// With the value, where it is still there.
    NotBegun(NotBegun, Option<Body>),
    /// It may have been begun.
    Interrupted,
}

/// Who waits for the answer, and hears that there is none when this is dropped.
pub(super) struct Caller(Option<Waits>);

enum Waits {
    Here(oneshot::Sender<Outcome>),
    There { post: Weak<Post>, to: ReplicaId, call: u64 },
}

/// Something that waits.
pub(super) struct Item {
    pub(super) body: Body,
    /// Nobody, for a cast.
    pub(super) caller: Option<Caller>,
    pub(super) from: ReplicaId,
    /// When nobody is interested any more.
    pub(super) until: Option<Instant>,
}

/// The queue in front of a role or a handler.
pub(in crate::cluster) struct Inbox {
    state: Mutex<State>,
    filled: Notify,
}

struct State {
    items: VecDeque<Item>,
    bytes: usize,
    most: usize,
    open: bool,
}

impl Body {
    fn bytes(&self) -> usize {
        if let Self::Bytes(bytes) = self { bytes.len() } else { 0 }
    }

    /// The value; an error says that it is of another type.
    pub(super) fn into_value<T: DeserializeOwned + Send + 'static>(self) -> Result<T, String> {
        match self {
            Self::Value(value) => value
                .downcast()
                .map(|value| *value)
                .map_err(|_| format!("a value of another type than {} on this very node", std::any::type_name::<T>())),
            Self::Bytes(bytes) => packet::decode(&bytes),
        }
    }

    /// Encodes the value in place, if it is not encoded yet.
    pub(super) fn encoded<T: Serialize + 'static>(&mut self) -> Result<Bytes, String> {
        let bytes = match self {
            Self::Bytes(bytes) => return Ok(bytes.clone()),
            Self::Value(value) => match value.downcast_ref::<T>() {
                Some(value) => packet::encode(value)?,
                None => return Err("a value changed its type".to_owned()),
            },
        };
        *self = Self::Bytes(bytes.clone());
        Ok(bytes)
    }
}

impl Caller {
    pub(super) fn here() -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Waits::Here(sender))), receiver)
    }

    pub(super) fn there(post: &Arc<Post>, to: ReplicaId, call: u64) -> Self {
        Self(Some(Waits::There { post: Arc::downgrade(post), to, call }))
    }

    /// Whether nobody waits any more, as far as is known.
    pub(super) fn is_gone(&self) -> bool {
        match &self.0 {
            Some(Waits::Here(sender)) => sender.is_closed(),
            Some(Waits::There { post, .. }) => post.strong_count() == 0,
            None => true,
        }
    }

    fn is(&self, from: ReplicaId, wanted: u64) -> bool {
        matches!(&self.0, Some(Waits::There { to, call, .. }) if (*to, *call) == (from, wanted))
    }

    pub(super) fn reply<R: Serialize + Send + 'static>(mut self, reply: R) {
        match self.0.take() {
            // An error means that nobody waits any more.
            Some(Waits::Here(sender)) => drop(sender.send(Outcome::Reply(Body::Value(Box::new(reply))))),
            Some(Waits::There { post, to, call }) => {
                if let Some(post) = post.upgrade() {
                    match packet::encode(&reply) {
                        Ok(body) => post.reply(to, call, &body),
                        Err(why) => post.refuse(to, call, &why),
                    }
                }
            }
            None => {}
        }
    }

    /// Answers in bytes.
    pub(super) fn reply_encoded(mut self, reply: Bytes) {
        match self.0.take() {
            Some(Waits::Here(sender)) => drop(sender.send(Outcome::Reply(Body::Bytes(reply)))),
            Some(Waits::There { post, to, call }) => {
                if let Some(post) = post.upgrade() {
                    post.reply(to, call, &reply);
                }
            }
            None => {}
        }
    }

    pub(super) fn refuse(mut self, why: &str) {
        self.refused(why);
    }

    fn refused(&mut self, why: &str) {
        match self.0.take() {
            Some(Waits::Here(sender)) => drop(sender.send(Outcome::Refused(why.to_owned()))),
            Some(Waits::There { post, to, call }) => {
                if let Some(post) = post.upgrade() {
                    post.refuse(to, call, why);
                }
            }
            None => {}
        }
    }

    /// Says that the call was not begun, and gives its value back.
    pub(super) fn not_begun(mut self, why: NotBegun, body: Option<Body>) {
        match self.0.take() {
            Some(Waits::Here(sender)) => drop(sender.send(Outcome::NotBegun(why, body))),
            Some(Waits::There { post, to, call }) => {
                if let Some(post) = post.upgrade() {
                    post.not_begun(to, call, why);
                }
            }
            None => {}
        }
    }

    /// Nobody is to be told anything.
    fn hush(mut self) {
        self.0 = None;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.refused("the call was dropped without an answer");
    }
}

impl Item {
    /// Whether somebody is still interested.
    fn is_wanted(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now) && !self.caller.as_ref().is_some_and(Caller::is_gone)
    }

    fn give_back(self, why: NotBegun) {
        if let Some(caller) = self.caller {
            caller.not_begun(why, Some(self.body));
        }
    }
}

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        let state = State { items: VecDeque::new(), bytes: 0, most: MESSAGES, open: true };
        Arc::new(Self { state: Mutex::new(state), filled: Notify::new() })
    }

    pub(super) fn set_room(&self, messages: usize) {
        self.lock().most = messages.max(1);
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Lets something wait, or gives it back with the reason.
    pub(super) fn push(&self, item: Item) -> Result<(), (NotBegun, Item)> {
        let mut state = self.lock();
        if !state.open {
            return Err((NotBegun::Ended, item));
        }
        let bytes = item.body.bytes();
        if state.items.len() >= state.most || state.bytes + bytes > BYTES {
            return Err((NotBegun::Full, item));
        }
        state.bytes += bytes;
        state.items.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// What comes next and is still wanted; `None` once it is closed. Cancel safe, and several tasks may wait.
    pub(super) async fn next(&self) -> Option<Item> {
        loop {
            let filled = pin!(self.filled.notified());
            {
                let mut state = self.lock();
                while let Some(item) = state.items.pop_front() {
                    state.bytes -= item.body.bytes();
                    if item.is_wanted(Instant::now()) {
                        let more = !state.items.is_empty();
                        drop(state);
                        if more {
                            self.filled.notify_one();
                        }
                        return Some(item);
                    }
                    if let Some(caller) = item.caller {
                        caller.hush();
                    }
                }
                if !state.open {
                    return None;
                }
            }
            filled.await;
        }
    }

    /// A call that nobody waits for any more is not begun, if it was not yet.
    pub(super) fn forget(&self, from: ReplicaId, call: u64) {
        let found = {
            let mut state = self.lock();
            let is = |item: &Item| item.caller.as_ref().is_some_and(|caller| caller.is(from, call));
            let place = state.items.iter().position(is);
            let item = place.and_then(|place| state.items.remove(place));
            state.bytes -= item.as_ref().map_or(0, |item| item.body.bytes());
            item
        };
        if let Some(caller) = found.and_then(|item| item.caller) {
            caller.hush();
        }
    }

    /// Takes nothing more, and gives back what waits.
    pub(super) fn close(&self) {
        let items = {
            let mut state = self.lock();
            (state.open, state.bytes) = (false, 0);
            std::mem::take(&mut state.items)
        };
        self.filled.notify_waiters();
        self.filled.notify_one();
        items.into_iter().for_each(|item| item.give_back(NotBegun::Ended));
    }

    /// Nothing is left half done under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn item(number: u32) -> (Item, oneshot::Receiver<Outcome>) {
        let (caller, outcome) = Caller::here();
        let body = Body::Value(Box::new(number));
        (Item { body, caller: Some(caller), from: ReplicaId(1), until: None }, outcome)
    }

    fn number(body: Body) -> u32 {
        body.into_value().unwrap()
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_and_no_more() {
        let inbox = Inbox::new();
        inbox.set_room(2);
        let kept: Vec<_> = (0..2).map(item).collect();
        let (items, _outcomes): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        items.into_iter().for_each(|item| assert!(inbox.push(item).is_ok()));
        let (third, outcome) = item(2);
        let (why, third) = inbox.push(third).err().unwrap();
        assert_eq!(why, NotBegun::Full);
        third.give_back(why);
        let Ok(Outcome::NotBegun(NotBegun::Full, Some(body))) = outcome.await else { panic!("it is given back") };
        assert_eq!(number(body), 2);
        let first = inbox.next().await.unwrap();
        assert_eq!(number(first.body), 0);
        assert!(inbox.push(item(3).0).is_ok());
        let body = Body::Bytes(vec![0; BYTES + 1].into());
        let _ = inbox.next().await;
        assert!(inbox.push(Item { body, ..item(0).0 }).is_err(), "bytes count, too");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_is_not_begun() {
        let inbox = Inbox::new();
        let (late, late_outcome) = item(1);
        inbox.push(Item { until: Some(Instant::now() + Duration::from_secs(1)), ..late }).ok().unwrap();
        let (dropped, outcome) = item(2);
        inbox.push(dropped).ok().unwrap();
        drop(outcome);
        let (wanted, _outcome) = item(3);
        inbox.push(wanted).ok().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(number(inbox.next().await.unwrap().body), 3);
        assert!(late_outcome.await.is_err(), "nothing is said to whoever is gone");
    }

    #[tokio::test]
    async fn at_the_end_all_that_waits_goes_back_and_what_was_begun_does_not() {
        let inbox = Inbox::new();
        let (first, begun) = item(1);
        let (second, waits) = item(2);
        inbox.push(first).ok().unwrap();
        inbox.push(second).ok().unwrap();
        let in_hand = inbox.next().await.unwrap();
        inbox.close();
        assert!(inbox.next().await.is_none());
        let Ok(Outcome::NotBegun(NotBegun::Ended, Some(body))) = waits.await else { panic!("it is given back") };
        assert_eq!(number(body), 2);
        drop(in_hand);
        assert!(matches!(begun.await, Ok(Outcome::Refused(_))));
        assert!(matches!(inbox.push(item(3).0), Err((NotBegun::Ended, _))));
    }
}
