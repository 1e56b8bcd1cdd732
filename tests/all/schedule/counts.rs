//! What happened, in numbers: a schedule in which nothing happens proves nothing.

/// What happened in a run, to be sure that it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) writes: usize,
    /// Tombstones collected while all was in uproar.
    pub(crate) collected: usize,
    /// Rows that ended.
    pub(crate) expired: usize,
    pub(crate) crashes: usize,
    pub(crate) interrupted: usize,
    pub(crate) refused: usize,
    pub(crate) differing_rosters: usize,
    pub(crate) bucket_repairs: usize,
    /// Keys that are there though the oracle says that they were removed; only islands may have them.
    pub(crate) came_back: usize,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            writes: self.writes + other.writes,
            collected: self.collected + other.collected,
            expired: self.expired + other.expired,
            crashes: self.crashes + other.crashes,
            interrupted: self.interrupted + other.interrupted,
            refused: self.refused + other.refused,
            differing_rosters: self.differing_rosters + other.differing_rosters,
            bucket_repairs: self.bucket_repairs + other.bucket_repairs,
            came_back: self.came_back + other.came_back,
        }
    }
}
