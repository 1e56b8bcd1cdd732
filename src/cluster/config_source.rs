//! Where a configuration comes from: a TOML file, and above it the environment.
//!
//! ```text
//!   defaults ◀─ TOML file ◀─ UNISONO_* variables ◀─ calls on the builder        the later one wins
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use super::config::{Config, Preset};
use super::config_error::ConfigError;

/// What every variable's name begins with.
const PREFIX: &str = "UNISONO_";

/// Kubernetes puts `<SERVICE>_PORT=tcp://10.0.0.1:4870` into every container of the namespace of a service, so that
/// a service named `unisono` sets our variable.
const SERVICE_LINK: &str = "; Kubernetes sets it for a service named unisono: set enableServiceLinks to false, or \
                            give the service another name";

impl Config {
    /// Reads a TOML text. Keys are the fields of [`Config`]; those that are left out keep their defaults, and an
    /// unknown one is an error.
    ///
    /// ```
    /// use unisono::Config;
    ///
    /// let config = Config::from_toml_str(
    ///     r#"
    ///     cluster = "parking"
    ///     net = "10.20.0.0/16"
    ///     peers = ["10.20.0.5:4871"]
    ///
    ///     [[roles]]
    ///     name = "gate-1"
    ///     kind = "gate"
    ///     "#,
    /// )?;
    /// assert_eq!(config.roles[0].count, 1);
    ///
    /// let error = Config::from_toml_str("prot = 4870").unwrap_err();
    /// assert!(error.to_string().contains("prot"));
    /// # Ok::<(), unisono::ConfigError>(())
    /// ```
    pub fn from_toml_str(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let key = error.span().map_or_else(String::new, |span| key_at(text, span.start));
            ConfigError::Toml { key, message: error.to_string().trim_end().to_owned() }
        })
    }

    /// Reads a TOML file, see [`Config::from_toml_str`].
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::File { path: path.to_owned(), why: error.to_string() })?;
        Self::from_toml_str(&text).map_err(|error| match error {
            ConfigError::Toml { key, message } => {
                ConfigError::Toml { key, message: format!("{}: {message}", path.display()) }
            }
            other => other,
        })
    }

    /// Lets variables of the environment take precedence over what is set so far. Usually called with
    /// [`std::env::vars_os`].
    ///
    /// Read are `UNISONO_CLUSTER`, `_NODE`, `_NET`, `_PORT`, `_OWN_PORT`, `_BIND`, `_ADVERTISE`, `_PRESET` (`local`,
    /// `lan` or `wan`), `_PEERS` (separated by commas), `_LABELS` (as in `zone=a,disk=ssd`; they take the place of all that
    /// were set before), `_BROADCAST` (`true` or `false`) and the durations
    /// `_STOP_GRACE_MS`, `_CONVERGE_TIMEOUT_MS`, `_LEAVE_PATIENCE_MS`; for the [monitor](Config::monitor) `_MONITOR` (`true` or
    /// `false`), `_MONITOR_INTERVAL_MS`, `_MONITOR_HISTORY`, `_MONITOR_CPU_WEIGHT` and `_MONITOR_MEMORY_WEIGHT`. Empty ones
    /// count as unset. Others that begin with `UNISONO_` are logged and ignored, since orchestrators set some of their own.
    /// Roles cannot be set so.
    ///
    /// ```
    /// use unisono::Config;
    ///
    /// let config = Config::default().with_env([("UNISONO_NODE", "larry"), ("HOME", "/root")])?;
    /// assert_eq!(config.node.as_deref(), Some("larry"));
    /// # Ok::<(), unisono::ConfigError>(())
    /// ```
    pub fn with_env<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Result<Self, ConfigError>
    where
        N: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        for (name, value) in variables {
            let Some(key) = name.as_ref().to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let value = value.as_ref().to_string_lossy();
            let value = value.trim();
            if !value.is_empty() {
                self.set(key, value)?;
            }
        }
        Ok(self)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        match key {
            "CLUSTER" => self.cluster = value.to_owned(),
            "NODE" => self.node = Some(value.to_owned()),
            "NET" => self.net = value.to_owned(),
            "PORT" => self.port = parse(key, value, "a port")?,
            "OWN_PORT" => self.own_port = Some(parse(key, value, "a port")?),
            "BIND" => self.bind = Some(value.to_owned()),
            "ADVERTISE" => self.advertise = Some(value.to_owned()),
            "PRESET" => self.preset = Some(parse(key, value, "`local`, `lan` or `wan`")?),
            "PEERS" => self.peers = list(value),
            "LABELS" => self.labels = parse::<Labels>(key, value, "labels as in `zone=a,disk=ssd`, each given once")?.0,
            "BROADCAST" => self.broadcast = parse(key, value, "`true` or `false`")?,
            "STOP_GRACE_MS" => self.stop_grace_ms = parse(key, value, "a number of milliseconds")?,
            "CONVERGE_TIMEOUT_MS" => self.converge_timeout_ms = parse(key, value, "a number of milliseconds")?,
            "LEAVE_PATIENCE_MS" => self.leave_patience_ms = parse(key, value, "a number of milliseconds")?,
            "MONITOR" => self.monitor.enabled = parse(key, value, "`true` or `false`")?,
            "MONITOR_INTERVAL_MS" => self.monitor.interval_ms = parse(key, value, "a number of milliseconds")?,
            "MONITOR_HISTORY" => self.monitor.history = parse(key, value, "a number of samples")?,
            "MONITOR_CPU_WEIGHT" => self.monitor.cpu_weight = parse::<Number>(key, value, "a number")?.0,
            "MONITOR_MEMORY_WEIGHT" => self.monitor.memory_weight = parse::<Number>(key, value, "a number")?.0,
            // What Kubernetes sets for a service named `unisono`.
            _ if key.starts_with("SERVICE_") || key.starts_with("PORT_") => {}
            _ => tracing::warn!("{PREFIX}{key} is no setting and is ignored; is it misspelt?"),
        }
        Ok(())
    }
}

