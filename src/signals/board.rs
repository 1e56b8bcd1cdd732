//! [`Board`]: all gauges of one node. The application writes into them, the engine looks at them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::gauge::Gauge;
use super::score::Part;
use super::spec::Spec;

/// Why signals could not be had. None of them counts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalsError {
    /// A signal of that name is there, and is something else.
    #[error(
        "the signal {name} is a {there} on this node and not a {wanted}; rename one of them, or declare both alike"
    )]
    Conflict {
        /// The name.
        name: &'static str,
        /// What it is.
        there: Spec,
        /// What was asked for.
        wanted: Spec,
    },
    /// There are too many.
    #[error(
        "{signals} signals on one node are too many; declare {} at most, and add up what belongs together",
        Board::MOST
    )]
    TooMany {
        /// How many there would be.
        signals: usize,
    },
}

/// A set of signals with typed methods. [`signals!`](crate::signals!) declares one.
pub trait Signals: Sized {
    /// The signals, in the order in which they were declared.
    const SPECS: &'static [Spec];

    /// The signals on their gauges: `next` gives those of [`Self::SPECS`] one after the other.
    #[doc(hidden)]
    fn attach(next: impl FnMut() -> Arc<Gauge>) -> Self;
}

/// All gauges of one node, by name.
#[derive(Default)]
pub struct Board {
    /// Only taken to declare signals and once a second to look at them; whoever has a gauge needs no lock.
    gauges: Mutex<BTreeMap<&'static str, Arc<Gauge>>>,
}

impl Board {
    /// The most signals on one node: their row is told to all the others.
    pub const MOST: usize = 256;

    /// The signals of an application. What was declared before, in this set or another one, is the same gauge.
    ///
    /// # Errors
    ///
    /// [`SignalsError`]; then none of them was added.
    pub fn signals<S: Signals>(&self) -> Result<S, SignalsError> {
        let mut gauges = self.register(S::SPECS)?.into_iter();
        Ok(S::attach(|| gauges.next().expect("there is a gauge for each spec")))
    }

    /// The gauges of these signals, in their order.
    ///
    /// # Errors
    ///
    /// [`SignalsError`]; then none of them was added.
    pub fn register(&self, specs: &[Spec]) -> Result<Vec<Arc<Gauge>>, SignalsError> {
        let mut gauges = self.lock();
        let mut after = gauges.clone();
        let mut found = Vec::with_capacity(specs.len());
        for spec in specs {
            let gauge = after.entry(spec.name()).or_insert_with(|| Arc::new(Gauge::new(*spec)));
            if gauge.spec() != spec {
                let there = *gauge.spec();
                return Err(SignalsError::Conflict { name: spec.name(), there, wanted: *spec });
            }
            found.push(Arc::clone(gauge));
        }
        if after.len() > Self::MOST {
            return Err(SignalsError::TooMany { signals: after.len() });
        }
        *gauges = after;
        Ok(found)
    }

    /// What every signal that has a sample shows now, by name.
    pub fn parts(&self) -> Vec<Part> {
        let gauges = self.lock();
        let sampled = gauges.values().filter_map(|gauge| gauge.value().map(|value| Part::new(gauge.spec(), value)));
        sampled.collect()
    }

    /// What was put in is whole at any time.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Arc<Gauge>>> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::SignalKind;

    const QUEUE: Spec = Spec::new("queue", SignalKind::Amount, 0.5);
    const RAM: Spec = Spec::new("ram", SignalKind::Percent, 1.0);

    #[test]
    fn sets_of_signals_merge() {
        let board = Board::default();
        let one = board.register(&[QUEUE, RAM]).unwrap();
        let other = board.register(&[RAM]).unwrap();
        assert!(board.parts().is_empty(), "nothing was sampled");
        other[0].set(61.0).unwrap();
        assert_eq!(one[1].value(), Some(61.0));
        one[0].set(3.0).unwrap();
        let parts = board.parts();
        assert_eq!(
            parts.iter().map(|part| (&*part.name, part.value)).collect::<Vec<_>>(),
            [("queue", 3.0), ("ram", 61.0)]
        );
    }

    #[test]
    fn a_name_means_one_thing() {
        let board = Board::default();
        board.register(&[QUEUE]).unwrap();
        let new = Spec::new("new", SignalKind::Count, 1.0);
        for wanted in [Spec::new("queue", SignalKind::Count, 0.5), Spec::new("queue", SignalKind::Amount, 0.6)] {
            let error = board.register(&[new, wanted]).unwrap_err();
            assert_eq!(error, SignalsError::Conflict { name: "queue", there: QUEUE, wanted });
            assert!(error.to_string().contains("amount with a weight of 0.5"), "{error}");
        }
        assert!(board.parts().is_empty(), "a count shows 0 from its beginning: `new` was not added");
    }

    #[test]
    fn there_is_an_end_to_them() {
        let board = Board::default();
        let name = |number: usize| -> &'static str { format!("signal_{number}").leak() };
        let specs: Vec<Spec> = (0..=Board::MOST).map(|n| Spec::new(name(n), SignalKind::Count, 1.0)).collect();
        assert_eq!(board.register(&specs).unwrap_err(), SignalsError::TooMany { signals: 257 });
        assert_eq!(board.register(&specs[1..]).unwrap().len(), Board::MOST);
        assert!(board.register(&specs[..1]).is_err());
    }
}
