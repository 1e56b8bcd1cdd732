//! What a node is told before it starts, with a default for everything, and the check of it.
//!
//! In come fields set by hand, from a file or from the environment (see `config_source`); out goes [`Settings`], in
//! which every text has become what it stands for, or the first [`ConfigError`]. Nothing here touches the network: a
//! subnet that no interface is in is found out when the node binds.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::config_error::ConfigError;
use super::monitor::MonitorConfig;
use super::timing::TimingConfig;
use crate::engine::Timing;
use crate::id::NodeId;
use crate::roles::RoleSpec;

/// The settings of a node. Every field has a default, so `Config::default()` is a node on the loopback network.
///
/// Texts are checked when the node starts (or by [`Config::check`]), not when they are set, so that they may come from
/// anywhere; a wrong one is a [`ConfigError`] that names the field and says what to do.
///
/// ```
/// use unisono::Config;
///
/// let config = Config { net: "10.20.0.0/16".into(), port: 21_000, ..Config::default() };
/// config.check()?;
///
/// let wrong = Config { net: "10.20.0.0".into(), ..Config::default() };
/// assert_eq!(wrong.check().unwrap_err().field(), "net");
/// # Ok::<(), unisono::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of the cluster, 1 to 64 bytes; nodes ignore those of another name. Default: `unisono`.
    pub cluster: String,
    /// The stable name of this node, unique within the cluster; see [`NodeId`]. Default: host name and own port, as in
    /// `larry:4871`. Set it when a node should be known by the same name although its port may change.
    pub node: Option<String>,
    /// The subnet that the nodes share, as in `10.20.0.0/16`. The node listens on this host's address in it and
    /// broadcasts to it. Default: `127.0.0.0/8`, all nodes on one host.
    pub net: String,
    /// The cluster port, on which the nodes of a subnet find each other: UDP, shared by all nodes of a host. Must be
    /// the same on all nodes. Default: 4870.
    pub port: u16,
    /// The node's own port, UDP and TCP. Default: the first free one after the cluster port, which is what many nodes
    /// on one host need. Set it where a firewall has to know it.
    pub own_port: Option<u16>,
    /// The address to listen on. Default: this host's address in `net`. Set it when the host has several there.
    pub bind: Option<String>,
    /// The address and port by which other nodes reach this one, if a translation lies between. Default: where it
    /// listens.
    pub advertise: Option<String>,
    /// How patient the timers are. Default: `local` on a loopback net, `lan` on any other.
    pub preset: Option<Preset>,
    /// Timers that differ from those of the preset. Default: none.
    pub timing: TimingConfig,
    /// Addresses of other nodes (their own ports), asked for ever, as in `10.0.0.5:4871`; for networks where broadcast
    /// does not get through. One living node among them is enough. Default: none.
    pub peers: Vec<String>,
    /// Whether to look for others by broadcast. Default: true. Without it, `peers` or a strategy has to find them.
    pub broadcast: bool,
    /// Roles that the cluster should keep running, whichever nodes can. Default: none. All nodes may name the same
    /// ones. A node hosts those whose kind it registered. It asks for them when it is ready, also for one that was
    /// [removed](crate::Cluster::remove_role) before it started; of two that differ the one of the higher
    /// [`revision`](field@RoleSpec::revision) stands.
    pub roles: Vec<RoleSpec>,
    /// The labels of this node, which roles can ask for or be spread over, as in `zone = "a"`; in the environment
    /// `UNISONO_LABELS=zone=a,disk=ssd`. At most 64, each name and value of 1 to 128 bytes. Default: none.
    pub labels: BTreeMap<String, String>,
    /// How long a role's task may take to end after it was asked to, in milliseconds; then it is aborted. Default:
    /// 5,000. Longer means slower moves; shorter cuts off clean-up.
    pub stop_grace_ms: u64,
    /// How long `converged()` waits, in milliseconds. Default: 10,000.
    pub converge_timeout_ms: u64,
    /// How long `leave()` tries to hand over its roles and what only this node holds, in milliseconds. Default: 5,000. Roles
    /// have half of it to come up elsewhere; then they are stopped, and start elsewhere when this node is gone.
    pub leave_patience_ms: u64,
    /// Whether and how often the node measures the CPU and the memory of its host, and how much they count where work is
    /// allocated. Default: every 30 s.
    pub monitor: MonitorConfig,
}