/// The key on the line that this byte is in. A header such as `[[roles]]` stands for its table.
fn key_at(text: &str, byte: usize) -> String {
    let before = text.get(..byte).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default();
    key.trim_matches(|c: char| c.is_whitespace() || "[]\"'".contains(c)).to_owned()
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn parse<T: FromStr<Err: Display>>(key: &str, value: &str, wanted: &'static str) -> Result<T, ConfigError> {
    value.parse().map_err(|_| ConfigError::Variable {
        variable: format!("{PREFIX}{key}"),
        value: value.to_owned(),
        wanted,
        hint: if value.contains("://") { SERVICE_LINK } else { "" },
    })
}

/// What is a number, unlike some that Rust reads as one.
struct Number(f64);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().filter(|number: &f64| !number.is_nan()).map(Self).ok_or("not a number")
    }
}

/// Labels, as in `zone=a,disk=ssd`.
struct Labels(BTreeMap<String, String>);

impl FromStr for Labels {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut labels = BTreeMap::new();
        for part in list(text) {
            let (label, value) = part.split_once('=').ok_or("no value")?;
            let (label, value) = (label.trim().to_owned(), value.trim().to_owned());
            if label.is_empty() || value.is_empty() {
                return Err("empty");
            }
            if labels.insert(label, value).is_some() {
                return Err("given twice");
            }
        }
        Ok(Self(labels))
    }
}

