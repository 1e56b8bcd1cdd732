//! What samples add up to, and how far apart two scores are.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::spec::{SignalKind, Spec};

/// What one signal of one node showed, and what it counts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The name of the signal.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: SignalKind,
    /// How much it counts.
    pub weight: f64,
    /// What it showed.
    pub value: f64,
}

/// What one hosted role counts.
const ROLE: Spec = Spec::built_in("roles", SignalKind::Count, 0.1);

/// How steep percentages rise.
const STEEPNESS: f64 = 0.05;

/// The smallest difference that anybody should hear of: what one hosted role counts.
const SMALLEST: f64 = 0.1;

/// How much larger each bucket is than the one below: a quarter, which is also what makes a role worth moving.
const RATIO: f64 = 1.25;

impl Part {
    /// What a signal shows.
    pub(super) fn new(spec: &Spec, value: f64) -> Self {
        Self { name: spec.name().into(), kind: spec.kind(), weight: spec.weight(), value }
    }

    /// What hosting so many roles counts.
    pub fn roles(hosted: u32) -> Self {
        Self::new(&ROLE, hosted.into())
    }

    /// What it counts: weight × e^(0.05 × value) for a percentage, the value itself for what was processed before, and
    /// value × weight for all others. Never infinite.
    pub fn score(&self) -> f64 {
        let score = match self.kind {
            SignalKind::Percent => self.weight * (STEEPNESS * self.value).exp(),
            SignalKind::PreProcessed => self.value,
            SignalKind::Count | SignalKind::Amount => self.value * self.weight,
        };
        score.min(f64::MAX)
    }

    /// Whether a correct node may have published it.
    pub(super) fn is_sound(&self) -> bool {
        let in_bounds = |number: f64| number.is_finite() && number >= 0.0;
        (1..=Spec::MAX_NAME).contains(&self.name.len())
            && !self.name.chars().any(char::is_control)
            && in_bounds(self.weight)
            && in_bounds(self.value)
            && (self.kind != SignalKind::Percent || self.value <= 100.0)
    }
}

/// What parts add up to. Never infinite; 0 where there are none.
pub fn score<'a>(parts: impl IntoIterator<Item = &'a Part>) -> f64 {
    parts.into_iter().map(Part::score).fold(0.0, |sum: f64, part| (sum + part).min(f64::MAX))
}

/// How many buckets lie below a score: each is a quarter wider than the one below, and the first as wide as a quarter of
/// the smallest difference that matters. So a difference of one is about 25 % of a large score, 0.025 near 0, and 4.5 points of
/// a percentage wherever that stands.
pub fn buckets(score: f64) -> f64 {
    (score / SMALLEST).min(f64::MAX).ln_1p() / RATIO.ln()
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, weight, value } = self;
        let score = self.score();
        match kind {
            SignalKind::Count => write!(f, "{name} {value} × {weight} = {score:.2}"),
            SignalKind::Amount => write!(f, "{name} {value:.2} × {weight} = {score:.2}"),
            SignalKind::Percent => write!(f, "{name} {value:.1} % = {score:.2}"),
            SignalKind::PreProcessed => write!(f, "{name} {score:.2}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::signals) fn part(name: &str, kind: SignalKind, weight: f64, value: f64) -> Part {
        Part { name: name.into(), kind, weight, value }
    }

    pub(in crate::signals) fn parts(most: usize) -> impl Strategy<Value = Vec<Part>> {
        let kind = prop_oneof![
            Just(SignalKind::Count),
            Just(SignalKind::Percent),
            Just(SignalKind::Amount),
            Just(SignalKind::PreProcessed)
        ];
        let number = || prop_oneof![Just(0.0), 0.0..100.0, 0.0..1e6, Just(f64::MAX)];
        let one = (0..4_u8, kind, number(), number()).prop_map(|(name, kind, weight, value)| {
            let value = if kind == SignalKind::Percent { value.min(100.0) } else { value };
            part(&format!("signal_{name}"), kind, weight, value)
        });
        prop::collection::vec(one, 0..most)
    }

    #[test]
    fn each_kind_counts_as_the_design_says() {
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        let of = |kind, weight, value| part("p", kind, weight, value).score();
        assert!(near(of(SignalKind::Percent, 2.0, 61.0), 2.0 * 3.05_f64.exp()));
        assert!(near(of(SignalKind::Percent, 1.0, 0.0), 1.0));
        assert!(near(of(SignalKind::PreProcessed, 5.0, 7.0), 7.0));
        assert!(near(of(SignalKind::Amount, 0.5, 3.0), 1.5));
        assert!(near(of(SignalKind::Count, 0.5, 3.0), 1.5));
        assert!(near(Part::roles(3).score(), 0.3));
        let all = [Part::roles(3), part("queue", SignalKind::Amount, 0.5, 3.0)];
        assert!(near(score(&all), 1.8));
        assert_eq!(score(&[]), 0.0);
    }

    #[test]
    fn buckets_are_as_wide_as_they_are_said_to_be() {
        let width = |from: f64, to: f64| buckets(to) - buckets(from);
        assert!((width(0.0, 0.025) - 1.0).abs() < 1e-9);
        assert!((width(100.0, 125.0) - 1.0).abs() < 0.01);
        let percent = |value| part("p", SignalKind::Percent, 1.0, value).score();
        for from in [0.0, 40.0, 95.0] {
            let points = width(percent(from), percent(from + 4.5));
            assert!((0.9..1.05).contains(&points), "{from}: {points}");
        }
        assert!(buckets(f64::MAX).is_finite());
    }

    proptest! {
        #[test]
        fn a_score_is_a_number_and_rises_with_each_part(mut parts in parts(6), more in 0.0..1e6_f64) {
            let before = score(&parts);
            prop_assert!(before.is_finite() && before >= 0.0);
            prop_assert!(buckets(before) >= 0.0 && buckets(before).is_finite());
            for index in 0..parts.len() {
                let value = parts[index].value;
                let most = if parts[index].kind == SignalKind::Percent { 100.0 } else { f64::MAX };
                parts[index].value = (value + more).min(most);
                let after = score(&parts);
                prop_assert!(after >= before && buckets(after) >= buckets(before));
                parts[index].value = value;
            }
        }
    }
}
