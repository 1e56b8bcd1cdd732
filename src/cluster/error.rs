//! What can go wrong with a node as a whole; what concerns a configuration or a row stands beside those.

use std::io::ErrorKind;
use std::time::Duration;

use super::config_error::ConfigError;
use super::entropy::EntropyError;
use crate::driver::BindError;
use crate::engine::Denial;

/// Why a node did not start. Nothing is left running or bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network cannot be used as configured: no interface in the subnet, no free port, and the like. The message
    /// begins with the field of the [`Config`](super::Config) to change.
    #[error("{field}: {0}", field = field_of(.0))]
    Bind(BindError),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// There is no tokio runtime.
    #[error("no tokio runtime is running here; start the node from within one, with its IO and time enabled")]
    NoRuntime,
}

impl StartError {
    /// The field of the [`Config`](super::Config) to change; empty where no field is at fault.
    pub fn field(&self) -> &str {
        match self {
            Self::Config(error) => error.field(),
            Self::Bind(error) => field_of(error),
            Self::Entropy(_) | Self::NoRuntime => "",
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

/// The driver does not know how its settings are called here.
fn field_of(error: &BindError) -> &'static str {
    match error {
        BindError::NoInterface(_) => "net",
        BindError::NoFreePort { .. } => "port",
        BindError::Occupied { .. } | BindError::ClusterPort { .. } => "own_port",
        BindError::AdvertiseOutside { .. } => "advertise",
        BindError::BindOutside { .. } => "bind",
        BindError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => "own_port",
        BindError::Io { .. } => "bind",
    }
}

/// Why [`Cluster::ready`](super::Cluster::ready) gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadyError {
    /// The node is still joining. It goes on: call again to wait longer.
    #[error(
        "not ready after {after:?}, {known} other members known: {why}; check that they can be reached by UDP and TCP, \
         or wait longer"
    )]
    Timeout {
        /// How long was waited.
        after: Duration,
        /// How many other members this node knows that are not Down.
        known: usize,
        /// What stood in the way last, in words.
        why: String,
    },
    /// The node left the cluster or was dropped.
    #[error("this node left the cluster; start a new one")]
    Gone,
}

/// Why [`Cluster::until`](super::Cluster::until) gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UntilError {
    /// The condition did not come true.
    #[error("the condition did not come true within {after:?}; look at the state for how far it came")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The node left the cluster or was dropped before it came true.
    #[error("this node left the cluster before the condition came true; start a new one")]
    Gone,
}

/// Why [`Cluster::converged`](super::Cluster::converged) gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvergeError {
    /// Not everybody agreed in time.
    #[error("not converged after {after:?}: {culprit}; look at that node, or wait longer")]
    Timeout {
        /// How long was waited.
        after: Duration,
        /// What stood in the way last: which member, table or digest.
        culprit: String,
    },
    /// The node left the cluster or was dropped.
    #[error("this node left the cluster; start a new one")]
    Gone,
}

/// Why [`Cluster::await_visible`](super::Cluster::await_visible) gave up. What was written is not lost by that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VisibleError {
    /// Not everybody who was to hold the writes said so in time.
    #[error(
        "not visible after {after:?}: {lacking}; the writes stay and go on being sent, wait again or look at those"
    )]
    Timeout {
        /// How long was waited.
        after: Duration,
        /// Whom it was waited for last, in words.
        lacking: String,
    },
    /// The node left the cluster or was dropped.
    #[error("this node left the cluster; start a new one")]
    Gone,
}

/// Why [`Cluster::set_timing`](super::Cluster::set_timing) or [`Cluster::forget`](super::Cluster::forget) did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperateError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot be done as things are.
    #[error(transparent)]
    Denied(Denial),
    /// The node left the cluster or was dropped.
    #[error("this node left the cluster; start a new one")]
    Gone,
}

/// Why [`Cluster::leave`](super::Cluster::leave) was not clean. The node is gone all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// Some rows that this node wrote reached no other member in time; or it was the last, and everything is lost.
    #[error("left, and no other member is known to hold these rows: {}; write them again elsewhere", list(rows))]
    Unsaved {
        /// The rows, as `table/key`, the first thousand of them. Keys are shown as the bytes that they are encoded to.
        rows: Vec<String>,
    },
    /// The node did not answer and was stopped; what it wrote last may be lost.
    #[error("stopped after {after:?} without an answer; check the last rows that it wrote, they may be lost")]
    NoAnswer {
        /// How long was waited.
        after: Duration,
    },
    /// The node was gone before.
    #[error("this node left the cluster before; nothing is to be done")]
    Gone,
}

/// The first few of a list that may be long.
fn list(rows: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = rows.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match rows.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_culprit_and_stay_readable() {
        let error = ConvergeError::Timeout { after: Duration::from_secs(10), culprit: "curly lags in vehicles".into() };
        assert!(error.to_string().contains("after 10s: curly lags in vehicles"), "{error}");
        let rows = (0..7).map(|row| format!("vehicles/{row}")).collect();
        let error = LeaveError::Unsaved { rows };
        assert!(error.to_string().contains("vehicles/4 and 2 more;"), "{error}");
        assert_eq!(list(&["one".into()]), "one");
    }
}
