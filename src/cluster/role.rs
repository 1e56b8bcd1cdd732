//! Role factories: from a kind and a spec to a running task of the application.
//!
//! ```text
//!   engine: StartRole ─▶ driver ─▶ Factories::build ─▶ factory(RoleContext) ─▶ the application's future
//!   engine: StopRole  ─▶ driver ─▶ RoleLine ─▶ RoleContext::stopped() ─▶ the future ends, or is aborted
//! ```
//!
//! A context holds a [`Cluster`] that does not count: a role's task never keeps alive the node that it runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::Cluster;
use super::mail::{Handlers, Inbox, Mailbox, RoleProtocol};
use crate::driver::{self, Coming, Reader, RoleLine, RoleRunner};
use crate::roles::{FencingToken, RoleSpec, RoleStart};

/// Why a role's task failed; any error and any text turns into it with `?` or `.into()`.
pub type RoleError = Box<dyn Error + Send + Sync>;

/// What a role's task ends with. Ending before it was asked to, `Ok` or not, counts as a failure: a role is to run.
pub type RoleResult = Result<(), RoleError>;

type RoleFuture = Pin<Box<dyn Future<Output = RoleResult> + Send>>;
type Factory = Arc<dyn Fn(RoleContext) -> RoleFuture + Send + Sync>;

/// What a role's task is told and can use.
#[derive(Clone)]
pub struct RoleContext {
    spec: Arc<RoleSpec>,
    token: FencingToken,
    line: RoleLine,
    cluster: Cluster,
    inbox: Arc<Inbox>,
}

/// As long as it is held, the role is coming up; see [`RoleContext::starting`].
#[derive(Debug)]
#[must_use = "the role is up as soon as this is dropped"]
pub struct Starting {
    _coming: Coming,
}

/// What was to be handed over is too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bytes} bytes are too many to hand over; at most {} fit, put the rest into a table",
    RoleContext::MAX_HANDED_OVER
)]
pub struct HandOverError {
    /// Its length.
    pub bytes: usize,
}

impl RoleContext {
    /// The most that can be handed over, in bytes.
    pub const MAX_HANDED_OVER: usize = 48 * 1024;

    /// The name of the role, such as `gate-1`.
    pub fn role(&self) -> &str {
        &self.spec.name
    }

    /// The arguments from the role's spec, as they are.
    pub fn arguments(&self) -> &str {
        &self.spec.arguments
    }

    /// The whole spec.
    pub fn spec(&self) -> &RoleSpec {
        &self.spec
    }

    /// The fencing token of this start: above those of all earlier starts of the role that this node has seen. Hand it
    /// to resources that must not be used by two instances at once, and let them refuse lower ones.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// The node that this runs on. This handle, and its clones, do not keep the node alive: when the application drops
    /// its own, the node stops, and this task with it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What others send to this role, see [`RoleRef`](super::RoleRef). A role that takes no messages does not ask for it;
    /// whoever calls one such waits in vain.
    ///
    /// ```no_run
    /// # use unisono::{Message, RoleContext, RoleProtocol, RoleResult};
    /// # struct Gate;
    /// # impl RoleProtocol for Gate {
    /// #     type Call = String;
    /// #     type Reply = bool;
    /// #     type Cast = ();
    /// # }
    /// async fn gate(context: RoleContext) -> RoleResult {
    ///     let mut mailbox = context.mailbox::<Gate>();
    ///     // `None` once the role is asked to end.
    ///     while let Some(message) = mailbox.next().await {
    ///         match message {
    ///             Message::Call(plate, responder) => responder.reply(plate.starts_with("B-")),
    ///             Message::Cast(()) => {}
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn mailbox<P: RoleProtocol>(&self) -> Mailbox<P> {
        Mailbox::new(Arc::clone(&self.inbox), self.line.clone())
    }

    /// Waits until the task is asked to end. It then has the stop grace
    /// ([`Config::stop_grace_ms`](super::Config::stop_grace_ms)) to clean up and return `Ok(())`, and is aborted after
    /// it. Cancel safe, and ready again whenever it is called after that.
    pub async fn stopped(&self) {
        self.line.stop_requested().await;
    }

    /// Says that the role is not up yet: it shows as starting until the guard is dropped. Take it before the task's first
    /// await; a task that takes none is up as soon as it runs. Who waits for the role waits for that: its predecessor, where
    /// the role makes before it breaks, and calls to it.
    ///
    /// ```no_run
    /// # async fn listen() {}
    /// # let builder = unisono::Cluster::builder();
    /// builder.role_kind("gate", |context: unisono::RoleContext| async move {
    ///     let starting = context.starting();
    ///     listen().await;
    ///     drop(starting);
    ///     context.stopped().await;
    ///     Ok(())
    /// });
    /// ```
    pub fn starting(&self) -> Starting {
        Starting { _coming: self.line.coming() }
    }

