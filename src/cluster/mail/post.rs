//! The post office of a node: its own calls, and the inboxes of what runs here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::{Body, Caller, Inbox, Item, Outcome};
use super::packet::{self, Head, NotBegun, Target};
use crate::driver::{Clock, Mail, NotTaken, Recipient};
use crate::engine::{Arrived, Letter, MAX_LETTER, MailEvent, Unsent};
use crate::id::ReplicaId;

/// The largest encoded value: what a letter holds besides its head.
pub(super) const MAX_BODY: usize = MAX_LETTER - 512;

/// An answer is kept for a peer that does not take it for so long.
const ANSWER: Duration = Duration::from_secs(30);

/// What a node needs to send messages and to take them.
pub(in crate::cluster) struct Post {
    mail: Arc<Mail>,
    clock: Clock,
    calls: Mutex<Calls>,
    roles: Mutex<BTreeMap<String, Arc<Inbox>>>,
    handlers: BTreeMap<String, Arc<Inbox>>,
}

#[derive(Default)]
struct Calls {
    last: u64,
    waiting: BTreeMap<u64, (ReplicaId, oneshot::Sender<Outcome>)>,
    closed: bool,
}

/// A call that was sent to another node. Dropped before the answer, it tells that nobody waits any more.
pub(super) struct Pending<'a> {
    post: &'a Post,
    number: u64,
    peer: ReplicaId,
    target: Target<'a>,
    outcome: oneshot::Receiver<Outcome>,
}

/// The inbox of a role, as long as its task runs.
pub(in crate::cluster) struct Opened {
    post: Arc<Post>,
    role: String,
    inbox: Arc<Inbox>,
}

impl Post {
    pub(in crate::cluster) fn new<'a>(
        mail: Arc<Mail>,
        clock: Clock,
        handlers: impl Iterator<Item = &'a str>,
    ) -> Arc<Self> {
        let handlers = handlers.map(|name| (name.to_owned(), Inbox::new())).collect();
        let post = Arc::new(Self { mail, clock, calls: Mutex::default(), roles: Mutex::default(), handlers });
        let recipient: Weak<Self> = Arc::downgrade(&post);
        post.mail.set_recipient(recipient);
        post
    }

    /// Opens the inbox of a role whose task starts here.
    pub(in crate::cluster) fn open(self: &Arc<Self>, role: &str) -> Opened {
        let inbox = Inbox::new();
        locked(&self.roles).insert(role.to_owned(), Arc::clone(&inbox));
        Opened { post: Arc::clone(self), role: role.to_owned(), inbox }
    }

    /// The inbox here, if it takes messages.
    pub(super) fn inbox(&self, target: Target<'_>) -> Option<Arc<Inbox>> {
        let inbox = match target {
            Target::Role(role) => locked(&self.roles).get(role).cloned(),
            Target::Handler(handler) => self.handlers.get(handler).cloned(),
        };
        inbox.filter(|inbox| inbox.is_open())
    }

    /// Sends a call to another node.
    pub(super) fn call<'a>(
        &'a self,
        peer: ReplicaId,
        target: Target<'a>,
        body: &Bytes,
        until: Instant,
    ) -> Result<Pending<'a>, NotBegun> {
        check(body)?;
        let (sender, outcome) = oneshot::channel();
        let number = {
            let mut calls = locked(&self.calls);
            if calls.closed {
                return Err(NotBegun::Gone);
            }
            calls.last += 1;
            let number = calls.last;
            calls.waiting.insert(number, (peer, sender));
            number
        };
        let pending = Pending { post: self, number, peer, target, outcome };
        let bytes = packet::seal(&Head::Call { call: number, to: target }, body);
        let left = until.saturating_duration_since(Instant::now());
        match self.send(number, peer, left, bytes) {
            Ok(()) => Ok(pending),
            Err(why) => {
                locked(&self.calls).waiting.remove(&number);
                Err(not_taken(why))
            }
        }
    }

    /// Sends what is not answered.
    pub(super) fn cast(&self, peer: ReplicaId, target: Target<'_>, body: &Bytes) -> Result<(), NotBegun> {
        check(body)?;
        self.send(0, peer, ANSWER, packet::seal(&Head::Cast { to: target }, body)).map_err(not_taken)
    }

    pub(super) fn reply(&self, to: ReplicaId, call: u64, body: &Bytes) {
        match check(body) {
            Ok(()) => self.answer(to, &Head::Reply { call }, body),
            Err(_) => self.refuse(to, call, &format!("the answer has {} bytes, and {MAX_BODY} fit", body.len())),
        }
    }

    pub(super) fn refuse(&self, to: ReplicaId, call: u64, why: &str) {
        self.answer(to, &Head::Refused { call }, &why.as_bytes()[..why.len().min(MAX_REASON)]);
    }

    pub(super) fn not_begun(&self, to: ReplicaId, call: u64, why: NotBegun) {
        self.answer(to, &Head::NotBegun { call, why }, &[]);
    }

    fn answer(&self, to: ReplicaId, head: &Head<'_>, body: &[u8]) {
        if let Err(why) = self.send(0, to, ANSWER, packet::seal(head, body)) {
            tracing::debug!(%to, ?why, "an answer was not sent; whoever waits for it hears of its timeout");
        }
    }

    fn send(&self, number: u64, to: ReplicaId, left: Duration, bytes: Bytes) -> Result<(), NotTaken> {
        let until = Some(self.clock.now().instant + left);
        self.mail.send(Letter { number, to, until, bytes })
    }

    fn arrived(self: &Arc<Self>, from: ReplicaId, letter: &Arrived) {
        let Ok((head, body)) = packet::open(&letter.bytes) else {
            tracing::debug!(%from, "a letter that is none was dropped");
            return;
        };
        let until = letter.left.map(|left| Instant::now() + left);
        match head {
            Head::Call { call, to } => {
                let caller = Some(Caller::there(self, from, call));
                self.take(to, Item { body: Body::Bytes(body), caller, from, until });
            }
            Head::Cast { to } => self.take(to, Item { body: Body::Bytes(body), caller: None, from, until: None }),
            Head::Forget { call, to } => {
                if let Some(inbox) = self.inbox(to) {
                    inbox.forget(from, call);
                }
            }
            Head::Reply { call } => self.told(from, call, Outcome::Reply(Body::Bytes(body))),
            Head::Refused { call } => {
                self.told(from, call, Outcome::Refused(String::from_utf8_lossy(&body).into_owned()));
            }
            Head::NotBegun { call, why } => self.told(from, call, Outcome::NotBegun(why, None)),
        }
    }

    fn take(&self, to: Target<'_>, item: Item) {
        let refused = match self.inbox(to) {
            Some(inbox) => inbox.push(item),
            None => Err((NotBegun::NotHere, item)),
        };
        if let Err((why, Item { caller, .. })) = refused {
            match caller {
                Some(caller) => caller.not_begun(why, None),
                None => tracing::debug!(?to, ?why, "a cast was dropped"),
            }
        }
    }

    fn told(&self, from: ReplicaId, call: u64, outcome: Outcome) {
        let waiting = {
            let mut calls = locked(&self.calls);
            // Only who was asked may answer.
            let is_asked = calls.waiting.get(&call).is_some_and(|(peer, _)| *peer == from);
            if is_asked { calls.waiting.remove(&call) } else { None }
        };
        if let Some((_, waiting)) = waiting {
            // An error means that nobody waits any more.
            let _ = waiting.send(outcome);
        }
    }

    fn interrupted(&self, peer: ReplicaId) {
        let waiting: Vec<_> = {
            let mut calls = locked(&self.calls);
            let numbers = calls.waiting.iter().filter(|(_, (to, _))| *to == peer).map(|(number, _)| *number);
            let numbers: Vec<u64> = numbers.collect();
            numbers.iter().filter_map(|number| calls.waiting.remove(number)).collect()
        };
        for (_, waiting) in waiting {
            let _ = waiting.send(Outcome::Interrupted);
        }
    }
}

