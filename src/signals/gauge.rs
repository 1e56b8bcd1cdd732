//! [`Gauge`]: the present value of one signal, written by any thread and read by the engine.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::spec::{SignalKind, Spec};

/// Why a sample was refused. What was sampled before still counts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// Not a number.
    #[error("{signal}: not a number is no sample; leave it out while there is nothing to measure (0 divided by 0?)")]
    NotANumber {
        /// The signal.
        signal: &'static str,
    },
    /// Infinite.
    #[error("{signal}: an infinite sample would shut this node out; give the largest value that makes sense instead")]
    Infinite {
        /// The signal.
        signal: &'static str,
    },
    /// Below 0.
    #[error("{signal}: {value} is negative; give 0 or more, a signal says how busy a node is, not how free")]
    Negative {
        /// The signal.
        signal: &'static str,
        /// The sample.
        value: f64,
    },
    /// A percentage above 100.
    #[error("{signal}: {value} is no percentage; give 0 to 100, or declare the signal as an amount")]
    Percent {
        /// The signal.
        signal: &'static str,
        /// The sample.
        value: f64,
    },
}

impl SampleError {
    /// Checks a sample and returns it, without the sign of a negative zero.
    fn check(spec: &Spec, value: f64) -> Result<f64, Self> {
        let signal = spec.name();
        match value {
            _ if value.is_nan() => Err(Self::NotANumber { signal }),
            _ if value < 0.0 => Err(Self::Negative { signal, value }),
            _ if spec.kind() == SignalKind::Percent && value > 100.0 => Err(Self::Percent { signal, value }),
            _ if value.is_infinite() => Err(Self::Infinite { signal }),
            _ => Ok(value + 0.0),
        }
    }
}

/// The present value of one signal. All writes are one atomic operation, or a short loop of them, and order nothing else.
///
/// On a line of its own in the cache, so that two signals of a busy application do not slow each other down.
#[repr(align(64))]
pub struct Gauge {
    spec: Spec,
    /// A count as it is, anything else as the bits of a float; [`UNSET`] before its first sample.
    value: AtomicU64,
}

/// The bits of a float that is not a number, which no sample is.
const UNSET: u64 = u64::MAX;

impl Gauge {
    /// A gauge without a sample; a count stands at 0.
    pub(super) fn new(spec: Spec) -> Self {
        let value = if spec.kind() == SignalKind::Count { 0 } else { UNSET };
        Self { spec, value: AtomicU64::new(value) }
    }

    /// What it measures.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// One more. To be called on a count.
    pub fn increment(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
    }

    /// One less, and never below 0. To be called on a count.
    pub fn decrement(&self) {
        // Nothing to do where it stands at 0 already.
        let _ = self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    }

    /// One more until what is returned is dropped. To be called on a count.
    pub fn hold(self: &Arc<Self>) -> Held {
        self.increment();
        Held(Arc::clone(self))
    }

    /// The sample from now on. To be called on anything but a count.
    ///
    /// # Errors
    ///
    /// [`SampleError`]; the sample before still counts.
    pub fn set(&self, value: f64) -> Result<(), SampleError> {
        let value = SampleError::check(&self.spec, value)?;
        self.value.store(value.to_bits(), Ordering::Relaxed);
        Ok(())
    }

    /// The present value, if there was a sample.
    pub fn value(&self) -> Option<f64> {
        let bits = self.value.load(Ordering::Relaxed);
        match self.spec.kind() {
            #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53 one by one")]
            SignalKind::Count => Some(bits as f64),
            _ => (bits != UNSET).then(|| f64::from_bits(bits)),
        }
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge").field("name", &self.spec.name()).field("value", &self.value()).finish_non_exhaustive()
    }
}

/// Counts one as long as it is kept. So a future that is cancelled, or a thread that panics, does not count for ever.
#[derive(Debug)]
#[must_use = "it counts until it is dropped, which is at once"]
pub struct Held(Arc<Gauge>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(kind: SignalKind) -> Arc<Gauge> {
        Arc::new(Gauge::new(Spec::new("queue", kind, 1.0)))
    }

    #[test]
    fn a_count_does_not_fall_below_zero() {
        let count = gauge(SignalKind::Count);
        assert_eq!(count.value(), Some(0.0));
        count.decrement();
        assert_eq!(count.value(), Some(0.0));
        count.increment();
        let held = count.hold();
        assert_eq!(count.value(), Some(2.0));
        drop(held);
        count.decrement();
        count.decrement();
        assert_eq!(count.value(), Some(0.0));
    }

    #[test]
    fn no_increment_of_another_thread_is_lost() {
        let count = gauge(SignalKind::Count);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| count.increment()));
            }
            scope.spawn(|| {
                for _ in 0..10_000 {
                    drop(count.hold());
                }
            });
        });
        assert_eq!(count.value(), Some(40_000.0));
    }

    #[test]
    fn samples_out_of_bounds_are_refused_and_change_nothing() {
        use SignalKind::{Amount, Percent, PreProcessed};
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let wrong = [
            (Percent, vec![nan, -1.0, 100.1, inf, -inf]),
            (Amount, vec![nan, -1.0, inf, -inf]),
            (PreProcessed, vec![nan, -1.0, inf, -inf]),
        ];
        for (kind, values) in wrong {
            let gauge = gauge(kind);
            assert_eq!(gauge.value(), None, "nothing was sampled");
            gauge.set(61.0).unwrap();
            for value in values {
                let error = gauge.set(value).unwrap_err().to_string();
                assert!(error.starts_with("queue: ") && error.contains("; "), "{error}");
                assert_eq!(gauge.value(), Some(61.0), "{kind} {value}");
            }
        }
    }

    #[test]
    fn each_refusal_says_what_it_is() {
        let (percent, amount) = (gauge(SignalKind::Percent), gauge(SignalKind::Amount));
        let signal = "queue";
        assert!(matches!(percent.set(f64::NAN), Err(SampleError::NotANumber { .. })));
        assert_eq!(percent.set(100.1), Err(SampleError::Percent { signal, value: 100.1 }));
        assert_eq!(percent.set(-0.1), Err(SampleError::Negative { signal, value: -0.1 }));
        assert_eq!(amount.set(f64::INFINITY), Err(SampleError::Infinite { signal }));
        assert_eq!(amount.set(-0.1), Err(SampleError::Negative { signal, value: -0.1 }));
        for bound in [0.0, -0.0, 100.0] {
            percent.set(bound).unwrap();
            assert_eq!(percent.value().map(f64::to_bits), Some((bound + 0.0).to_bits()));
        }
        amount.set(f64::MAX).unwrap();
    }
}
