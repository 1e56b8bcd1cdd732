//! Why there is no such table, and why a write was not carried out.

use crate::store::{self, TableNameError};
use crate::table::RowError;

/// Why there is no such table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The name is empty or too long.
    #[error(transparent)]
    Name(#[from] TableNameError),
    /// The name is one of the system's.
    #[error(
        "the table name {name:?} is reserved; names that begin with '_' or '@' and names with '|' in them belong to \
         the cluster itself"
    )]
    Reserved {
        /// The name.
        name: String,
    },
    /// Only rows of [`Lww`](crate::Lww) end by themselves.
    #[error("the table {name:?} is made of shares, which do not end by themselves; leave out its ttl, or use Lww rows")]
    Ttl {
        /// The name.
        name: String,
    },
    /// The table is already in use on this node, and not in this way.
    #[error(
        "the table {name:?} is in use here with another {what}: {first}, not {second}; use one setting everywhere, or \
         another name"
    )]
    Differs {
        /// The name.
        name: String,
        /// What differs: `schema`, `scope`, `quota` or `ttl`.
        what: &'static str,
        /// What it was first.
        first: String,
        /// What was asked for now.
        second: String,
    },
}

/// Why a write was not carried out. Unless it says otherwise, nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The node has not joined yet: what it wrote now could be mistaken for news by nodes that know better.
    #[error("this node has not joined yet; await `Cluster::ready` before the first write")]
    NotReady,
    /// The node left the cluster or was dropped.
    #[error("this node left the cluster; start a new one to write")]
    Gone,
    /// The key or value does not fit into a row, or the row that is there is not of this table's type.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A counter would leave the range of its type.
    #[error("this node's share of the counter would leave the range of 64 bits; remove the counter and begin anew")]
    Overflow,
    /// The store refused for another reason.
    #[error(transparent)]
    Store(store::WriteError),
}

impl From<store::WriteError> for WriteError {
    fn from(error: store::WriteError) -> Self {
        match error {
            store::WriteError::NotReady => Self::NotReady,
            store::WriteError::Closed => Self::Gone,
            other => Self::Store(other),
        }
    }
}
