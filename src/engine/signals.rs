//! What this node tells the others of how busy it is: a look at the board once a second, and a row if it is worth one.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::signals::{self, Board, Publisher};
use crate::store::TableName;
use crate::time::Instant;

/// The board that the application writes into, and what was told of it.
pub(super) struct Signals {
    table: TableName,
    board: Arc<Board>,
    publisher: Publisher,
    /// Since when the load by which roles are placed was held back.
    held: Option<Instant>,
}

impl Signals {
    pub(super) fn new() -> Self {
        let table = TableName::new(signals::TABLE).expect("the names of system tables are well formed");
        Self { table, board: Arc::default(), publisher: Publisher::default(), held: None }
    }
}

impl Engine {
    /// Whose signals are to be published: without this, those of a board that nobody writes into.
    pub fn set_board(&mut self, board: Arc<Board>) {
        self.signals.board = board;
    }

    /// Tells the others what the board shows, if that is worth telling. A node whose application has no signals, or has
    /// never been busy, writes no row.
    pub(super) fn publish_signals(&mut self) {
        if !self.formed() || self.leaving.is_some() {
            return;
        }
        let at_rest = self.work.converged();
        let Signals { table, board, publisher, held } = &mut self.signals;
        let (now, parts) = (self.now.instant, board.parts());
        if at_rest {
            *held = None;
        }
        let holds = !at_rest && now.since(*held.get_or_insert(now)) < HELD;
        let Some(load) = publisher.due(now, &parts, holds) else { return };
        if !holds {
            *held = None;
        }
        let (table, row) = (table.clone(), signals::encode(load, &parts));
        if self.put_own(table, &[], &row) {
            self.signals.publisher.told(now, load, &parts);
            self.work.reload();
        }
    }
}

/// While the members do not agree, roles may be about to be placed, and a load that changes would keep them from it: it is
/// told only after this time.
const HELD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::super::tests::{NOW, OWN, engine};
    use super::*;
    use crate::signals::{Gauge, Part, SignalKind, Spec};
    use crate::time::Now;

    struct Larry {
        engine: Engine,
        queue: Arc<Gauge>,
        ms: u64,
    }

    impl Larry {
        fn new(formed: bool) -> Self {
            let mut engine = engine(formed);
            let board = Arc::new(Board::default());
            let queue = board.register(&[Spec::new("queue", SignalKind::Amount, 1.0)]).unwrap().remove(0);
            engine.set_board(board);
            Self { engine, queue, ms: 0 }
        }

        /// Lets the deadlines up to then come, and counts the own rows that were written.
        fn pass(&mut self, span: Duration) -> u64 {
            let end = self.ms + u64::try_from(span.as_millis()).unwrap();
            let before = self.rows().map_or(0, |(seq, _)| seq);
            while self.ms < end {
                self.ms += 10;
                let instant = NOW.instant + Duration::from_millis(self.ms);
                self.engine.handle(Now { instant, wall_ms: NOW.wall_ms + self.ms }, Input::Deadline);
                while self.engine.poll_output().is_some() {}
            }
            self.rows().map_or(0, |(seq, _)| seq) - before
        }

        /// How many rows were written, and what the last one says.
        fn rows(&self) -> Option<(u64, Vec<Part>)> {
            let rows = self.engine.store.owner_rows(&self.engine.signals.table);
            let (owner, name, value) = rows.first()?;
            assert_eq!((rows.len(), *owner, name.len()), (1, OWN, 0));
            Some((self.engine.store.base_of(OWN), signals::decode(value).unwrap()))
        }
    }

    #[test]
    fn a_node_that_is_never_busy_writes_no_row() {
        let mut larry = Larry::new(true);
        larry.pass(Duration::from_secs(60));
        assert!(larry.rows().is_none());
        larry.queue.set(0.0).unwrap();
        larry.pass(Duration::from_secs(60));
        assert!(larry.rows().is_none(), "0 is what everybody takes it for");
    }

    #[test]
    fn what_changes_is_told_once_a_second_at_most() {
        let mut larry = Larry::new(true);
        larry.queue.set(5.0).unwrap();
        larry.pass(Duration::from_secs(2));
        assert_eq!(larry.rows().unwrap().1[0].value, 5.0);
        larry.queue.set(5.5).unwrap();
        assert_eq!(larry.pass(Duration::from_secs(60)), 0, "a tenth is not worth it");
        let mut written = 0;
        for step in 0..600_u32 {
            larry.queue.set(f64::from(step % 7) * 100.0).unwrap();
            written += larry.pass(Duration::from_millis(100));
        }
        assert!((40..=61).contains(&written), "{written} rows in a minute");
        larry.queue.set(7.0).unwrap();
        larry.pass(Duration::from_millis(2_000));
        assert_eq!(larry.rows().unwrap().1[0].value, 7.0, "the last change is told too");
    }

    /// The load that the others read.
    fn load(larry: &Larry) -> u8 {
        larry
            .engine
            .store
            .owner_rows(&larry.engine.signals.table)
            .first()
            .map_or(0, |(_, _, row)| signals::load_in(row))
    }

    #[test]
    fn what_is_told_is_the_load_that_roles_are_placed_by() {
        let mut larry = Larry::new(true);
        larry.pass(Duration::from_secs(2));
        assert_eq!(load(&larry), 0);
        for (length, bucket) in [(5.0, 18), (0.0, 0), (5.0, 18)] {
            larry.queue.set(length).unwrap();
            larry.pass(Duration::from_secs(2));
            assert_eq!(load(&larry), bucket, "ln(1 + 5 / 0.1) / ln(1.25) = 17.6");
            assert_eq!(larry.engine.work.drawn().candidates[0].load, bucket);
        }
    }

    #[test]
    fn a_load_that_moves_costs_no_agreement() {
        let mut larry = Larry::new(true);
        larry.pass(Duration::from_secs(2));
        let fingerprint = larry.engine.work.drawn().fingerprint;
        let declared = |larry: &Larry| {
            let rows = |name: &str| larry.engine.store.owner_rows(&TableName::new(name).unwrap());
            (rows("@members"), rows("@agree"))
        };
        let before = declared(&larry);
        for step in 0..60_u32 {
            larry.queue.set(f64::from(step % 5) * 100.0).unwrap();
            larry.pass(Duration::from_secs(1));
            assert!(larry.engine.work.converged());
        }
        assert_eq!((larry.engine.work.drawn().fingerprint, declared(&larry)), (fingerprint, before));
    }

    #[test]
    fn nothing_is_told_before_the_node_is_ready() {
        let mut larry = Larry::new(false);
        larry.queue.set(5.0).unwrap();
        for ms in (0..100).map(|tick| tick * 1_000) {
            larry.engine.now = Now { instant: NOW.instant + Duration::from_millis(ms), ..NOW };
            larry.engine.publish_signals();
        }
        assert!(larry.rows().is_none());
        assert_eq!(larry.engine.stats.own_writes_refused, 0);
        larry.engine.become_ready();
        larry.pass(Duration::from_secs(2));
        assert!(larry.rows().is_some());
    }
}
