//! [`RoleRef`]: how anybody talks to a role, wherever it runs.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::MessageError;
use super::error::unbegun;
use super::inbox::{Body, Caller, Inbox, Item, Outcome};
use super::packet::{self, NotBegun, Target};
use crate::cluster::node::Node;
use crate::cluster::{Cluster, DistrServer};
use crate::engine::{Phase, RoleHost, Status};
use crate::roles::ClaimState;

/// What can be said to a role, and what it answers.
///
/// Use the same types on all nodes; they cross the wire in postcard's format, where fields and variants have an order and
/// no names. Every [`DistrServer`] whose messages can be encoded speaks the protocol that it declares.
pub trait RoleProtocol: 'static {
    /// What a call asks; an enum, if there is more than one thing to ask.
    type Call: Serialize + DeserializeOwned + Send + 'static;
    /// What a call is answered with.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What is told without waiting for an answer.
    type Cast: Serialize + DeserializeOwned + Send + 'static;
}

impl<S: DistrServer> RoleProtocol for S
where
    S::Call: Serialize + DeserializeOwned,
    S::Reply: Serialize + DeserializeOwned,
    S::Cast: Serialize + DeserializeOwned,
{
    type Call = S::Call;
    type Reply = S::Reply;
    type Cast = S::Cast;
}

/// A role of the cluster, to be talked to from any node; from [`Cluster::role`]. Cloning is cheap. It does not keep the
/// node alive.
///
/// A message goes to the instance on this node, if one runs here; else to one of those that run, each in turn; and if none
/// does, to one that is coming up on this node.
pub struct RoleRef<P: RoleProtocol> {
    node: Arc<Node>,
    role: Arc<str>,
    turn: Arc<AtomicUsize>,
    protocol: PhantomData<fn() -> P>,
}

/// The first and the longest pause between attempts to find an instance. A change of the role ends it early.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Longer than anybody waits.
pub(super) const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

impl Cluster {
    /// A role, to send it messages, whichever node it runs on. `P` says which; the name is looked up with each message.
    ///
    /// ```no_run
    /// # async fn f(cluster: unisono::Cluster) -> Result<(), unisono::MessageError> {
    /// use unisono::RoleProtocol;
    ///
    /// struct Gate;
    ///
    /// impl RoleProtocol for Gate {
    ///     type Call = String;
    ///     type Reply = bool;
    ///     type Cast = ();
    /// }
    ///
    /// let opened = cluster.role::<Gate>("gate-1").call("B-AB 123".into()).await?;
    /// # let _ = opened;
    /// # Ok(())
    /// # }
    /// ```
    pub fn role<P: RoleProtocol>(&self, role: impl Into<String>) -> RoleRef<P> {
        let node = Arc::clone(&self.node);
        // Where several nodes send to several instances, they do not all begin with the same.
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        let turn = Arc::new(AtomicUsize::new(node.replica.0 as usize));
        RoleRef { node, role: role.into().into(), turn, protocol: PhantomData }
    }
}

/// A call on its way.
struct Attempt {
    body: Option<Body>,
    /// Somebody has it who may begin with it.
    sent: bool,
    /// Why nobody began with it, and on which node.
    last: Option<(NotBegun, String)>,
}

impl<P: RoleProtocol> RoleRef<P> {
    /// How long [`RoleRef::call`] waits.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

    /// Asks one instance and waits for the answer, for at most [`RoleRef::CALL_TIMEOUT`].
    ///
    /// While no instance runs, because the role moves, restarts or waits for the network, the call waits for one. One that
    /// was certainly not begun (its instance ended first, its node could not be reached, its mailbox was full) is sent
    /// again until its time is over. One that may have been begun never is.
    ///
    /// # Errors
    ///
    /// [`MessageError`]; [`MessageError::is_unbegun`] says whether it may be sent again without harm.
    ///
    /// Cancel safe in that nothing is broken by dropping the future: the instance does not begin with a call for which
    /// nobody waits any more, as soon as it hears of that, and finishes the one that it began with.
    pub async fn call(&self, call: P::Call) -> Result<P::Reply, MessageError> {
        self.call_within(call, Self::CALL_TIMEOUT).await
    }

    /// [`RoleRef::call`] with a timeout of one's own.
    pub async fn call_within(&self, call: P::Call, timeout: Duration) -> Result<P::Reply, MessageError> {
        let mut attempt = Attempt { body: Some(Body::Value(Box::new(call))), sent: false, last: None };
        let until = Instant::now() + timeout.min(FOR_EVER);
        let outcome = tokio::time::timeout_at(until, self.attempts(&mut attempt, until)).await;
        outcome.unwrap_or_else(|_| Err(self.late(&attempt, timeout)))
    }

