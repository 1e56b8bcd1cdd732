//! The roles of the cluster: who runs what, and what it is asked to run.

use std::time::Duration;

use super::handle::Cluster;
use crate::engine::{Command, Denial, Reply, RoleHost, RoleStatus};
use crate::roles::{RoleSpec, RoleSpecError};

/// Why [`Cluster::add_role`] did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddRoleError {
    /// The role cannot be as it is asked for.
    #[error(transparent)]
    Spec(#[from] RoleSpecError),
    /// A spec of a higher revision stands under this name.
    #[error(
        "the role {role:?} stands in revision {standing}, above {revision}; give it a higher one, or remove the role first"
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

    /// Asks the cluster to run a role from now on, in place of what was asked for under its name. Returns whether that
    /// changed anything: what stands as it is asked for is left as it is, on whichever node it was asked for.
    ///
    /// On this node [`Cluster::roles`] shows it when this returns. [`Cluster::await_visible`] then waits until the others
    /// hold it too, and [`Cluster::converged`] until it runs wherever it has a place.
    ///
    /// A role is a row of a table that every node has, so of two that are asked for at the same time, or on two sides of a
    /// cut, the later stands; but never one of a lower [`RoleSpec::revision`](field@RoleSpec::revision) than any node
    /// declares that is there. This node declares it from now on, in place of what it was configured with under this name;
    /// if another spec comes to stand, it says so with [`Event::RoleSpecDiffers`](crate::Event::RoleSpecDiffers).
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
    /// assert!(cluster.add_role(north.clone()).await?);
    /// assert!(!cluster.add_role(north).await?); // it stands already
    /// cluster.converged().await?;
    /// assert_eq!(cluster.lookup("gate-north").len(), 1);
    ///
    /// assert!(cluster.remove_role("gate-north").await?);
    /// cluster.until(Duration::from_secs(10), |status| status.roles.is_empty()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add_role(&self, spec: RoleSpec) -> Result<bool, AddRoleError> {
        spec.validate()?;
        let spec = Box::new(spec);
        let changed = self.change_role(|request| Command::AddRole { request, spec }).await;
        changed.ok_or(AddRoleError::Gone)?.map_err(AddRoleError::from)
    }

    /// Asks the cluster to run a role no more; its instances are asked to end everywhere. Returns whether there was such a
    /// role.
    ///
    /// Every node that sees the removal withdraws what it declared under this name, so the role stays away until somebody
    /// adds it again, of whatever revision, or a node starts whose configuration names it: that node declares it as every
    /// node does that starts. [`Cluster::await_visible`] waits until the others hold the removal; instances may take their
    /// stop grace after that, and [`Cluster::converged`] does not wait for those of a role that nobody asks for.
    ///
    /// # Errors
    ///
    /// [`RemoveRoleError`], and nothing is changed. Not cancel safe: the role may be removed or not.
    pub async fn remove_role(&self, role: &str) -> Result<bool, RemoveRoleError> {
        let role = role.to_owned();
        let changed = self.change_role(|request| Command::RemoveRole { request, role }).await;
        changed.ok_or(RemoveRoleError::Gone)?.map_err(|denial| match denial {
            Denial::NotReady => RemoveRoleError::NotReady,
            _ => RemoveRoleError::Gone,
        })
    }

    /// `None`: the node is gone.
    async fn change_role(&self, command: impl FnOnce(u64) -> Command) -> Option<Result<bool, Denial>> {
        let answer = |reply| match reply {
            Reply::Role { changed } => Some(Ok(changed)),
            Reply::Denied(why) => Some(Err(why)),
            _ => None,
        };
        self.ask(Duration::MAX, command, answer).await.ok()
    }
}