    /// What the instance before this one left with [`RoleContext::hand_over`], if this one takes its place by a planned
    /// move. Only the first start on a node is given it: after a failure there is none.
    pub fn handed_over(&self) -> Option<&Bytes> {
        self.line.handed()
    }

    /// Leaves something to the instance that takes this one's place: call it when the task was asked to end, before it
    /// returns. Of several calls the last one counts. It reaches the successor if there is one, which is so when the role
    /// moves and not when it is removed, when this node dies, or when the successor dies before it begins; with
    /// [`Handover::MakeBeforeBreak`](crate::Handover::MakeBeforeBreak) the successor runs already and is not given it.
    /// What must not get lost belongs into a table.
    ///
    /// # Errors
    /// [`HandOverError`] if it is longer than [`RoleContext::MAX_HANDED_OVER`]: all members hold it for a moment.
    pub fn hand_over(&self, state: impl Into<Bytes>) -> Result<(), HandOverError> {
        let state = state.into();
        if state.len() > Self::MAX_HANDED_OVER {
            return Err(HandOverError { bytes: state.len() });
        }
        self.line.leave_state(state);
        Ok(())
    }

    /// Whether the task was asked to end.
    pub fn is_stopped(&self) -> bool {
        self.line.is_stop_requested()
    }
}

impl fmt::Debug for RoleContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleContext").field("spec", &self.spec).field("token", &self.token).finish_non_exhaustive()
    }
}

/// The factories that a builder collects.
#[derive(Clone, Default)]
pub(super) struct Factories {
    by_kind: BTreeMap<String, Factory>,
    pub(super) handlers: Handlers,
    /// The first kind that was registered a second time; an error when the node starts.
    pub(super) twice: Option<String>,
}

impl Factories {
    pub(super) fn add<F, R>(&mut self, kind: String, factory: F)
    where
        F: Fn(RoleContext) -> R + Send + Sync + 'static,
        R: Future<Output = RoleResult> + Send + 'static,
    {
        let factory: Factory = Arc::new(move |context| Box::pin(factory(context)));
        if self.by_kind.insert(kind.clone(), factory).is_some() {
            self.twice.get_or_insert(kind);
        }
    }

    pub(super) fn kinds(&self) -> BTreeSet<String> {
        self.by_kind.keys().cloned().collect()
    }

    pub(super) fn has(&self, kind: &str) -> bool {
        self.by_kind.contains_key(kind)
    }

    /// What the driver runs roles with. The cluster comes later, because it needs the running driver first.
    pub(super) fn into_runner(self, cluster: Reader<Option<Cluster>>) -> Runner {
        Runner { factories: self.by_kind, cluster }
    }
}

impl fmt::Debug for Factories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_kind.keys()).finish()
    }
}

/// The [`RoleRunner`] of the public face.
pub(super) struct Runner {
    factories: BTreeMap<String, Factory>,
    cluster: Reader<Option<Cluster>>,
}

impl RoleRunner for Runner {
    fn build(&mut self, start: &RoleStart, line: RoleLine) -> driver::RoleFuture {
        let (spec, token) = (Arc::clone(&start.spec), start.token);
        let factory = self.factories.get(&spec.kind).cloned();
        let cluster = self.cluster.clone();
        // Until the task was polled once, and had the chance to say that it takes longer.
        let coming = line.coming();
        Box::pin(async move {
            let factory = factory.ok_or_else(|| format!("no factory for the kind {:?} here", spec.kind))?;
            let Some(Some(cluster)) = cluster.wait_for(Option::is_some).await else {
                return Err("the node did not start".to_owned());
            };
            // Closed when the task ends, in whatever way.
            let opened = cluster.node.post.open(&spec.name);
            let inbox = Arc::clone(opened.inbox());
            let context = RoleContext { spec, token, line, cluster, inbox };
            // The factory is called here and not above, so that its panic is the task's and not the driver's.
            let mut task = factory(context);
            let polled = poll_fn(|context| Poll::Ready(task.as_mut().poll(context))).await;
            drop(coming);
            let ended = match polled {
                Poll::Ready(ended) => ended,
                Poll::Pending => task.await,
            };
            ended.map_err(|error| describe(error.as_ref()))
        })
    }
}

/// An error with what caused it, since only text can be published to the other nodes.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the gate does not open")]
    struct Stuck(#[source] std::io::Error);

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error: RoleError = Stuck(std::io::Error::other("no power")).into();
        assert_eq!(describe(error.as_ref()), "the gate does not open: no power");
        assert_eq!(describe(RoleError::from("plain text").as_ref()), "plain text");
    }
}