    /// Tells one instance something. `Ok` means that it is in the mailbox here, or on its way: it is lost if the instance
    /// ends before it comes to it, or the stream breaks. It does not wait, neither for an instance nor for room.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if it certainly does not arrive.
    pub fn cast(&self, cast: P::Cast) -> Result<(), MessageError> {
        let mut body = Body::Value(Box::new(cast));
        let status = self.status()?;
        if let Some(inbox) = self.here(&status) {
            let item = Item { body, caller: None, from: self.node.replica, until: None };
            match inbox.push(item) {
                Ok(()) => return Ok(()),
                Err((NotBegun::Ended, item)) => body = item.body,
                Err((why, _)) => return Err(self.unbegun(&why, self.node.node.as_str(), Duration::ZERO)),
            }
        }
        let Some(host) = self.choose(&status) else {
            return Err(self.unbegun(&NotBegun::NotHere, "", Duration::ZERO));
        };
        let bytes = body.encoded::<P::Cast>().map_err(|why| MessageError::NotUnderstood { why })?;
        let sent = self.node.post.cast(host.replica, Target::Role(&self.role), &bytes);
        sent.map_err(|why| self.unbegun(&why, host.node.as_str(), Duration::ZERO))
    }

    /// Tells all instances that run something, as [`RoleRef::cast`] tells one. Returns how many were told.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if it cannot be sent to any: there is no such role, it is too large, or this node is gone. That no
    /// instance runs is none: then nobody is told.
    pub fn broadcast(&self, cast: &P::Cast) -> Result<usize, MessageError> {
        let bytes = packet::encode(cast).map_err(|why| MessageError::NotUnderstood { why })?;
        let mut told = 0;
        let status = self.status()?;
        if let Some(inbox) = self.node.post.inbox(Target::Role(&self.role)) {
            let body = Body::Bytes(bytes.clone());
            let item = Item { body, caller: None, from: self.node.replica, until: None };
            told += usize::from(inbox.push(item).is_ok());
        }
        for host in self.running(&status) {
            match self.node.post.cast(host.replica, Target::Role(&self.role), &bytes) {
                Ok(()) => told += 1,
                Err(why @ (NotBegun::TooLarge(_) | NotBegun::Gone)) => {
                    return Err(self.unbegun(&why, host.node.as_str(), Duration::ZERO));
                }
                Err(_) => {}
            }
        }
        Ok(told)
    }

    /// The name of the role.
    pub fn name(&self) -> &str {
        &self.role
    }

    /// The inbox of the instance on this node, if messages are to go there.
    fn here(&self, status: &Status) -> Option<Arc<Inbox>> {
        let inbox = self.node.post.inbox(Target::Role(&self.role))?;
        let own = self.node.replica;
        let runs_here =
            find(status, &self.role).unwrap_or_default().iter().any(|host| host.replica == own && runs(host));
        (runs_here || self.running(status).next().is_none()).then_some(inbox)
    }

    /// The status, if the role is in it.
    fn status(&self) -> Result<Arc<Status>, MessageError> {
        if self.node.local.is_gone() {
            return Err(MessageError::Gone);
        }
        let status = self.node.status();
        match status.phase {
            // It may not have heard of the role yet, or it is on its way out, and its roles have something to say still.
            Phase::Joining | Phase::Left => Ok(status),
            _ if find(&status, &self.role).is_none() => Err(MessageError::NoSuchRole { role: self.role.to_string() }),
            _ => Ok(status),
        }
    }

