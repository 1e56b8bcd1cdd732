//! What this node tells the others of how busy it is: a look at the board once a second, and a row if it is worth one.

use std::sync::Arc;

use super::Engine;
use crate::signals::{self, Board, LoadBucket, Publisher};
use crate::store::TableName;

/// The board that the application writes into, and what was told of it.
pub(super) struct Signals {
    table: TableName,
    board: Arc<Board>,
    publisher: Publisher,
    load: LoadBucket,
}

impl Signals {
    pub(super) fn new() -> Self {
        let table = TableName::new(signals::TABLE).expect("the names of system tables are well formed");
        Self { table, board: Arc::default(), publisher: Publisher::default(), load: LoadBucket::default() }
    }

    /// What this node says of itself where roles are placed.
    pub(super) fn load(&self) -> u8 {
        self.load.told()
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
        let members = self.live().len() + 1;
        let Signals { table, board, publisher, load } = &mut self.signals;
        let (now, parts) = (self.now.instant, board.parts());
        // What the hosted roles count is no part of it: assignment counts them itself.
        let other = load.update(now, signals::score(&parts), members).is_some();
        if publisher.is_due(now, &parts) {
            match self.store.put_own(self.now, table, &[], &signals::encode(&parts)) {
                Ok(_) => publisher.told(now, &parts),
                Err(_) => self.stats.own_writes_refused += 1,
            }
        }
        if other {
            self.declare_self();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Input;
    use super::super::message::MemberInfo;
    use super::super::tests::{NOW, OWN, engine};
    use super::*;
    use crate::signals::{Gauge, Part, SignalKind, Spec};
    use crate::time::Now;
    use crate::wire;

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
        // By then it has also told the load that follows from it.
        larry.pass(Duration::from_secs(20));
        larry.queue.set(5.5).unwrap();
        assert_eq!(larry.pass(Duration::from_secs(60)), 0, "a tenth is not worth it");
        let mut written = 0;
        for step in 0..600_u32 {
            larry.queue.set(f64::from(step % 7) * 100.0).unwrap();
            written += larry.pass(Duration::from_millis(100));
        }
        // A row a second, and two more for each new load, of which there are six in a minute at most.
        assert!((40..=61 + 12).contains(&written), "{written} rows in a minute");
        larry.queue.set(7.0).unwrap();
        larry.pass(Duration::from_millis(2_000));
        assert_eq!(larry.rows().unwrap().1[0].value, 7.0, "the last change is told too");
    }

    /// The load that the others read.
    fn load(larry: &Larry) -> u8 {
        let table = TableName::new("@members").unwrap();
        let rows = larry.engine.store.owner_rows(&table);
        rows.iter().map(|(_, _, row)| wire::decode::<MemberInfo>(row).unwrap().load).next().unwrap()
    }

    #[test]
    fn what_lasts_becomes_the_load_that_roles_are_placed_by() {
        let mut larry = Larry::new(true);
        larry.engine.declare_self();
        assert_eq!(load(&larry), 0);
        larry.queue.set(5.0).unwrap();
        larry.pass(Duration::from_secs(2));
        larry.queue.set(0.0).unwrap();
        larry.pass(Duration::from_secs(20));
        assert_eq!(load(&larry), 0, "a peak is no load");
        larry.queue.set(5.0).unwrap();
        larry.pass(Duration::from_secs(20));
        assert_eq!(load(&larry), 18, "ln(1 + 5 / 0.1) / ln(1.25)");
        larry.queue.set(0.0).unwrap();
        larry.pass(Duration::from_secs(20));
        assert_eq!(load(&larry), 0);
    }

    #[test]
    fn a_noisy_load_costs_few_declarations() {
        let mut larry = Larry::new(true);
        larry.engine.declare_self();
        let (mut before, mut changes) = (load(&larry), 0);
        for step in 0..600_u32 {
            larry.queue.set(40.0 + f64::from(step * 7_919 % 13)).unwrap();
            larry.pass(Duration::from_secs(1));
            changes += u32::from(load(&larry) != before);
            before = load(&larry);
        }
        assert_eq!(changes, 1);
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
