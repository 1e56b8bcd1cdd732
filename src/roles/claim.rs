//! What a node says about the roles it holds: owner rows in the system table of claims.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::ReplicaId;
use crate::time::Stamp;

/// Orders the instances of a role in time: the newer start has the higher token. A resource that remembers the highest
/// token it was shown and refuses lower ones is safe from an instance that does not know yet that it was replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FencingToken {
    /// The stamp of the start.
    #[serde(with = "stamp")]
    pub stamp: Stamp,
    /// Who started it.
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
    /// The fencing token of the instance.
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
    }
}
