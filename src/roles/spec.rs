//! What a role is.

use serde::{Deserialize, Serialize};

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
}

const fn one() -> u32 {
    1
}

/// Why a [`RoleSpec`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleSpecError {
    /// The name is empty or too long.
    #[error("roles: name {name:?} has {} bytes; give it 1 to {}", name.len(), RoleSpec::MAX_NAME)]
    Name {
        /// The name.
        name: String,
    },
    /// The kind is empty or too long.
    #[error("roles.{role}: kind has {bytes} bytes; give it 1 to {}", RoleSpec::MAX_NAME)]
    Kind {
        /// The role.
        role: String,
        /// The length of its kind.
        bytes: usize,
    },
    /// The count is 0.
    #[error("roles.{role}: count is 0; ask for at least 1 instance, or leave the role out")]
    CountZero {
        /// The role.
        role: String,
    },
    /// The arguments are too long.
    #[error("roles.{role}: arguments have {bytes} bytes; at most {} fit", RoleSpec::MAX_ARGUMENTS)]
    Arguments {
        /// The role.
        role: String,
        /// Their length.
        bytes: usize,
    },
    /// Two roles have one name.
    #[error("roles: {role:?} is declared twice; give each role a name of its own")]
    Duplicate {
        /// The role.
        role: String,
    },
}

impl RoleSpec {
    /// The longest name and kind, in bytes.
    pub const MAX_NAME: usize = 128;
    /// The longest arguments, in bytes.
    pub const MAX_ARGUMENTS: usize = 16 * 1024;

    /// One instance of a role whose kind is its name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { kind: name.clone(), name, arguments: String::new(), count: 1 }
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