    /// The instances on other nodes that take messages; one that yields only while its successor does not run.
    fn running<'a>(&self, status: &'a Status) -> impl Iterator<Item = &'a RoleHost> + Clone + use<'a, P> {
        let own = self.node.replica;
        let hosts = find(status, &self.role).unwrap_or_default();
        let yielded = move |host: &RoleHost| match host.state {
            ClaimState::Yielding { to } => {
                hosts.iter().any(|next| next.replica == to && next.state == ClaimState::Running)
            }
            _ => false,
        };
        hosts.iter().filter(move |host| host.replica != own && runs(host) && !yielded(host))
    }

    /// The one whose turn it is.
    fn choose<'a>(&self, status: &'a Status) -> Option<&'a RoleHost> {
        let mut running = self.running(status);
        let count = running.clone().count();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        running.nth(turn.checked_rem(count)?)
    }

    async fn attempts(&self, attempt: &mut Attempt, until: Instant) -> Result<P::Reply, MessageError> {
        let mut pause = PAUSES.0;
        loop {
            let tried = self.attempt(attempt, until).await?;
            let status = match tried {
                Ok(reply) => return Ok(reply),
                Err(status) => status,
            };
            let seen = find(&status, &self.role);
            let statuses = self.node.statuses();
            tokio::select! {
                biased;
                changed = statuses.wait_for(|status| find(status, &self.role) != seen) => {
                    changed.ok_or(MessageError::Gone)?;
                }
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            }
        }
    }

    /// Sends it once. Where that came to nothing and may be tried again, the status by which it was tried comes back.
    async fn attempt(
        &self,
        attempt: &mut Attempt,
        until: Instant,
    ) -> Result<Result<P::Reply, Arc<Status>>, MessageError> {
        let post = &self.node.post;
        let target = Target::Role(&self.role);
        let status = self.status()?;
        if let Some(inbox) = self.here(&status) {
            let (caller, outcome) = Caller::here();
            let body = attempt.body.take().ok_or(MessageError::Gone)?;
            let item = Item { body, caller: Some(caller), from: self.node.replica, until: Some(until) };
            let outcome = match inbox.push(item) {
                Ok(()) => {
                    attempt.sent = true;
                    outcome.await.ok()
                }
                Err((why, item)) => Some(Outcome::NotBegun(why, Some(item.body))),
            };
            let reply = self.settle(attempt, outcome, self.node.node.as_str())?;
            return Ok(reply.ok_or(status));
        }
        let Some(host) = self.choose(&status) else { return Ok(Err(status)) };
        let body = attempt.body.as_mut().ok_or(MessageError::Gone)?;
        let bytes = body.encoded::<P::Call>().map_err(|why| MessageError::NotUnderstood { why })?;
        let outcome = match post.call(host.replica, target, &bytes, until) {
            Ok(mut pending) => {
                attempt.sent = true;
                pending.outcome().await
            }
            Err(why) => Some(Outcome::NotBegun(why, None)),
        };
        let reply = self.settle(attempt, outcome, host.node.as_str())?;
        Ok(reply.ok_or(status))
    }

    /// What an outcome means: an answer, an error, or that it may be tried again.
    fn settle(
        &self,
        attempt: &mut Attempt,
        outcome: Option<Outcome>,
        node: &str,
    ) -> Result<Option<P::Reply>, MessageError> {
        match outcome.ok_or(MessageError::Gone)? {
            Outcome::Reply(body) => match body.into_value() {
                Ok(reply) => Ok(Some(reply)),
                Err(why) => Err(MessageError::Refused { why: format!("the answer is not understood: {why}") }),
            },
            Outcome::Refused(why) => Err(MessageError::Refused { why }),
            Outcome::Interrupted => Err(MessageError::Interrupted { node: node.to_owned() }),
            Outcome::NotBegun(why, body) => {
                attempt.sent = false;
                attempt.body = body.or(attempt.body.take());
                let is_final = matches!(why, NotBegun::TooLarge(_) | NotBegun::NotUnderstood(_) | NotBegun::Gone);
                if is_final || attempt.body.is_none() {
                    return Err(self.unbegun(&why, node, Duration::ZERO));
                }
                attempt.last = Some((why, node.to_owned()));
                Ok(None)
            }
        }
    }

    /// Time is over.
    fn late(&self, attempt: &Attempt, after: Duration) -> MessageError {
        if attempt.sent {
            return MessageError::Timeout { after };
        }
        let (why, node) = attempt.last.clone().unwrap_or((NotBegun::NotHere, String::new()));
        self.unbegun(&why, &node, after)
    }

    fn unbegun(&self, why: &NotBegun, node: &str, after: Duration) -> MessageError {
        unbegun(why, &self.role, node, after)
    }
}

fn runs(host: &RoleHost) -> bool {
    matches!(host.state, ClaimState::Running | ClaimState::Yielding { .. })
}

/// The hosts of a role, if it is known.
fn find<'a>(status: &'a Status, role: &str) -> Option<&'a [RoleHost]> {
    let place = status.roles.binary_search_by(|entry| entry.spec.name.as_str().cmp(role)).ok()?;
    Some(&status.roles[place].hosts)
}

impl<P: RoleProtocol> Clone for RoleRef<P> {
    fn clone(&self) -> Self {
        let Self { node, role, turn, protocol } = self;
        Self { node: Arc::clone(node), role: Arc::clone(role), turn: Arc::clone(turn), protocol: *protocol }
    }
}

impl<P: RoleProtocol> fmt::Debug for RoleRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleRef").field("role", &self.role).finish_non_exhaustive()
    }
}