impl FromStr for Preset {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local" => Ok(Self::Local),
            "lan" => Ok(Self::Lan),
            "wan" => Ok(Self::Wan),
            _ => Err("no such preset; there are `local`, `lan` and `wan`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{MonitorConfig, TimingConfig};
    use crate::roles::RoleSpec;

    #[test]
    fn a_file_sets_what_it_names_and_nothing_else() {
        let text = r#"
            cluster = "parking"
            preset = "wan"
            broadcast = false
            peers = ["10.0.0.5:4871", "10.0.0.6:4871"]
            roles = [{ name = "gate-1", kind = "gate", count = 2 }, { name = "counter", kind = "counter" }]
        "#;
        let config = Config::from_toml_str(text).unwrap();
        let expected = Config {
            cluster: "parking".into(),
            preset: Some(Preset::Wan),
            broadcast: false,
            peers: vec!["10.0.0.5:4871".into(), "10.0.0.6:4871".into()],
            roles: vec![RoleSpec::new("gate-1").kind("gate").count(2), RoleSpec::new("counter")],
            ..Config::default()
        };
        assert_eq!(config, expected);
        assert_eq!(Config::from_toml_str("").unwrap(), Config::default());
    }

    #[test]
    fn a_wrong_key_or_type_is_shown_with_its_line() {
        for (text, key, shown) in [
            ("prot = 1", "prot", "unknown field"),
            ("port = 70000", "port", "port = 70000"),
            ("port = \"4870\"", "port", "invalid type"),
            ("cluster = \"parking\"\n  net=5", "net", "line 2"),
            ("preset = \"moon\"", "preset", "moon"),
            ("[[roles]]\nname = \"gate\"\nkind = \"gate\"\ncont = 2", "cont", "line 4"),
            ("[monitor]\ncpu_weight = nan", "cpu_weight", "not a number"),
            ("[[roles]]\nname = \"gate\"", "roles", "kind"),
            ("net = ", "net", "net"),
        ] {
            let error = Config::from_toml_str(text).unwrap_err();
            assert!(matches!(error, ConfigError::Toml { .. }), "{error:?}");
            assert_eq!(error.field(), key, "{error}");
            assert!(error.to_string().contains(shown) && error.to_string().contains("correct that line"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::from_toml_file("no/such/unisono.toml").unwrap_err();
        assert!(error.to_string().contains("no/such/unisono.toml"), "{error}");
    }

    #[test]
    fn every_variable_is_read() {
        let config = Config::default()
            .with_env([
                ("UNISONO_CLUSTER", "parking"),
                ("UNISONO_NODE", "larry"),
                ("UNISONO_NET", "10.0.0.0/8"),
                ("UNISONO_PORT", "5000"),
                ("UNISONO_OWN_PORT", "5001"),
                ("UNISONO_BIND", "10.0.0.1"),
                ("UNISONO_ADVERTISE", "10.0.0.1:5001"),
                ("UNISONO_PRESET", "wan"),
                ("UNISONO_PEERS", "10.0.0.5:4871, 10.0.0.6:4871,"),
                ("UNISONO_LABELS", "zone = a, disk=ssd,"),
                ("UNISONO_BROADCAST", "false"),
                ("UNISONO_STOP_GRACE_MS", "1"),
                ("UNISONO_CONVERGE_TIMEOUT_MS", "2"),
                ("UNISONO_LEAVE_PATIENCE_MS", "3"),
                ("UNISONO_MONITOR", "false"),
                ("UNISONO_MONITOR_INTERVAL_MS", "4000"),
                ("UNISONO_MONITOR_HISTORY", "5"),
                ("UNISONO_MONITOR_CPU_WEIGHT", "0.6"),
                ("UNISONO_MONITOR_MEMORY_WEIGHT", "0.7"),
                ("UNISONO_SERVICE_HOST", "10.96.0.1"),
                ("PATH", "/bin"),
            ])
            .unwrap();
        let expected = Config {
            cluster: "parking".into(),
            node: Some("larry".into()),
            labels: [("zone".into(), "a".into()), ("disk".into(), "ssd".into())].into(),
            net: "10.0.0.0/8".into(),
            port: 5_000,
            own_port: Some(5_001),
            bind: Some("10.0.0.1".into()),
            advertise: Some("10.0.0.1:5001".into()),
            preset: Some(Preset::Wan),
            timing: TimingConfig::default(),
            peers: vec!["10.0.0.5:4871".into(), "10.0.0.6:4871".into()],
            broadcast: false,
            roles: vec![],
            stop_grace_ms: 1,
            converge_timeout_ms: 2,
            leave_patience_ms: 3,
            monitor: MonitorConfig {
                enabled: false,
                interval_ms: 4_000,
                history: 5,
                cpu_weight: 0.6,
                memory_weight: 0.7,
            },
        };
        assert_eq!(config, expected);
        config.check().unwrap();
    }

    #[test]
    fn a_wrong_variable_is_named_and_an_empty_one_is_unset() {
        for variable in
            ["UNISONO_PORT", "UNISONO_OWN_PORT", "UNISONO_PRESET", "UNISONO_BROADCAST", "UNISONO_MONITOR_CPU_WEIGHT"]
        {
            // Some would read it as a number that is none.
            let error = Config::default().with_env([(variable, "nan")]).unwrap_err();
            assert_eq!(error.field(), variable);
            assert_eq!(Config::default().with_env([(variable, " ")]).unwrap(), Config::default());
        }
        for labels in ["zone", "zone=", "=a", "zone=a,zone=b", "zone=a,,disk"] {
            let error = Config::default().with_env([("UNISONO_LABELS", labels)]).unwrap_err();
            assert_eq!(error.field(), "UNISONO_LABELS");
            assert!(error.to_string().contains(labels) && error.to_string().contains("zone=a,disk=ssd"), "{error}");
        }
        let error = Config::default().with_env([("UNISONO_PORT", "tcp://10.96.0.1:4870")]).unwrap_err();
        assert!(error.to_string().contains("enableServiceLinks"), "{error}");
    }
}

#[cfg(test)]
#[path = "config_role_tests.rs"]
mod role_tests;