/// How patient the timers are: what a silent link or a lost packet is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// One host, microseconds apart. Quickest to notice, and to be wrong about, a node that is only busy.
    Local,
    /// One data centre, under a millisecond apart.
    Lan,
    /// Across continents, hundreds of milliseconds apart, with loss.
    Wan,
}

impl Preset {
    pub(super) fn timing(self) -> Timing {
        match self {
            Self::Local => Timing::local(),
            Self::Lan => Timing::lan(),
            Self::Wan => Timing::wan(),
        }
    }
}

impl Config {
    /// The longest name of a cluster, in bytes.
    pub const MAX_CLUSTER_NAME: usize = 64;
    /// The default of [`Config::port`].
    pub const DEFAULT_PORT: u16 = 4_870;

    /// Checks every field, without touching the network. Starting a node does this too.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings().map(drop)
    }

    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        let bytes = self.cluster.len();
        if !(1..=Self::MAX_CLUSTER_NAME).contains(&bytes) {
            return Err(ConfigError::Cluster { bytes });
        }
        let node = self.node.as_ref().map(NodeId::new).transpose()?;
        let net: IpNet = self.net.trim().parse().map_err(|_| ConfigError::Net { value: self.net.clone() })?;
        if self.port == 0 {
            return Err(ConfigError::PortZero { field: "port" });
        }
        match self.own_port {
            Some(0) => return Err(ConfigError::PortZero { field: "own_port" }),
            Some(port) if port == self.port => return Err(ConfigError::OwnPort { port }),
            None if self.port == u16::MAX => return Err(ConfigError::LastPort),
            _ => {}
        }
        let bind = self.bind.as_ref().map(|text| host("bind", text)).transpose()?;
        let advertise = self.advertise.as_ref().map(|text| address("advertise", text)).transpose()?;
        if let Some(bind) = bind.filter(|bind| bind.is_unspecified() && advertise.is_none()) {
            return Err(ConfigError::Wildcard { bind });
        }
        let peers = self.peers.iter().map(|text| address("peers", text)).collect::<Result<_, _>>()?;
        RoleSpec::validate_all(&self.roles)?;
        check_labels(&self.labels)?;
        self.monitor.check()?;
        let default_preset = if is_loopback(&net) { Preset::Local } else { Preset::Lan };
        Ok(Settings {
            node,
            net,
            bind,
            advertise,
            peers,
            timing: self.timing.over(self.preset.unwrap_or(default_preset).timing())?,
            stop_grace: span("stop_grace_ms", self.stop_grace_ms)?,
            converge_timeout: span("converge_timeout_ms", self.converge_timeout_ms)?,
            leave_patience: span("leave_patience_ms", self.leave_patience_ms)?,
            monitor: self.monitor,
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: "unisono".to_owned(),
            node: None,
            net: "127.0.0.0/8".to_owned(),
            port: Self::DEFAULT_PORT,
            own_port: None,
            bind: None,
            advertise: None,
            preset: None,
            timing: TimingConfig::default(),
            peers: Vec::new(),
            broadcast: true,
            roles: Vec::new(),
            labels: BTreeMap::new(),
            stop_grace_ms: 5_000,
            converge_timeout_ms: 10_000,
            leave_patience_ms: 5_000,
            monitor: MonitorConfig::default(),
        }
    }
}

/// A checked [`Config`]: what its texts stand for.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) node: Option<NodeId>,
    pub(super) net: IpNet,
    pub(super) bind: Option<IpAddr>,
    pub(super) advertise: Option<SocketAddr>,
    pub(super) peers: Vec<SocketAddr>,
    pub(super) timing: Timing,
    pub(super) stop_grace: Duration,
    pub(super) converge_timeout: Duration,
    pub(super) leave_patience: Duration,
    pub(super) monitor: MonitorConfig,
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    if labels.len() > RoleSpec::MAX_CONSTRAINTS {
        return Err(ConfigError::Labels { count: labels.len() });
    }
    match labels.iter().flat_map(|(label, value)| [label, value]).find(|text| !RoleSpec::is_name(text)) {
        Some(text) => Err(ConfigError::Label { text: text.clone() }),
        None => Ok(()),
    }
}

