//! What a node says about the roles it holds: owner rows in the system table of claims.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::ReplicaId;
use crate::time::Stamp;

/// Which start of a role's task an instance is, and how old it is: the lower, the longer it has been running. It never
/// changes while the instance lives. Where two parts of a cluster meet and run one instance too many, the lowest stay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct InstanceId {
    /// When the task was started.
    #[serde(with = "stamp")]
    pub stamp: Stamp,
    /// The run of the node that started it.
    pub replica: ReplicaId,
}

/// Lets a resource outside the cluster refuse an instance of a role that was replaced and does not know it yet: the
/// resource remembers the highest token that it was shown, and refuses lower ones (Kleppmann, "How to do distributed
/// locking", 2016).
///
/// A start takes a token above every token of the role that its node knows of. Which instance survives, when two parts of
/// a cluster meet after a cut, does not depend on tokens: the one that has been running for longest does
/// ([`InstanceId`]), and the others are asked to end. It may have the lowest token of all, so as soon as the members agree
/// that it is to stay, its token is raised in place, without a restart, above every token of the role that was ever given
/// and is known of. [`RoleContext::token`](crate::RoleContext::token) gives the current one,
/// [`RoleContext::token_changed`](crate::RoleContext::token_changed) awaits the next, and
/// [`Cluster::lookup`](crate::Cluster::lookup) shows it. A token only ever rises, and is never given to two instances.
///
/// # How to use it
///
/// 1. Take one token for each read-modify-write, and use it for all requests of that one.
/// 2. Show it with the read already: from then on the resource refuses an instance that read before under a lower one.
/// 3. Write with the very same token, also if the current one is another by then. If the write passes, no other instance
///    was in between.
/// 4. State that is kept from one read-modify-write to the next has to be read again after the token changed, under the
///    new one: another instance may have written meanwhile, and a write that was computed from old state must not pass
///    with a new token.
///
/// An instance that is refused has been replaced, or another one was started while they did not see each other. It must
/// not end by itself: that counts as a failure, and the next start is the youngest instance of all. It waits for what
/// comes first: either it is asked to end ([`RoleContext::stopped`](crate::RoleContext::stopped)), or it stays and its
/// token is raised. While a cut lasts neither may come, and the instance on the other side has the resource.
///
/// ```
/// # use unisono::{FencingToken, RoleContext, RoleResult};
/// # struct Lot;
/// # struct Refused;
/// # impl Lot {
/// #     async fn read(&self, _token: FencingToken) -> Result<u64, Refused> { Ok(0) }
/// #     async fn write(&self, _token: FencingToken, _cars: u64) -> Result<(), Refused> { Ok(()) }
/// # }
/// /// Lets a car in. The lot, a server outside the cluster, remembers the highest token that it was shown.
/// async fn admit(context: &RoleContext, lot: &Lot) {
///     loop {
///         let token = context.token();
///         let done = async { lot.write(token, lot.read(token).await? + 1).await };
///         match done.await {
///             Ok(()) => return,
///             // Read it again under the new token. To be called beside `context.stopped()`, since there may be none.
///             Err(Refused) => drop(context.token_changed(token).await),
///         }
///     }
/// }
///
/// async fn gate(context: RoleContext) -> RoleResult {
///     let lot = Lot;
///     loop {
///         tokio::select! {
///             biased;
///             () = context.stopped() => return Ok(()),
///             () = admit(&context, &lot) => {}
///         }
///     }
/// }
/// # let _ = gate;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FencingToken {
    /// When it was given.
    #[serde(with = "stamp")]
    pub stamp: Stamp,
    /// The run of the node whose instance it was given to.
    pub replica: ReplicaId,
}

/// Like a [`ReplicaId`], digits in formats for people, whose readers round numbers as large as this.
mod stamp {
    use serde::{Deserializer, Serializer};

    use crate::id::word;
    use crate::time::Stamp;

    pub(super) fn serialize<S: Serializer>(stamp: &Stamp, serializer: S) -> Result<S::Ok, S::Error> {
        word::serialize(&stamp.0, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
        word::deserialize(deserializer).map(Stamp)
    }
}

impl FencingToken {
    /// As one number, for a resource to compare.
    pub fn as_u128(self) -> u128 {
        u128::from(self.stamp.0) << 64 | u128::from(self.replica.0)
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.as_u128())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.stamp.0, self.replica.0)
    }
}

/// What the owner of a claim does with the role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// The task is being started, or restarted after a failure.
    Starting,
    /// The task runs.
    Running,
    /// The task runs until that of `to` does: make before break.
    Yielding {
        /// The successor.
        to: ReplicaId,
    },
    /// The task was asked to end, so that `to` can start.
    Draining {
        /// The successor.
        to: Option<ReplicaId>,
    },
    /// The task has ended; `to` may start.
    Stopped {
        /// The successor.
        to: Option<ReplicaId>,
    },
    /// The task failed too often; this node is not asked again until then.
    Failed {
        /// In words.
        why: String,
        /// When the exclusion ends, in milliseconds of estimated time. Its owner lifts it; others only read it.
        until_ms: u64,
    },
}

impl ClaimState {
    /// The state in one word, for people.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Yielding { .. } => "yielding",
            Self::Draining { .. } => "draining",
            Self::Stopped { .. } => "stopped",
            Self::Failed { .. } => "failed",
        }
    }
}

/// One row of the table of claims; its key is (owner, role).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Which instance it is: that of the last start.
    pub started: InstanceId,
    /// Its current fencing token.
    pub token: FencingToken,
    /// What the owner does with the role.
    pub state: ClaimState,
    /// It was moved here a short time ago and is not to be moved again for balance; its owner says for how long.
    pub pinned: bool,
    /// What the task hands to its successor, in [`ClaimState::Stopped`].
    pub handed: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_two_words_of_digits_for_people_and_two_numbers_on_the_wire() {
        let token = FencingToken { stamp: Stamp(255), replica: ReplicaId(u64::MAX) };
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(text, r#"{"stamp":"00000000000000ff","replica":"ffffffffffffffff"}"#);
        assert_eq!(serde_json::from_str::<FencingToken>(&text).unwrap(), token);
        let bytes = postcard::to_stdvec(&token).unwrap();
        assert_eq!(bytes, postcard::to_stdvec(&(255u64, u64::MAX)).unwrap());
        assert_eq!(postcard::from_bytes::<FencingToken>(&bytes).unwrap(), token);
        let instance = InstanceId { stamp: token.stamp, replica: token.replica };
        assert_eq!(serde_json::to_string(&instance).unwrap(), text);
        assert_eq!((postcard::to_stdvec(&instance).unwrap(), instance.to_string()), (bytes, token.to_string()));
    }
}
