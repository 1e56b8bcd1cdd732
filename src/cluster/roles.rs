//! The roles of the cluster: who runs what, and what it is asked to run.

use std::time::Duration;

use super::handle::Cluster;
use crate::engine::{Command, Denial, Reply, RoleHost, RoleStatus};
use crate::roles::{RoleChange, RoleSpec, RoleSpecError};

/// Why [`Cluster::add_role`] did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddRoleError {
    /// The role cannot be as it is asked for.
    #[error(transparent)]
    Spec(#[from] RoleSpecError),
    /// A spec of a higher revision stands under this name, or the role was removed in a higher one.
    #[error(
        "the role {role:?} stands or was removed in revision {standing}, above {revision}; ask with that one or a higher one"
    )]
    Older {
        /// The role.
        role: String,
        /// The revision that was asked for.
        revision: u64,
        /// The one that stands.
        standing: u64,
    },
    /// This node has not joined yet.
    #[error("this node is not ready yet; wait for `Cluster::ready` first")]
    NotReady,
    /// The node leaves or left the cluster, or was dropped.
    #[error("this node left the cluster; ask another, or start a new one")]
    Gone,
}

/// Why [`Cluster::remove_role`] did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveRoleError {
    /// This node has not joined yet.
    #[error("this node is not ready yet; wait for `Cluster::ready` first")]
    NotReady,
    /// The node leaves or left the cluster, or was dropped.
    #[error("this node left the cluster; ask another, or start a new one")]
    Gone,
}

impl From<Denial> for AddRoleError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Role(error) => Self::Spec(error),
            Denial::OlderRole { role, revision, standing } => Self::Older { role, revision, standing },
            Denial::NotReady => Self::NotReady,
            _ => Self::Gone,
        }
    }
}

impl Cluster {
    /// The roles of the cluster, ordered by name: how many instances of each are wanted, where they are assigned, and what
    /// they do there. [`RoleStatus::running`] and [`RoleStatus::missing`] sum it up.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use unisono::{Cluster, RoleContext, RoleSpec, Unplaced};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = Cluster::builder()
    /// #     .name("doc-role-status")
    /// #     .port(24_320)
    /// #     .role_kind("gate", |context: RoleContext| async move { Ok(context.stopped().await) })
    /// #     .role(RoleSpec::new("gate").count(2))
    /// #     .role(RoleSpec::new("siren"))
    /// #     .start()
    /// #     .await?;
    /// # cluster.until(Duration::from_secs(10), |_| cluster.lookup("gate").len() == 1).await?;
    /// let roles = cluster.roles();
    /// let (gate, siren) = (&roles[0], &roles[1]);
    /// // There is one node, and it runs no role twice.
    /// assert_eq!((gate.wanted, gate.assigned.len(), gate.running().count(), gate.missing()), (2, 1, 1, 1));
    /// assert_eq!(siren.unplaced, Some(Unplaced::NoKind));
    /// # Ok(())
    /// # }
    /// ```
    pub fn roles(&self) -> Vec<RoleStatus> {
        self.status().roles.clone()
    }

    /// The instances of a role that run now, one that is about to yield to its successor included; empty if there are none,
    /// or no such role.
    pub fn lookup(&self, role: &str) -> Vec<RoleHost> {
        let status = self.status();
        let role = status.roles.iter().find(|entry| entry.spec.name == role);
        role.map_or_else(Vec::new, |role| role.running().cloned().collect())
    }