fn is_loopback(net: &IpNet) -> bool {
    net.network().is_loopback() && net.broadcast().is_loopback()
}

fn host(field: &'static str, text: &str) -> Result<IpAddr, ConfigError> {
    text.trim().parse().map_err(|_| ConfigError::Host { field, value: text.to_owned() })
}

/// An address that somebody can send to: a port and no wildcard.
fn address(field: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let wrong = || ConfigError::Address { field, value: text.to_owned() };
    let address: SocketAddr = text.trim().parse().map_err(|_| wrong())?;
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(wrong());
    }
    Ok(address)
}

/// The longest span that a setting may ask for: beyond a day it is a slip of units, and far beyond it overflows timers.
const MAX_SPAN_MS: u64 = 24 * 60 * 60 * 1_000;

fn span(field: &'static str, ms: u64) -> Result<Duration, ConfigError> {
    if !(1..=MAX_SPAN_MS).contains(&ms) {
        return Err(ConfigError::Span { field, ms, max_ms: MAX_SPAN_MS });
    }
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut Config)) -> ConfigError {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn the_default_is_a_node_on_loopback() {
        let settings = Config::default().settings().unwrap();
        assert_eq!(settings.timing, Timing::local());
        assert_eq!(settings.node, None);
        let lan = Config { net: "10.0.0.0/8".into(), ..Config::default() };
        assert_eq!(lan.settings().unwrap().timing, Timing::lan());
        let all = Config { net: "0.0.0.0/0".into(), ..Config::default() };
        assert_eq!(all.settings().unwrap().timing, Timing::lan());
        let wan = Config { preset: Some(Preset::Wan), ..Config::default() };
        assert_eq!(wan.settings().unwrap().timing, Timing::wan());
    }

    #[test]
    fn each_wrong_value_names_its_field() {
        let twice = vec![RoleSpec::new("gate"), RoleSpec::new("gate")];
        let cases: Vec<(&str, ConfigError)> = vec![
            ("cluster", error(|config| config.cluster = String::new())),
            ("cluster", error(|config| config.cluster = "c".repeat(65))),
            ("node", error(|config| config.node = Some("two words".into()))),
            ("net", error(|config| config.net = "127.0.0.1".into())),
            ("net", error(|config| config.net = "10.0.0.0/33".into())),
            ("port", error(|config| config.port = 0)),
            ("port", error(|config| config.port = u16::MAX)),
            ("own_port", error(|config| config.own_port = Some(0))),
            ("own_port", error(|config| config.own_port = Some(Config::DEFAULT_PORT))),
            ("bind", error(|config| config.bind = Some("localhost".into()))),
            ("bind", error(|config| config.bind = Some("0.0.0.0".into()))),
            ("advertise", error(|config| config.advertise = Some("10.0.0.1".into()))),
            ("advertise", error(|config| config.advertise = Some("0.0.0.0:4871".into()))),
            ("peers", error(|config| config.peers = vec!["10.0.0.5:0".into()])),
            ("roles", error(|config| config.roles = vec![RoleSpec::new("gate").count(0)])),
            ("roles", error(|config| config.roles = twice)),
            ("timing", error(|config| config.timing.suspicion_ms = Some(200))),
            ("timing.settle_ms", error(|config| config.timing.settle_ms = Some(0))),
            ("stop_grace_ms", error(|config| config.stop_grace_ms = 0)),
            ("converge_timeout_ms", error(|config| config.converge_timeout_ms = u64::MAX)),
            ("leave_patience_ms", error(|config| config.leave_patience_ms = 0)),
            ("monitor.interval_ms", error(|config| config.monitor.interval_ms = 0)),
        ];
        for (field, error) in cases {
            assert_eq!(error.field(), field, "{error}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
