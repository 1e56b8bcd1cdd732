//! What can be wrong with a configuration, each with its field and a remedy.

use std::net::IpAddr;
use std::path::PathBuf;

use super::config::Config;
use crate::id::NodeIdError;
use crate::membership::TimingError;
use crate::roles::{RoleSpec, RoleSpecError};

/// Why a [`Config`] is refused. The message begins with the field and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {why}; give the path of a readable TOML file", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        why: String,
    },
    /// The text is no TOML, holds an unknown key, or a value of the wrong type.
    #[error("{message}\ncorrect that line, or leave it out to have the default")]
    Toml {
        /// The key on the line at fault; empty where there is none.
        key: String,
        /// What is wrong, with the line that it is in.
        message: String,
    },
    /// A variable of the environment has no such value.
    #[error("{variable}: {value:?} is not {wanted}; correct the variable or unset it{hint}")]
    Variable {
        /// Its name.
        variable: String,
        /// What it is set to.
        value: String,
        /// What it should be.
        wanted: &'static str,
        /// Where such a value comes from, if that is known.
        hint: &'static str,
    },
    /// The cluster name is empty or too long.
    #[error("cluster: the name has {bytes} bytes; give it 1 to {}", Config::MAX_CLUSTER_NAME)]
    Cluster {
        /// How long it is.
        bytes: usize,
    },
    /// The node name is no name.
    #[error("node: {0}")]
    Node(#[from] NodeIdError),
    /// The subnet is no subnet.
    #[error("net: {value:?} is no subnet; write it with the length of its prefix, as in 10.20.0.0/16")]
    Net {
        /// The text.
        value: String,
    },
    /// A port is 0.
    #[error("{field}: 0 is no port; give one from 1 to 65535, or leave the field out")]
    PortZero {
        /// Which.
        field: &'static str,
    },
    /// The node's own port is the cluster port.
    #[error("own_port: {port} is the cluster port, which the nodes of a host share; take another, or leave it out")]
    OwnPort {
        /// The port.
        port: u16,
    },
    /// The cluster port is the last there is, so that no port follows it for the node itself.
    #[error("port: no port comes after 65535 that the node could take for itself; choose a lower one, or set own_port")]
    LastPort,
    /// All addresses at once, and no word on which of them others can send to.
    #[error(
        "bind: {bind} stands for all addresses of this host; give the one that others send to, or set advertise too"
    )]
    Wildcard {
        /// The address.
        bind: IpAddr,
    },
    /// Not the address of a host.
    #[error("{field}: {value:?} is no IP address; write it as in 10.20.0.5, host names are not looked up here")]
    Host {
        /// Which.
        field: &'static str,
        /// The text.
        value: String,
    },
    /// Not an address and a port that somebody can send to.
    #[error(
        "{field}: {value:?} is no address to send to; write IP address and port, as in 10.20.0.5:4871, host names are \
         not looked up here"
    )]
    Address {
        /// Which.
        field: &'static str,
        /// The text.
        value: String,
    },
    /// A duration is zero or absurdly long.
    #[error("{field}: {ms} ms is out of bounds; give it 1 to {max_ms}")]
    Span {
        /// Which.
        field: &'static str,
        /// What it is set to.
        ms: u64,
        /// The most.
        max_ms: u64,
    },
    /// A number is out of bounds.
    #[error("{field}: {value} is out of bounds; give it {wanted}")]
    Number {
        /// Which.
        field: &'static str,
        /// What it is set to.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Timers do not work together.
    #[error("timing: {0}")]
    Timing(#[from] TimingError),
    /// A role is declared wrongly.
    #[error(transparent)]
    Role(#[from] RoleSpecError),
    /// A label of this node, or its value, is empty or too long.
    #[error("labels: {text:?} has {} bytes; give labels and their values 1 to {}", text.len(), RoleSpec::MAX_NAME)]
    Label {
        /// The label or the value.
        text: String,
    },
    /// This node has too many labels.
    #[error("labels: {count} are too many; give a node at most {}", RoleSpec::MAX_CONSTRAINTS)]
    Labels {
        /// How many.
        count: usize,
    },
    /// A factory was registered for a kind that no role can have.
    #[error("role_kind: the kind {kind:?} has {} bytes; give it 1 to {}", kind.len(), RoleSpec::MAX_NAME)]
    Kind {
        /// The kind.
        kind: String,
    },
    /// Two factories were registered for one kind.
    #[error("role_kind: the kind {kind:?} is registered twice; register each kind once, several roles can share it")]
    KindTwice {
        /// The kind.
        kind: String,
    },
    /// Two handlers were registered under one name.
    #[error("handler: {handler:?} is registered twice; give each handler a name of its own")]
    HandlerTwice {
        /// The name.
        handler: String,
    },
}

impl ConfigError {
    /// The field at fault, or the key in the file, or the variable of the environment; empty where the file as a whole
    /// is.
    pub fn field(&self) -> &str {
        match self {
            Self::File { .. } => "",
            Self::Toml { key, .. } => key,
            Self::Variable { variable, .. } => variable,
            Self::Cluster { .. } => "cluster",
            Self::Node(_) => "node",
            Self::Net { .. } => "net",
            Self::OwnPort { .. } => "own_port",
            Self::Timing(_) => "timing",
            Self::Role(_) => "roles",
            Self::Label { .. } | Self::Labels { .. } => "labels",
            Self::Kind { .. } | Self::KindTwice { .. } => "role_kind",
            Self::HandlerTwice { .. } => "handler",
            Self::LastPort => "port",
            Self::Wildcard { .. } => "bind",
            Self::PortZero { field }
            | Self::Host { field, .. }
            | Self::Address { field, .. }
            | Self::Number { field, .. }
            | Self::Span { field, .. } => field,
        }
    }
}
