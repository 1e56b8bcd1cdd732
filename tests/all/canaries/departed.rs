//! Departed authors, with the stores alone: who hears what when is decided here.

use std::collections::BTreeSet;
use std::sync::Arc;

use unisono::id::ReplicaId;
use unisono::sabotage::{Rule, Sabotage};
use unisono::store::{Row, Store, StoreConfig, TableName};
use unisono::time::{Instant, Now};

/// The lowest member, which adopts and forgets, and two others; and one who is about to depart.
struct Stores {
    members: [Arc<Store>; 3],
    author: Arc<Store>,
    second: u64,
}

impl Stores {
    fn new(broken: &[Rule]) -> Self {
        let sabotage = broken.iter().fold(Sabotage::default(), |all, rule| all.and(*rule));
        let store = |replica| {
            let config = StoreConfig { sabotage, ..StoreConfig::new(ReplicaId(replica), replica) };
            let store = Arc::new(Store::new(config));
            store.set_roster(&[1, 2, 3, 4].map(ReplicaId).into(), 1);
            store.open();
            store
        };
        Self { members: [store(1), store(2), store(3)], author: store(4), second: 1 }
    }

    fn now(&self) -> Now {
        let ms = 1_000_000 + self.second * 1_000;
        Now { instant: Instant::from_nanos(ms * 1_000_000), wall_ms: ms }
    }

    /// The author writes, all hear it, and he departs.
    fn depart(&self) -> Vec<Row> {
        self.author.put(self.now(), &lot(), b"key", b"value").unwrap();
        let rows = self.author.take_outbox(9).rows;
        for member in &self.members {
            assert_eq!(member.merge_eager(self.now(), rows.clone()).news.len(), 1);
            member.set_roster(&[1, 2, 3].map(ReplicaId).into(), 2);
        }
        rows
    }

    /// Everybody reports to everybody, and collects what may be collected.
    fn report(&mut self) {
        self.second += 1;
        let now = self.now();
        let reports: Vec<_> = self.members.iter().map(|member| member.report(now)).collect();
        self.members.iter().for_each(|member| member.observe_reports(&reports));
        self.members.iter().for_each(|member| _ = member.collect(now));
    }

    /// What the members wrote, all hear.
    fn spread(&self) {
        let rows: Vec<Row> = self.members.iter().flat_map(|member| member.take_outbox(99).rows).collect();
        self.members.iter().for_each(|member| drop(member.merge_eager(self.now(), rows.clone())));
    }

    fn tend(&self) {
        self.members.iter().for_each(|member| member.tend_departed(self.now(), 0));
    }

    fn outcome(&self) -> Result<(), String> {
        let back = self.members.iter().find(|member| member.get(&lot(), b"key").is_some());
        back.map_or(Ok(()), |member| Err(format!("what was removed came back at {}", member.replica())))
    }
}

fn lot() -> TableName {
    TableName::new("lot").unwrap()
}

/// Everything about an author is forgotten; then a copy arrives that was long under way.
pub(super) fn late_copy(_seed: u64, broken: &[Rule]) -> Result<(), String> {
    let mut stores = Stores::new(broken);
    let copy = stores.depart();
    stores.members[1].remove(stores.now(), &lot(), b"key").unwrap();
    stores.spread();
    let knows = |stores: &Stores| stores.members.iter().any(|member| member.stats().departed > 0);
    while knows(&stores) {
        stores.report();
        stores.report();
        stores.tend();
        stores.spread();
        stores.members.iter().for_each(|member| _ = member.forget_departed());
        if stores.second > 100 {
            return Err("the author is not forgotten".to_owned());
        }
    }
    stores.members[2].merge_eager(stores.now(), copy);
    stores.outcome()
}

/// A row is removed, which the lowest member has not heard of when it might adopt the row; and the adopted row is slow.
pub(super) fn adopted_and_removed(_seed: u64, broken: &[Rule]) -> Result<(), String> {
    let mut stores = Stores::new(broken);
    stores.depart();
    stores.members[1].remove(stores.now(), &lot(), b"key").unwrap();
    let removal = stores.members[1].take_outbox(9).rows;
    stores.members[2].merge_eager(stores.now(), removal.clone());
    // Its promise covers the removal, which it lacks.
    stores.report();
    stores.tend();
    let (slow, others): (Vec<Row>, Vec<Row>) =
        stores.members[0].take_outbox(9).rows.into_iter().partition(|row| row.table == lot());
    stores.members[1..].iter().for_each(|member| drop(member.merge_eager(stores.now(), others.clone())));
    stores.members[0].merge_eager(stores.now(), removal);
    let removed = |member: &Arc<Store>| member.stats().tombstones == 0;
    while !stores.members.iter().all(removed) {
        stores.report();
        if stores.second > 100 {
            return Err("the removal is never collected".to_owned());
        }
    }
    stores.members[2].merge_eager(stores.now(), slow);
    stores.outcome()
}

/// An untouched row does not keep its author: it is adopted, wins over its former self on whatever way that comes, and is
/// removed like any other. And a row in the list of those who are forgotten is gone after its time.
#[test]
fn rows_that_nobody_touches_are_adopted_and_their_author_is_forgotten() {
    let mut stores = Stores::new(&[]);
    let former = stores.depart();
    for _ in 0..100 {
        stores.report();
        stores.tend();
        stores.spread();
        stores.members.iter().for_each(|member| _ = member.forget_departed());
    }
    for member in &stores.members {
        let stats = member.stats();
        assert_eq!((stats.departed, stats.live, stats.tombstones), (0, 1, 0), "{}", member.replica());
        assert_eq!(member.get(&lot(), b"key").as_deref(), Some(&b"value"[..]));
        let authors: BTreeSet<_> = member.context().replicas().collect();
        assert!(!authors.contains(&ReplicaId(4)), "{authors:?}");
    }
    assert_eq!(stores.members.each_ref().map(|member| member.stats().adopted), [1, 0, 0]);
    // An island brings the former row: it is the same, and the new one stays.
    let before = stores.members[2].digest();
    stores.members[2].merge_buckets(stores.now(), former);
    assert_eq!(stores.members[2].digest().root, before.root);
    stores.members[2].remove(stores.now(), &lot(), b"key").unwrap();
    stores.spread();
    assert_eq!(stores.outcome(), Ok(()));
}

/// As long as anything of his is left, nobody is named.
#[test]
fn an_author_of_whom_something_is_left_is_not_forgotten() {
    let mut stores = Stores::new(&[]);
    stores.depart();
    for _ in 0..20 {
        stores.report();
        stores.members.iter().for_each(|member| member.tend_departed(stores.now(), 1));
        stores.spread();
        stores.members.iter().for_each(|member| _ = member.forget_departed());
    }
    assert_eq!(stores.members.each_ref().map(|member| member.stats().departed), [1, 1, 1]);
    assert_eq!(stores.members.each_ref().map(|member| member.stats().live), [1, 1, 1]);
}
