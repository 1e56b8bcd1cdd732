//! What was measured, and how it is printed.

use std::fmt;

/// The least, the middle, the 99th of a hundred, and the most of some spans of time in microseconds.
pub(crate) struct Figures {
    sorted: Vec<u64>,
}

impl Figures {
    pub(crate) fn of(mut spans: Vec<u64>) -> Self {
        spans.sort_unstable();
        Self { sorted: spans }
    }

    fn at(&self, percent: usize) -> u64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get(last * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, percent) in [("min", 0), ("median", 50), ("p99", 99), ("max", 100)] {
            write!(f, "{name} {:.3} ms  ", self.at(percent) as f64 / 1_000.0)?;
        }
        write!(f, "({} samples)", self.sorted.len())
    }
}

/// So many in so many microseconds, as a rate.
pub(crate) fn per_second(count: u64, micros: u64) -> String {
    let seconds = micros as f64 / 1e6;
    format!("{:.0}/s ({seconds:.3} s)", count as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_hundred_spans() {
        let figures = Figures::of((0..=100).rev().map(|ms| ms * 1_000).collect());
        assert_eq!(figures.to_string(), "min 0.000 ms  median 50.000 ms  p99 99.000 ms  max 100.000 ms  (101 samples)");
        assert_eq!(per_second(1_000, 500_000), "2000/s (0.500 s)");
    }
}