impl Recipient for Post {
    fn mail(self: Arc<Self>, event: MailEvent) {
        match event {
            MailEvent::Arrived { from, letters } => letters.iter().for_each(|letter| self.arrived(from, letter)),
            MailEvent::Returned { to, numbers, why } => {
                for number in numbers.into_iter().filter(|number| *number > 0) {
                    let why = match why {
                        Unsent::Full => NotBegun::Full,
                        Unsent::NoMember | Unsent::NotReachable | Unsent::TooLarge => NotBegun::NotReachable,
                    };
                    self.told(to, number, Outcome::NotBegun(why, None));
                }
            }
            MailEvent::Interrupted { peer } => self.interrupted(peer),
        }
    }

    fn closed(self: Arc<Self>) {
        let waiting = {
            let mut calls = locked(&self.calls);
            calls.closed = true;
            std::mem::take(&mut calls.waiting)
        };
        drop(waiting);
        let roles = std::mem::take(&mut *locked(&self.roles));
        roles.values().chain(self.handlers.values()).for_each(|inbox| inbox.close());
    }
}

impl Pending<'_> {
    /// The outcome; `None` when this node is gone.
    pub(super) async fn outcome(&mut self) -> Option<Outcome> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if locked(&self.post.calls).waiting.remove(&self.number).is_some() {
            let head = Head::Forget { call: self.number, to: self.target };
            // An error means that much waits, or that nobody is there any more to begin with it.
            let _ = self.post.send(0, self.peer, ANSWER, packet::seal(&head, &[]));
        }
    }
}

impl Opened {
    pub(in crate::cluster) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.inbox.close();
        let mut roles = locked(&self.post.roles);
        if roles.get(&self.role).is_some_and(|inbox| Arc::ptr_eq(inbox, &self.inbox)) {
            roles.remove(&self.role);
        }
    }
}

/// So many bytes of a reason are sent.
const MAX_REASON: usize = 4_096;

fn check(body: &Bytes) -> Result<(), NotBegun> {
    if body.len() > MAX_BODY { Err(NotBegun::TooLarge(body.len() as u64)) } else { Ok(()) }
}

fn not_taken(why: NotTaken) -> NotBegun {
    match why {
        NotTaken::Full => NotBegun::Full,
        NotTaken::Gone => NotBegun::Gone,
    }
}

/// Nothing is left half done under these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
