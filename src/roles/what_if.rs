//! What would move if something were otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Assignment, Candidate, Claim, ClaimState, FencingToken, Holding, Picture, RoleSpec, assign};
use crate::id::{NodeId, ReplicaId};
use crate::time::Stamp;

/// How often the assignment is carried out until it must have come to rest. Roles that are kept apart make way one step at a
/// time; everything else rests after one.
const STEPS: usize = 64;

/// What to suppose, for [`Cluster::what_if`](crate::Cluster::what_if): one change, or several at once.
///
/// ```
/// use unisono::{RoleSpec, WhatIf};
///
/// let larry = "larry".parse()?;
/// let change = WhatIf::new().without_node(larry).add_role(RoleSpec::new("gate-5").kind("gate"));
/// # let _ = change;
/// # Ok::<(), unisono::NodeIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[must_use = "it changes nothing; hand it to Cluster::what_if"]
pub struct WhatIf {
    changes: Vec<Change>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Change {
    WithoutNode(NodeId),
    WithNode(NewNode),
    Count(String, u32),
    Load(NodeId, u8),
    AddRole(RoleSpec),
    RemoveRole(String),
}

/// A node that is not there yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[must_use = "hand it to WhatIf::with_node"]
pub struct NewNode {
    node: NodeId,
    kinds: BTreeSet<String>,
    labels: BTreeMap<String, String>,
    load: u8,
}

impl NewNode {
    /// An idle node that can build these kinds.
    pub fn new(node: NodeId, kinds: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let kinds = kinds.into_iter().map(Into::into).collect();
        Self { node, kinds, labels: BTreeMap::new(), load: 0 }
    }

    /// Gives it a label.
    pub fn label(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(label.into(), value.into());
        self
    }

    /// Sets how busy it is: buckets each a quarter above the one below, 0 for idle.
    pub fn load(mut self, load: u8) -> Self {
        self.load = load;
        self
    }
}

/// One move that a change would bring.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Move {
    /// The role.
    pub role: String,
    /// Who has it now; `None` for an instance more.
    pub from: Option<NodeId>,
    /// Who has it then; `None` for an instance less.
    pub to: Option<NodeId>,
}

/// Why nothing can be supposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhatIfError {
    /// No node of that name is in view.
    #[error("no node {node} is in view; see `Cluster::members` for those that are")]
    NoSuchNode {
        /// The name.
        node: NodeId,
    },
    /// A node of that name is in view already.
    #[error("{node} is in view already; suppose a node of another name, or leave it out first")]
    NodeExists {
        /// The name.
        node: NodeId,
    },
    /// No role has that name.
    #[error("no role {role:?} is asked for; see `Cluster::roles` for those that are, or add it first")]
    NoSuchRole {
        /// The name.
        role: String,
    },
    /// A spec is wrong.
    #[error(transparent)]
    Role(#[from] super::RoleSpecError),
    /// The node that was asked left the cluster or was dropped.
    #[error("this node left the cluster; start a new one")]
    Gone,
}

impl WhatIf {
    /// Nothing changes: what would move by itself, such as what is pinned now and too much for its node.
    pub fn new() -> Self {
        Self::default()
    }

    fn and(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// That node is gone.
    pub fn without_node(self, node: NodeId) -> Self {
        self.and(Change::WithoutNode(node))
    }

    /// One more node is there.
    pub fn with_node(self, node: NewNode) -> Self {
        self.and(Change::WithNode(node))
    }

    /// That role has another count.
    pub fn count(self, role: impl Into<String>, count: u32) -> Self {
        self.and(Change::Count(role.into(), count))
    }

    /// That node is as busy as this: buckets each a quarter above the one below, 0 for idle.
    pub fn load(self, node: NodeId, load: u8) -> Self {
        self.and(Change::Load(node, load))
    }

    /// That role is asked for, or has that spec.
    pub fn add_role(self, spec: RoleSpec) -> Self {
        self.and(Change::AddRole(spec))
    }

    /// That role is not asked for any more.
    pub fn remove_role(self, role: impl Into<String>) -> Self {
        self.and(Change::RemoveRole(role.into()))
    }
}

/// A picture that owns what is in it.
struct Supposed {
    candidates: Vec<Candidate>,
    roles: Vec<RoleSpec>,
    holdings: Vec<Holding>,
    roster: usize,
}

impl Supposed {
    fn picture(&self) -> Picture<'_> {
        Picture { candidates: &self.candidates, roles: &self.roles, holdings: &self.holdings, roster: self.roster }
    }

