//! [`ServerConfig`]: what a server asks for.

use std::time::Duration;

use super::ServeError;
use crate::cluster::TableConfig;

/// The table of a [`DistrServer`](super::DistrServer), and how the server is run.
///
/// ```
/// use std::time::Duration;
/// use unisono::{ServerConfig, TableConfig};
///
/// let simple = ServerConfig::new("visits");
/// let patient = ServerConfig::new(TableConfig::new("visits"))
///     .changes()
///     .mailbox(64)
///     .restarts(100, Duration::from_secs(600))
///     .backoff(Duration::from_millis(10), Duration::from_secs(60));
/// assert_eq!(simple.table().name(), patient.table().name());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    table: TableConfig,
    changes: bool,
    mailbox: usize,
    pub(super) limits: Limits,
}

/// How failures are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    pub(super) restarts: usize,
    pub(super) window: Duration,
    pub(super) first: Duration,
    pub(super) most: Duration,
}

impl ServerConfig {
    /// With this table and the defaults; a name alone will do for the table.
    pub fn new(table: impl Into<TableConfig>) -> Self {
        let limits = Limits {
            restarts: 5,
            window: Duration::from_secs(60),
            first: Duration::from_millis(100),
            most: Duration::from_secs(10),
        };
        Self { table: table.into(), changes: false, mailbox: 1_024, limits }
    }

    /// Asks for changes of the table: [`handle_change`](super::DistrServer::handle_change) then hears of each that comes
    /// after the begin of `init`, whichever node made it, this server's own writes included.
    #[must_use]
    pub fn changes(mut self) -> Self {
        self.changes = true;
        self
    }

    /// How many calls and casts may wait, 1,024 unless set; further ones are refused. Too many, and callers time out on what
    /// is done for nobody; too few, and a short burst is refused.
    #[must_use]
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages;
        self
    }

    /// How many failures within `window` are followed by another start, 5 within a minute unless set; with one more the
    /// server gives up. A window that is shorter than the pauses together never comes to giving up. A role has its own
    /// supervision, which does not look at this.
    #[must_use]
    pub fn restarts(mut self, restarts: usize, window: Duration) -> Self {
        (self.limits.restarts, self.limits.window) = (restarts, window);
        self
    }

    /// The pause before the first restart, which doubles with each further failure within the window, and the longest pause:
    /// 100 ms and 10 s unless set. What is really waited lies between half of that and all of it, so that servers which
    /// failed together do not come back together. A role has its own supervision, which does not look at this.
    #[must_use]
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        (self.limits.first, self.limits.most) = (first, most);
        self
    }

    /// The table.
    pub fn table(&self) -> &TableConfig {
        &self.table
    }

    pub(super) fn wants_changes(&self) -> bool {
        self.changes
    }

    pub(super) fn capacity(&self) -> usize {
        self.mailbox
    }

    /// What is wrong with it, apart from the table.
    pub(super) fn check(&self) -> Result<(), ServeError> {
        /// What tokio's channels can hold.
        const MOST: usize = usize::MAX >> 3;
        if (1..=MOST).contains(&self.mailbox) { Ok(()) } else { Err(ServeError::Mailbox { messages: self.mailbox }) }
    }
}
