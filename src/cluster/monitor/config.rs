//! The settings of the hardware monitor.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::cluster::config_error::ConfigError;

/// How a node measures its own host; the table `[monitor]` of a file.
///
/// It is on unless switched off, since who asks a cluster for its least busy node expects that CPU and memory are looked at.
/// On Linux it brings one crate along; leave the feature `monitor` of this crate out to be without. All nodes of a
/// cluster should measure alike: one that does not is less busy than it is by what idle CPU and memory count, their weights.
///
/// ```
/// use unisono::Config;
///
/// let config = Config::from_toml_str(
///     r#"
///     [monitor]
///     interval_ms = 10_000
///     memory_weight = 0.5
///     "#,
/// )?;
/// assert!(config.monitor.enabled && config.monitor.history == 100_000);
/// let hasty = Config::from_toml_str("[monitor]\ninterval_ms = 10").unwrap();
/// assert_eq!(hasty.check().unwrap_err().field(), "monitor.interval_ms");
/// # Ok::<(), unisono::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorConfig {
    /// Whether to measure at all. Default: true.
    pub enabled: bool,
    /// The pause between two measurements in milliseconds, from 1,000 to a day; the CPU is averaged over it. Default: 30,000.
    /// One costs a fifth of a millisecond. The first comes after a second.
    pub interval_ms: u64,
    /// How many measurements are kept, at most 10,000,000. Default: 100,000, which is a month and takes 1.6 MB by then. Memory
    /// is taken as they come.
    pub history: usize,
    /// How much the CPU counts: weight × e^(0.05 × percent). Default: 1.
    #[serde(deserialize_with = "number")]
    pub cpu_weight: f64,
    /// How much the memory counts, likewise. Default: 1.
    #[serde(deserialize_with = "number")]
    pub memory_weight: f64,
}

impl MonitorConfig {
    /// No measurements.
    pub const OFF: Self = Self { enabled: false, ..Self::ON };

    const ON: Self = Self { enabled: true, interval_ms: 30_000, history: 100_000, cpu_weight: 1.0, memory_weight: 1.0 };

    pub(in crate::cluster) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, value: String, wanted| Err(ConfigError::Number { field, value, wanted });
        if !(1_000..=24 * 60 * 60 * 1_000).contains(&self.interval_ms) {
            return wrong(
                "monitor.interval_ms",
                self.interval_ms.to_string(),
                "1000 to 86400000, or set enabled to false",
            );
        }
        if self.history > 10_000_000 {
            return wrong("monitor.history", self.history.to_string(), "0 to 10000000");
        }
        for (field, weight) in [("monitor.cpu_weight", self.cpu_weight), ("monitor.memory_weight", self.memory_weight)]
        {
            if !weight.is_finite() || weight < 0.0 {
                return wrong(field, weight.to_string(), "0 or more, and finite");
            }
        }
        Ok(())
    }
}

/// A file may hold what is not a number; then no two readings of it would be equal.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number.is_nan() { Err(D::Error::custom("not a number; give 0 or more")) } else { Ok(number) }
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self::ON
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_value_names_its_field() {
        let on = MonitorConfig::default();
        assert!(on.enabled && on.check().is_ok() && MonitorConfig::OFF.check().is_ok());
        for (config, field) in [
            (MonitorConfig { interval_ms: 999, ..on }, "monitor.interval_ms"),
            (MonitorConfig { interval_ms: 86_400_001, ..on }, "monitor.interval_ms"),
            (MonitorConfig { history: 10_000_001, ..on }, "monitor.history"),
            (MonitorConfig { cpu_weight: -1.0, ..on }, "monitor.cpu_weight"),
            (MonitorConfig { memory_weight: f64::INFINITY, ..on }, "monitor.memory_weight"),
        ] {
            let error = config.check().unwrap_err();
            assert_eq!(error.field(), field);
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