    fn change(&mut self, change: &Change) -> Result<(), WhatIfError> {
        match change {
            Change::WithoutNode(node) => {
                self.known(node)?;
                let gone = |c: &&Candidate| c.node == *node;
                let replicas: BTreeSet<_> = self.candidates.iter().filter(gone).map(|c| c.replica).collect();
                self.candidates.retain(|c| c.node != *node);
                self.holdings.retain(|holding| !replicas.contains(&holding.holder));
            }
            Change::WithNode(new) => {
                if self.candidates.iter().any(|c| c.node == new.node) {
                    return Err(WhatIfError::NodeExists { node: new.node.clone() });
                }
                let NewNode { node, kinds, labels, load } = new.clone();
                let replica = self.fresh();
                self.candidates.push(Candidate { node, replica, kinds, labels, load });
                self.candidates.sort_by(|a, b| (&a.node, a.replica).cmp(&(&b.node, b.replica)));
                self.roster += 1;
            }
            Change::Count(role, count) => {
                let spec = self.roles.iter_mut().find(|spec| spec.name == *role);
                let spec = spec.ok_or_else(|| WhatIfError::NoSuchRole { role: role.clone() })?;
                spec.count = *count;
                spec.validate()?;
            }
            Change::Load(node, load) => {
                self.known(node)?;
                self.candidates.iter_mut().filter(|c| c.node == *node).for_each(|c| c.load = *load);
            }
            Change::AddRole(spec) => {
                spec.validate()?;
                self.roles.retain(|there| there.name != spec.name);
                self.roles.push(spec.clone());
                self.roles.sort();
            }
            Change::RemoveRole(role) => {
                let before = self.roles.len();
                self.roles.retain(|spec| spec.name != *role);
                if self.roles.len() == before {
                    return Err(WhatIfError::NoSuchRole { role: role.clone() });
                }
            }
        }
        Ok(())
    }

    fn known(&self, node: &NodeId) -> Result<(), WhatIfError> {
        let known = self.candidates.iter().any(|c| c.node == *node);
        if known { Ok(()) } else { Err(WhatIfError::NoSuchNode { node: node.clone() }) }
    }

    /// A replica that is none of those in the picture.
    fn fresh(&self) -> ReplicaId {
        let taken: BTreeSet<u64> = self.candidates.iter().map(|c| c.replica.0).collect();
        ReplicaId((0..).find(|id| !taken.contains(id)).unwrap_or_default())
    }

    /// What the claims are once everybody did what the assignment says, and no move is news any more.
    fn carry_out(&mut self, assignment: &Assignment) {
        let newest = self.holdings.iter().map(|holding| holding.claim.token.stamp.0).max().unwrap_or_default();
        let stamp = Stamp(newest.saturating_add(1));
        let failed = |h: &&Holding| matches!(h.claim.state, ClaimState::Failed { .. });
        let mut after: Vec<Holding> = self.holdings.iter().filter(failed).cloned().collect();
        for role in self.roles.iter().map(|spec| &spec.name) {
            for host in assignment.hosts(role) {
                let stays = |h: &&Holding| h.role == *role && h.holder == *host && h.claim.holds();
                let token = self.picture().of(role).iter().find(stays).map(|h| h.claim.token);
                let token = token.unwrap_or(FencingToken { stamp, replica: *host });
                let claim = Claim { token, state: ClaimState::Running, pinned: false, handed: None };
                after.push(Holding { role: role.clone(), holder: *host, claim });
            }
        }
        after.sort_by(|a, b| (&a.role, a.holder).cmp(&(&b.role, b.holder)));
        self.holdings = after;
    }

    fn hosts(&self) -> BTreeSet<(&str, ReplicaId)> {
        let running = self.holdings.iter().filter(|holding| holding.claim.holds());
        running.map(|holding| (holding.role.as_str(), holding.holder)).collect()
    }
}

/// The moves that a change would bring once all came to rest, by role: every instance that is not where the present
/// assignment has it. Exclusions stay, pins are over.
pub(crate) fn what_if(picture: &Picture<'_>, change: &WhatIf) -> Result<Vec<Move>, WhatIfError> {
    let mut supposed = Supposed {
        candidates: picture.candidates.to_vec(),
        roles: picture.roles.to_vec(),
        holdings: picture.holdings.to_vec(),
        roster: picture.roster,
    };
    let mut now = names(&supposed.candidates, &supposed.roles, &assign(picture));
    // What the present assignment is about to do is done first: a change meets a cluster at rest.
    supposed.carry_out(&assign(picture));
    for change in &change.changes {
        supposed.change(change)?;
    }
    for _ in 0..STEPS {
        let assignment = assign(&supposed.picture());
        let before: Vec<(String, ReplicaId)> = supposed.hosts().into_iter().map(|(r, h)| (r.to_owned(), h)).collect();
        supposed.carry_out(&assignment);
        if before.iter().map(|(role, holder)| (role.as_str(), *holder)).eq(supposed.hosts()) {
            break;
        }
    }
    let mut then = names(&supposed.candidates, &supposed.roles, &assign(&supposed.picture()));
    let mut moves = Vec::new();
    let roles: BTreeSet<String> = now.keys().chain(then.keys()).cloned().collect();
    for role in roles {
        let (now, then) = (now.remove(&role).unwrap_or_default(), then.remove(&role).unwrap_or_default());
        let (mut from, mut to) = (now.difference(&then).cloned(), then.difference(&now).cloned());
        loop {
            let (from, to) = (from.next(), to.next());
            if from.is_none() && to.is_none() {
                break;
            }
            moves.push(Move { role: role.clone(), from, to });
        }
    }
    Ok(moves)
}

/// The nodes that are to host each role.
fn names(candidates: &[Candidate], roles: &[RoleSpec], assignment: &Assignment) -> BTreeMap<String, BTreeSet<NodeId>> {
    let node = |replica: &ReplicaId| candidates.iter().find(|c| c.replica == *replica).map(|c| c.node.clone());
    let hosts = |spec: &RoleSpec| assignment.hosts(&spec.name).iter().filter_map(node).collect();
    roles.iter().map(|spec| (spec.name.clone(), hosts(spec))).collect()
}

#[cfg(test)]
mod tests;
