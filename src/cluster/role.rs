//! Role factories: from a kind and a spec to a running task of the application.
//!
//! ```text
//!   engine: StartRole ─▶ driver ─▶ Factories::build ─▶ factory(RoleContext) ─▶ the application's future
//!   engine: StopRole  ─▶ driver ─▶ StopSignal ─▶ RoleContext::stopped() ─▶ the future ends, or is aborted
//! ```
//!
//! A context holds a [`Cluster`] that does not count: a role's task never keeps alive the node that it runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::Cluster;
use crate::driver::{Reader, RoleRunner, StopSignal};
use crate::roles::{FencingToken, RoleSpec};

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
    stop: StopSignal,
    cluster: Cluster,
}

impl RoleContext {
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

    /// Waits until the task is asked to end. It then has the stop grace
    /// ([`Config::stop_grace_ms`](super::Config::stop_grace_ms)) to clean up and return `Ok(())`, and is aborted after
    /// it. Cancel safe, and ready again whenever it is called after that.
    pub async fn stopped(&self) {
        self.stop.requested().await;
    }

    /// Whether the task was asked to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_requested()
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
    fn build(
        &mut self,
        spec: Arc<RoleSpec>,
        token: FencingToken,
        stop: StopSignal,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let factory = self.factories.get(&spec.kind).cloned();
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let factory = factory.ok_or_else(|| format!("no factory for the kind {:?} here", spec.kind))?;
            let Some(Some(cluster)) = cluster.wait_for(Option::is_some).await else {
                return Err("the node did not start".to_owned());
            };
            let context = RoleContext { spec, token, stop, cluster };
            // The factory is called here and not above, so that its panic is the task's and not the driver's.
            factory(context).await.map_err(|error| describe(error.as_ref()))
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
