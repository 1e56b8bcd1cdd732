//! The name of one write.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ReplicaId;

/// The name of one write: the `seq`-th of a replica, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who wrote.
    pub replica: ReplicaId,
    /// Its how-manieth write.
    pub seq: u64,
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.replica, self.seq)
    }
}
