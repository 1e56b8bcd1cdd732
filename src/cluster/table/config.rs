//! How a table is set up.

use std::fmt;
use std::time::Duration;

/// Who has a copy of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Scope {
    /// Every node of the cluster.
    #[default]
    Replicated,
    /// This node alone: nothing of it is ever sent, and it ends with the node. It can be written before the node has
    /// joined.
    Local,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Replicated => "replicated",
            Self::Local => "local",
        })
    }
}

/// A table's name and what else is to be said of it. A name alone does where nothing is:
/// `cluster.table::<String, Lww<u32>>("cars")`.
///
/// The first to open a table on a node decides; who opens it later with nothing but its name gets it as it is, and with
/// other settings [`TableError::Differs`](super::TableError::Differs).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = unisono::Cluster::builder().name("doc-table-config").port(24_100).start().await?;
/// # cluster.ready(std::time::Duration::from_secs(10)).await?;
/// use std::time::Duration;
/// use unisono::{Lww, Table, TableConfig};
///
/// let config = TableConfig::new("sessions").ttl(Duration::from_secs(1_800)).quota(64 << 20);
/// let sessions: Table<u64, Lww<String>> = cluster.table(config)?;
/// let scratch: Table<u64, Lww<String>> = cluster.table(TableConfig::new("scratch").local())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a configuration does nothing by itself"]
pub struct TableConfig {
    pub(crate) name: String,
    pub(crate) scope: Option<Scope>,
    pub(crate) quota: Option<u64>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) schema: Option<String>,
}

impl TableConfig {
    /// A replicated table without quota whose rows stay until they are removed. The name has 1 to 120 bytes, does not
    /// begin with `_` or `@` and has no `|` in it.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), scope: None, quota: None, ttl: None, schema: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who has a copy.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// For this node alone.
    pub fn local(self) -> Self {
        self.scope(Scope::Local)
    }

    /// So many bytes of keys and values, encoded, may the table hold when this node adds to it; beyond that a write is
    /// refused with [`store::WriteError::Quota`](crate::store::WriteError::Quota). What other nodes wrote is taken in any
    /// case, so several nodes that write at once may go beyond it by what was under way.
    pub fn quota(mut self, bytes: u64) -> Self {
        self.quota = Some(bytes);
        self
    }

    /// How long a row stays after it was last put, unless it is put with a time of its own. Only for tables of
    /// [`Lww`](crate::Lww) rows; others refuse it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What to call the types of this table when nodes compare them, instead of their names in this program: to be
    /// changed when the meaning of the bytes changes, and to be given where two programs name one type differently.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }
}

impl<S: Into<String>> From<S> for TableConfig {
    fn from(name: S) -> Self {
        Self::new(name)
    }
}
