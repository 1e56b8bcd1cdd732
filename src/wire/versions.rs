//! Which versions of the protocol somebody speaks.

use serde::{Deserialize, Serialize};

/// The lowest protocol version that this build speaks.
pub const PROTOCOL_MIN: u8 = 1;

/// The highest protocol version that this build speaks.
pub const PROTOCOL_MAX: u8 = 1;

/// All protocol versions from one to another, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub low: u8,
    /// The highest.
    pub high: u8,
}

impl Versions {
    /// Those that this build speaks.
    pub const OURS: Self = Self { low: PROTOCOL_MIN, high: PROTOCOL_MAX };

    /// Whether this version is one of them.
    pub fn has(self, version: u8) -> bool {
        (self.low..=self.high).contains(&version)
    }

    /// Those that both have; `None` if there are none.
    ///
    /// Of several ranges of which any two have a version in common all have one in common: so it is enough to know what
    /// is common to all members to say whether a newcomer can speak with each of them.
    #[must_use]
    pub fn shared(self, other: Self) -> Option<Self> {
        let shared = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (shared.low <= shared.high).then_some(shared)
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self::OURS
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.low == self.high { self.low.fmt(f) } else { write!(f, "{} to {}", self.low, self.high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_what_both_have() {
        let range = |low, high| Versions { low, high };
        assert_eq!(range(1, 3).shared(range(2, 5)), Some(range(2, 3)));
        assert_eq!(range(1, 1).shared(range(1, 2)), Some(range(1, 1)));
        assert_eq!(range(1, 1).shared(range(2, 2)), None);
        assert!(range(2, 3).has(2) && range(2, 3).has(3) && !range(2, 3).has(1) && !range(2, 3).has(4));
        assert_eq!((range(2, 2).to_string(), range(1, 2).to_string()), ("2".to_owned(), "1 to 2".to_owned()));
    }
}
