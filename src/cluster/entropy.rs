//! The one place of the crate that draws ambient randomness.
//!
//! A replica id must never come a second time, not even from a process that was cloned, forked or restored from an
//! image; so it comes from the operating system and from no generator in user space, whose state would be cloned along.
//! Everything else that is random below the driver follows from the seed drawn here, so that a run can be replayed.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::id::ReplicaId;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes ({why}); on early boot, start the node later")]
pub struct EntropyError {
    why: String,
}

/// What a node draws once, when it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// Who this run is.
    pub(super) replica: ReplicaId,
    /// What the engine's random decisions follow from.
    pub(super) seed: u64,
    /// What the store's maps are seeded with, so that nobody outside can choose keys that collide.
    pub(super) hash_seed: u64,
}

impl Draw {
    pub(super) fn new() -> Result<Self, EntropyError> {
        Ok(Self { replica: ReplicaId(word()?), seed: word()?, hash_seed: word()? })
    }
}

fn word() -> Result<u64, EntropyError> {
    SysRng.try_next_u64().map_err(|error| EntropyError { why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_runs_are_the_same() {
        let (one, two) = (Draw::new().unwrap(), Draw::new().unwrap());
        assert_ne!(one.replica, two.replica);
        assert_ne!(one.seed, two.seed);
        assert_ne!(one.hash_seed, two.hash_seed);
    }
}
