//! Why roles are where they are, and what would move them.

use std::time::Duration;

use super::handle::Cluster;
use crate::engine::{Command, Reply};
use crate::roles::{Explanation, Move, WhatIf, WhatIfError};

/// Why [`Cluster::explain`] explains nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// No role has that name, as far as this node knows.
    #[error("no role {role:?} is asked for, as far as this node knows; see `Cluster::roles` for those that are")]
    NoSuchRole {
        /// The name.
        role: String,
    },
    /// The node left the cluster or was dropped.
    #[error("this node left the cluster; start a new one")]
    Gone,
}

impl Cluster {
    /// Why a role is where it is: every member with what speaks for and against it, and the view and the claims that this
    /// was decided on, as data and, printed, as a table. It is the decision itself that is recorded, and every member whose
    /// explanation shows the same fingerprint decides the same.
    ///
    /// # Errors
    ///
    /// [`ExplainError::NoSuchRole`], [`ExplainError::Gone`]. Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use unisono::{Chosen, Cluster, Obstacle, RoleContext, RoleSpec};
    ///
    /// let gate = |context: RoleContext| async move {
    ///     context.stopped().await;
    ///     Ok(())
    /// };
    /// let cluster = Cluster::builder()
    ///     .name("doc-explain")
    ///     .port(24_360)
    ///     .role_kind("gate", gate)
    ///     .role(RoleSpec::new("gate-1").kind("gate"))
    ///     .role(RoleSpec::new("barrier").kind("gate").only_on("drive", "in"))
    ///     .start()
    ///     .await?;
    /// cluster.ready(Duration::from_secs(10)).await?;
    /// cluster.converged().await?;
    ///
    /// let gate = cluster.explain("gate-1").await?;
    /// assert_eq!(gate.candidates[0].chosen, Some(Chosen::Incumbent));
    /// let barrier = cluster.explain("barrier").await?;
    /// assert_eq!((barrier.wanted, barrier.assigned), (0, 0));
    /// assert!(matches!(barrier.candidates[0].obstacle, Some(Obstacle::Label { .. })));
    /// println!("{barrier}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn explain(&self, role: impl Into<String>) -> Result<Explanation, ExplainError> {
        let role = role.into();
        let name = role.clone();
        let explained = |reply| if let Reply::Explained(explained) = reply { Some(explained) } else { None };
        let asked = self.ask(Duration::MAX, |request| Command::Explain { request, role }, explained).await;
        let found = asked.map_err(|_| ExplainError::Gone)?;
        found.map(|explanation| *explanation).ok_or(ExplainError::NoSuchRole { role: name })
    }

    /// The moves that a change would bring once all came to rest, by the rules by which roles are placed: every instance that
    /// would not be where it is assigned now. Nothing is changed.
    ///
    /// Exact, as long as nothing else happens meanwhile: nodes that gave a role up are taken to stay excluded, and roles that
    /// were moved a short time ago to be free to move again.
    ///
    /// # Errors
    ///
    /// [`WhatIfError`]. Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use unisono::{Cluster, NewNode, RoleContext, RoleSpec, WhatIf};
    ///
    /// let gate = |context: RoleContext| async move {
    ///     context.stopped().await;
    ///     Ok(())
    /// };
    /// let mut builder = Cluster::builder().name("doc-what-if").port(24_380).role_kind("gate", gate);
    /// for number in 1..=4 {
    ///     builder = builder.role(RoleSpec::new(format!("gate-{number}")).kind("gate"));
    /// }
    /// let cluster = builder.start().await?;
    /// cluster.ready(Duration::from_secs(10)).await?;
    /// cluster.converged().await?;
    ///
    /// let moves = cluster.what_if(WhatIf::new().with_node(NewNode::new("gary".parse()?, ["gate"]))).await?;
    /// assert_eq!(moves.len(), 1, "of four gates one goes over");
    /// assert_eq!(moves[0].from.as_ref(), Some(cluster.node()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn what_if(&self, change: WhatIf) -> Result<Vec<Move>, WhatIfError> {
        let moves = |reply| if let Reply::Moves(moves) = reply { Some(moves) } else { None };
        let asked = self.ask(Duration::MAX, |request| Command::WhatIf { request, change }, moves).await;
        asked.unwrap_or(Err(WhatIfError::Gone))
    }
}
