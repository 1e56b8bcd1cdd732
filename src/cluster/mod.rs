//! The public face.

mod config;
mod config_error;
#[cfg(feature = "config")]
mod config_source;
mod entropy;
mod host_name;

pub use config::{Config, Preset};
pub use config_error::ConfigError;
pub use entropy::EntropyError;
