//! What a signal is: a name, a kind and a weight, checked while the application is compiled.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of number a signal is, and so how it counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// What goes up and down by one and never below 0, such as requests under way. It counts value × weight.
    Count,
    /// How much of something is used up, from 0 to 100. It counts weight × e^(0.05 × value): 1 at 0 %, 12 at 50 %, 90 at
    /// 90 % and 148 at 100 % with a weight of 1, since the last of something is dearer than the first.
    Percent,
    /// Any amount from 0 up, such as the length of a queue. It counts value × weight.
    Amount,
    /// A number from 0 up that the application worked out itself. It counts as it is.
    PreProcessed,
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Count => "count",
            Self::Percent => "percent",
            Self::Amount => "amount",
            Self::PreProcessed => "pre_processed",
        })
    }
}

/// A signal as it was declared. [`signals!`](crate::signals!) makes them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spec {
    name: &'static str,
    kind: SignalKind,
    weight: f64,
}

impl Spec {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 64;

    /// The names of what every node measures itself.
    pub const BUILT_IN: [&'static str; 3] = ["cpu", "memory", "roles"];

    /// A signal of an application.
    ///
    /// # Panics
    ///
    /// If the name is empty, longer than [`Spec::MAX_NAME`] or one of [`Spec::BUILT_IN`], or the weight negative, infinite
    /// or not a number. In a constant, where [`signals!`](crate::signals!) puts it, the application does not compile then.
    pub const fn new(name: &'static str, kind: SignalKind, weight: f64) -> Self {
        assert!(!name.is_empty() && name.len() <= Self::MAX_NAME, "a signal needs a name of 1 to 64 bytes");
        assert!(weight.is_finite() && weight >= 0.0, "the weight of a signal has to be 0 or more, and finite");
        let mut index = 0;
        while index < Self::BUILT_IN.len() {
            assert!(
                !equal(name, Self::BUILT_IN[index]),
                "cpu, memory and roles are built in; give this signal another name, or leave it out"
            );
            index += 1;
        }
        Self { name, kind, weight }
    }

    /// What every node measures itself, with a weight that was checked.
    pub(crate) const fn built_in(name: &'static str, kind: SignalKind, weight: f64) -> Self {
        Self { name, kind, weight }
    }

    /// Its name, unique on a node.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its kind.
    pub const fn kind(&self) -> SignalKind {
        self.kind
    }

    /// How much it counts.
    pub const fn weight(&self) -> f64 {
        self.weight
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SignalKind::PreProcessed => write!(f, "{}", self.kind),
            _ => write!(f, "{} with a weight of {}", self.kind, self.weight),
        }
    }
}

const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_to_their_ends() {
        for (one, other) in [("cpu", "cpu"), ("cpu", "cpus"), ("cpus", "cpu"), ("", ""), ("a", "b")] {
            assert_eq!(equal(one, other), one == other, "{one} {other}");
        }
    }

    #[test]
    fn what_cannot_be_a_signal_panics() {
        let long = "n".repeat(Spec::MAX_NAME + 1).leak();
        for (name, weight) in [("", 1.0), (long, 1.0), ("cpu", 1.0), ("memory", 1.0), ("roles", 1.0)]
            .into_iter()
            .chain([("queue", -0.1), ("queue", f64::NAN), ("queue", f64::INFINITY)])
        {
            let made = std::panic::catch_unwind(|| Spec::new(name, SignalKind::Amount, weight));
            assert!(made.is_err(), "{name} {weight}");
        }
        let spec = Spec::new("queue", SignalKind::Amount, 0.0);
        assert_eq!((spec.name(), spec.kind(), spec.weight()), ("queue", SignalKind::Amount, 0.0));
    }
}