    /// Asks the cluster to run a role from now on, in place of what was asked for under its name. The result says whether the
    /// cluster is asked for something else than before, and what does not stand any more; asking twice is asking once, on
    /// whichever nodes.
    ///
    /// On this node [`Cluster::roles`] shows it when this returns. [`Cluster::await_visible`] then waits until the others
    /// hold it too, and [`Cluster::converged`] until it runs wherever it has a place.
    ///
    /// **It stands against configurations**: of all that is asked for under one name, the highest
    /// [`RoleSpec::revision`](field@RoleSpec::revision) stands, and of one revision what was changed at run time, also against
    /// nodes that start later, or come back after weeks, with another spec in their configuration. A configuration takes over
    /// again by naming a higher revision. Of two changes of one revision at the same time, or on two sides of a cut, the later
    /// stands. All nodes come to the same, in whatever order they hear of it. A node whose own differs says so with
    /// [`Event::RoleSpecDiffers`](crate::Event::RoleSpecDiffers).
    ///
    /// It is held by the members of the cluster and not on disk: **after a restart of all nodes together the configuration
    /// holds**.
    ///
    /// # Errors
    ///
    /// [`AddRoleError`], and nothing is changed. Not cancel safe: the role may be asked for or not.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use unisono::{Cluster, RoleContext, RoleSpec};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = Cluster::builder()
    /// #     .name("doc-add-role")
    /// #     .port(24_340)
    /// #     .role_kind("gate", |context: RoleContext| async move { Ok(context.stopped().await) })
    /// #     .start()
    /// #     .await?;
    /// # cluster.ready(Duration::from_secs(10)).await?;
    /// let north = RoleSpec::new("gate-north").kind("gate").arguments("north");
    /// assert!(cluster.add_role(north.clone()).await?.changed);
    /// assert!(!cluster.add_role(north.clone()).await?.changed); // it stands already
    /// cluster.converged().await?;
    /// assert_eq!(cluster.lookup("gate-north").len(), 1);
    ///
    /// let removed = cluster.remove_role("gate-north").await?;
    /// assert_eq!(removed.outranked.and_then(|stood| stood.spec), Some(north));
    /// cluster.until(Duration::from_secs(10), |status| status.roles.is_empty()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add_role(&self, spec: RoleSpec) -> Result<RoleChange, AddRoleError> {
        spec.validate()?;
        let spec = Box::new(spec);
        let changed = self.change_role(|request| Command::AddRole { request, spec }).await;
        changed.ok_or(AddRoleError::Gone)?.map_err(AddRoleError::from)
    }

    /// Asks the cluster to run a role no more; its instances are asked to end everywhere. The result says whether there was
    /// such a role, and what stood until now.
    ///
    /// The removal has the revision of what it removes and stands by the same rule as what [`Cluster::add_role`] asks for: a
    /// node that starts later, and whose configuration names the role in that revision or a lower one, does not bring it back,
    /// and says so with [`Event::RoleRemoved`](crate::Event::RoleRemoved). A configuration with a higher revision does, and
    /// `add_role` with the same revision or a higher one. After a restart of all nodes together the configuration holds.
    ///
    /// The last 1,000 removals are remembered: when there are more, the oldest is forgotten, those of roles that no configuration
    /// names before all others. After that a node that starts with the role in its configuration brings it back.
    ///
    /// [`Cluster::await_visible`] waits until the others hold the removal; instances may take their stop grace after that, and
    /// [`Cluster::converged`] does not wait for those of a role that is not asked for.
    ///
    /// # Errors
    ///
    /// [`RemoveRoleError`], and nothing is changed. Not cancel safe: the role may be removed or not.
    pub async fn remove_role(&self, role: &str) -> Result<RoleChange, RemoveRoleError> {
        let role = role.to_owned();
        let changed = self.change_role(|request| Command::RemoveRole { request, role }).await;
        changed.ok_or(RemoveRoleError::Gone)?.map_err(|denial| match denial {
            Denial::NotReady => RemoveRoleError::NotReady,
            _ => RemoveRoleError::Gone,
        })
    }

    /// `None`: the node is gone.
    async fn change_role(&self, command: impl FnOnce(u64) -> Command) -> Option<Result<RoleChange, Denial>> {
        let answer = |reply| match reply {
            Reply::Role(change) => Some(Ok(*change)),
            Reply::Denied(why) => Some(Err(why)),
            _ => None,
        };
        self.ask(Duration::MAX, command, answer).await.ok()
    }
}
