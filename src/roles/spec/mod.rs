//! What a role is: what to build, how often, where it may run, and how it is treated when it fails, moves, or the network
//! is cut.

mod error;
mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use error::RoleSpecError;
pub use options::{Handover, PartitionPolicy, Restarts};

/// A role: a name, what to build, its arguments and how many instances the cluster keeps running.
///
/// A node hosts at most one instance of a role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// Unique within the cluster, 1 to 128 bytes.
    pub name: String,
    /// What to build: nodes that registered this kind can host the role. Usually the name of a factory that several
    /// roles share (`gate` for `gate-1` to `gate-4`).
    pub kind: String,
    /// Handed to the factory as it is.
    #[serde(default)]
    pub arguments: String,
    /// How many instances, at least 1.
    #[serde(default = "one")]
    pub count: u32,
    /// Which of two specs of this name stands where nodes declare different ones: the higher revision. Of equal ones, the one
    /// that was written last.
    #[serde(default)]
    pub revision: u64,
    /// The labels that a node must have to host it, with these values.
    #[serde(default)]
    pub requires: BTreeMap<String, String>,
    /// Roles that never share a node with this one. Naming one another once is enough.
    #[serde(default)]
    pub apart_from: BTreeSet<String>,
    /// The label over whose values the instances are spread, such as `zone`. Counts come first: with one zone left, all of
    /// them run there.
    #[serde(default)]
    pub spread_over: Option<String>,
    /// What becomes of it when the network is cut.
    #[serde(default)]
    pub partition: PartitionPolicy,
    /// How it moves from one node to another.
    #[serde(default)]
    pub handover: Handover,
    /// How often it is started again when it fails.
    #[serde(default)]
    pub restarts: Restarts,
    /// How long its task may take to end when it is asked to, in milliseconds, before it is aborted. `None`: as long as the
    /// node grants ([`Config::stop_grace_ms`](crate::Config::stop_grace_ms)).
    #[serde(default)]
    pub stop_grace_ms: Option<u64>,
}

const fn one() -> u32 {
    1
}

impl RoleSpec {
    /// The longest name and kind, in bytes.
    pub const MAX_NAME: usize = 128;
    /// The longest arguments, in bytes.
    pub const MAX_ARGUMENTS: usize = 16 * 1024;
    /// How many labels may be required, and how many roles kept apart.
    pub const MAX_CONSTRAINTS: usize = 64;

    /// One instance of a role whose kind is its name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            kind: name.clone(),
            name,
            arguments: String::new(),
            count: 1,
            revision: 0,
            requires: BTreeMap::new(),
            apart_from: BTreeSet::new(),
            spread_over: None,
            partition: PartitionPolicy::default(),
            handover: Handover::default(),
            restarts: Restarts::default(),
            stop_grace_ms: None,
        }
    }

    /// Sets what to build.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Sets the arguments for the factory.
    #[must_use]
    pub fn arguments(mut self, arguments: impl Into<String>) -> Self {
        self.arguments = arguments.into();
        self
    }

    /// Sets the number of instances.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Sets the revision, see [`RoleSpec::revision`](field@Self::revision).
    #[must_use]
    pub fn revision(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    /// Only nodes host it that have this label with this value.
    #[must_use]
    pub fn only_on(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.requires.insert(label.into(), value.into());
        self
    }

    /// It never shares a node with that role.
    #[must_use]
    pub fn apart_from(mut self, role: impl Into<String>) -> Self {
        self.apart_from.insert(role.into());
        self
    }

    /// Spreads the instances over the values of a label, such as `zone`.
    #[must_use]
    pub fn spread_over(mut self, label: impl Into<String>) -> Self {
        self.spread_over = Some(label.into());
        self
    }

    /// Sets what becomes of it when the network is cut.
    #[must_use]
    pub fn partition(mut self, policy: PartitionPolicy) -> Self {
        self.partition = policy;
        self
    }

    /// Sets how it moves from one node to another.
    #[must_use]
    pub fn handover(mut self, handover: Handover) -> Self {
        self.handover = handover;
        self
    }

    /// Sets how often it is started again when it fails.
    #[must_use]
    pub fn restarts(mut self, restarts: Restarts) -> Self {
        self.restarts = restarts;
        self
    }

    /// Sets how long its task may take to end before it is aborted; rounded down to milliseconds.
    #[must_use]
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace_ms = Some(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Whether two specs build the same: a running task need not be started again for what else differs.
    pub(crate) fn builds_as(&self, other: &Self) -> bool {
        (&self.kind, &self.arguments) == (&other.kind, &other.arguments)
    }

    /// Whether a text can be a name or a kind.
    pub(crate) fn is_name(text: &str) -> bool {
        (1..=Self::MAX_NAME).contains(&text.len())
    }

    /// Checks one spec.
    pub fn validate(&self) -> Result<(), RoleSpecError> {
        let role = || self.name.clone();
        if !Self::is_name(&self.name) {
            return Err(RoleSpecError::Name { name: role() });
        }
        if !Self::is_name(&self.kind) {
            return Err(RoleSpecError::Kind { role: role(), bytes: self.kind.len() });
        }
        if self.arguments.len() > Self::MAX_ARGUMENTS {
            return Err(RoleSpecError::Arguments { role: role(), bytes: self.arguments.len() });
        }
        if self.count == 0 {
            return Err(RoleSpecError::CountZero { role: role() });
        }
        self.validate_placement()?;
        if self.partition == PartitionPolicy::Quorum(0) {
            return Err(RoleSpecError::NoQuorum { role: role() });
        }
        let Restarts { backoff_first_ms: first_ms, backoff_max_ms: max_ms, .. } = self.restarts;
        if first_ms > max_ms {
            return Err(RoleSpecError::Backoff { role: role(), first_ms, max_ms });
        }
        Ok(())
    }

    fn validate_placement(&self) -> Result<(), RoleSpecError> {
        let role = || self.name.clone();
        for (field, count) in [("requires", self.requires.len()), ("apart_from", self.apart_from.len())] {
            if count > Self::MAX_CONSTRAINTS {
                return Err(RoleSpecError::TooManyConstraints { role: role(), field, count });
            }
        }
        let requires = self.requires.iter().flat_map(|(label, value)| [("requires", label), ("requires", value)]);
        let spread_over = self.spread_over.iter().map(|label| ("spread_over", label));
        let apart_from = self.apart_from.iter().map(|other| ("apart_from", other));
        let mut named = requires.chain(spread_over).chain(apart_from);
        if let Some((field, label)) = named.find(|(_, text)| !Self::is_name(text)) {
            return Err(RoleSpecError::Label { role: role(), field, label: label.clone() });
        }
        if self.apart_from.contains(&self.name) {
            return Err(RoleSpecError::ApartFromItself { role: role() });
        }
        Ok(())
    }

    /// Checks a whole list: each spec, and that no name stands there twice.
    pub fn validate_all(specs: &[Self]) -> Result<(), RoleSpecError> {
        let mut names = std::collections::BTreeSet::new();
        for spec in specs {
            spec.validate()?;
            if !names.insert(&spec.name) {
                return Err(RoleSpecError::Duplicate { role: spec.name.clone() });
            }
        }
        Ok(())
    }
}
