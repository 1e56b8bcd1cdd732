//! What stands under a role's name, and where it came from.

use serde::{Deserialize, Serialize};

use super::RoleSpec;

/// Where that came from which stands under a role's name.
///
/// Of two rows of one role the higher revision stands; of one revision, what was changed at run time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleOrigin {
    /// A node's configuration names it.
    #[default]
    Configuration,
    /// [`Cluster::add_role`](crate::Cluster::add_role) or [`Cluster::remove_role`](crate::Cluster::remove_role).
    RunTime,
}

/// What stood under a role's name until a change at run time took its place.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Outranked {
    /// The spec; `None` if the role was removed.
    pub spec: Option<RoleSpec>,
    /// Its revision, or that of the removal.
    pub revision: u64,
    /// Where it came from.
    pub origin: RoleOrigin,
}

/// What a change of a role at run time did: the answer of [`Cluster::add_role`](crate::Cluster::add_role) and
/// [`Cluster::remove_role`](crate::Cluster::remove_role).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RoleChange {
    /// Whether the cluster is asked for something else than before.
    pub changed: bool,
    /// What stood before, where it does not stand any more. `None` if nothing stood, or if this very change was made before.
    /// It can be there though nothing [`changed`](Self::changed): what a configuration asked for and is now asked for at run
    /// time too stands against other configurations of its revision.
    pub outranked: Option<Outranked>,
}
