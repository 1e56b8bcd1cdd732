//! Why a role is refused.

use super::RoleSpec;

/// Why a [`RoleSpec`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleSpecError {
    /// The name is empty or too long.
    #[error("roles: name {name:?} has {} bytes; give it 1 to {}", name.len(), RoleSpec::MAX_NAME)]
    Name {
        /// The name.
        name: String,
    },
    /// The kind is empty or too long.
    #[error("roles.{role}: kind has {bytes} bytes; give it 1 to {}", RoleSpec::MAX_NAME)]
    Kind {
        /// The role.
        role: String,
        /// The length of its kind.
        bytes: usize,
    },
    /// The count is 0.
    #[error("roles.{role}: count is 0; ask for at least 1 instance, or leave the role out")]
    CountZero {
        /// The role.
        role: String,
    },
    /// The arguments are too long.
    #[error("roles.{role}: arguments have {bytes} bytes; at most {} fit", RoleSpec::MAX_ARGUMENTS)]
    Arguments {
        /// The role.
        role: String,
        /// Their length.
        bytes: usize,
    },
    /// Two roles have one name.
    #[error("roles: {role:?} is declared twice; give each role a name of its own")]
    Duplicate {
        /// The role.
        role: String,
    },
    /// A label that a node must have, or the one to spread over, or the name of a role to be apart from, is empty or too
    /// long.
    #[error("roles.{role}: {field}: {label:?} has {} bytes; give it 1 to {}", label.len(), RoleSpec::MAX_NAME)]
    Label {
        /// The role.
        role: String,
        /// Where it stands.
        field: &'static str,
        /// The label, or its value, or the role.
        label: String,
    },
    /// There are too many constraints.
    #[error("roles.{role}: {field} names {count}, and at most {} may be named", RoleSpec::MAX_CONSTRAINTS)]
    TooManyConstraints {
        /// The role.
        role: String,
        /// Where they stand.
        field: &'static str,
        /// How many.
        count: usize,
    },
    /// The role is to be kept apart from itself.
    #[error("roles.{role}: apart_from names the role itself, which never shares a node with itself: leave that out")]
    ApartFromItself {
        /// The role.
        role: String,
    },
    /// A quorum of 0 nodes is none.
    #[error("roles.{role}: partition: a quorum of 0 nodes is none; ask for at least 1, or for `overlap`")]
    NoQuorum {
        /// The role.
        role: String,
    },
    /// The first pause before a restart is longer than the longest.
    #[error(
        "roles.{role}: restarts: backoff_first_ms {first_ms} is above backoff_max_ms {max_ms}; swap them or raise the second"
    )]
    Backoff {
        /// The role.
        role: String,
        /// The first pause, in milliseconds.
        first_ms: u64,
        /// The longest, in milliseconds.
        max_ms: u64,
    },
}
