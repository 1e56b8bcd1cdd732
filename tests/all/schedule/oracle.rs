//! What the replicas must agree on, from the story of the writes alone.
//!
//! In come the writes as they leave their author (dot, stamp, value, and which put the author saw when it removed), out
//! goes the map that everybody must hold in the end. It shares no code with the map: no entries, no order among entries,
//! no contexts. A key is live exactly when nobody removed the highest put of it: the tombstones' ranks, which the map
//! needs to say the same, do not occur here.

use std::collections::{BTreeMap, BTreeSet};

use unisono::crdt::Dot;
use unisono::id::ReplicaId;

/// Table and key.
pub(crate) type Place = (String, Vec<u8>);
/// A whole replicated map.
pub(crate) type Live = BTreeMap<Place, Vec<u8>>;
/// What orders the puts of a key: time, then author.
type PutOrder = (u64, u64);

/// One write, as its author did it.
pub(crate) struct Write {
    pub(crate) place: Place,
    pub(crate) dot: Dot,
    /// When it was issued.
    pub(crate) stamp: u64,
    /// What the row claims as the time that ranks it.
    pub(crate) rank_time: u64,
    /// Whether it ends by itself.
    pub(crate) ends: bool,
    /// `None` for a removal.
    pub(crate) value: Option<Vec<u8>>,
    /// The value that the author saw before it wrote.
    pub(crate) observed: Option<Vec<u8>>,
}

enum Fact {
    Put { order: PutOrder, value: Vec<u8>, ends: bool },
    Removal { of: PutOrder },
}

/// The story so far.
#[derive(Default)]
pub(crate) struct Oracle {
    facts: BTreeMap<Place, BTreeMap<Dot, Fact>>,
    by_value: BTreeMap<Vec<u8>, PutOrder>,
    last: BTreeMap<ReplicaId, (u64, u64)>,
    own: BTreeMap<(ReplicaId, Vec<u8>), Option<Vec<u8>>>,
    /// Authors may go back; the variant that reuses ids is to be caught by what becomes of the map.
    pub(crate) authors_may_go_back: bool,
}

impl Oracle {
    /// Takes a write down, and checks what a single write must keep to. Values must be unique.
    pub(crate) fn record(&mut self, write: Write) -> Result<(), String> {
        let Write { place, dot, stamp, rank_time, ends, value, observed } = write;
        let author = dot.replica;
        let (last_seq, last_stamp) = self.last.insert(author, (dot.seq, stamp)).unwrap_or_default();
        if !self.authors_may_go_back && (dot.seq <= last_seq || stamp <= last_stamp) {
            return Err(format!(
                "{dot:?} at {stamp} does not come after {last_seq} at {last_stamp} of the same author"
            ));
        }
        let before = observed.map(|value| *self.by_value.get(&value).expect("a value that nobody wrote was read"));
        let fact = match value {
            Some(value) => {
                let order = (rank_time, author.0);
                if rank_time < stamp || before.is_some_and(|before| order <= before) {
                    return Err(format!("{dot:?} ranks at {rank_time}, below its stamp or below what it replaced"));
                }
                self.by_value.insert(value.clone(), order);
                Fact::Put { order, value, ends }
            }
            None => Fact::Removal { of: before.ok_or_else(|| format!("{dot:?} removed a key that was not there"))? },
        };
        self.facts.entry(place).or_default().insert(dot, fact);
        Ok(())
    }

    /// Takes down what an owner last said in a row of its own.
    pub(crate) fn record_own(&mut self, owner: ReplicaId, name: &[u8], value: Option<Vec<u8>>) {
        self.own.insert((owner, name.to_vec()), value);
    }

    /// The live owner rows of these owners.
    pub(crate) fn owner_rows(&self, owners: &BTreeSet<ReplicaId>) -> Vec<(ReplicaId, Vec<u8>, Vec<u8>)> {
        let of_members = self.own.iter().filter(|((owner, _), _)| owners.contains(owner));
        of_members.filter_map(|((o, name), value)| Some((*o, name.clone(), value.clone()?))).collect()
    }

    /// Every write, with its place.
    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.facts.values().flat_map(|facts| facts.keys().copied())
    }

    /// The map made of the writes in `known`, when the time of all rows that end is over.
    pub(crate) fn winners(&self, known: impl Fn(Dot) -> bool) -> Live {
        self.tops(known, false)
    }

    /// What else may be there as long as its time is not over.
    pub(crate) fn ending(&self, known: impl Fn(Dot) -> bool) -> Live {
        self.tops(known, true)
    }

    /// The highest put of each key that nobody removed, of those that end or of the others.
    fn tops(&self, known: impl Fn(Dot) -> bool, of_those_that_end: bool) -> Live {
        let mut live = Live::new();
        for (place, facts) in &self.facts {
            let facts: Vec<_> = facts.iter().filter(|(dot, _)| known(**dot)).map(|(_, fact)| fact).collect();
            // A removal also tells of the put that it saw, which may itself have been lost with its author.
            let top = facts.iter().map(|fact| match fact {
                Fact::Put { order, .. } | Fact::Removal { of: order } => *order,
            });
            let Some(top) = top.max() else { continue };
            let removed = facts.iter().any(|fact| matches!(fact, Fact::Removal { of } if *of == top));
            let put = facts.iter().find_map(|fact| match fact {
                Fact::Put { order, value, ends } if *order == top => Some((value.clone(), *ends)),
                _ => None,
            });
            if let (false, Some((value, ends))) = (removed, put)
                && ends == of_those_that_end
            {
                live.insert(place.clone(), value);
            }
        }
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(replica: u64, seq: u64, stamp: u64, value: Option<&[u8]>, observed: Option<&[u8]>) -> Write {
        Write {
            place: ("t".into(), b"k".to_vec()),
            dot: Dot { replica: ReplicaId(replica), seq },
            stamp,
            rank_time: stamp,
            ends: false,
            value: value.map(<[u8]>::to_vec),
            observed: observed.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn a_removal_kills_only_puts_up_to_the_one_it_saw() {
        let mut oracle = Oracle::default();
        oracle.record(write(1, 1, 10, Some(b"a"), None)).unwrap();
        oracle.record(write(2, 1, 12, Some(b"b"), None)).unwrap();
        oracle.record(write(1, 2, 20, None, Some(b"a"))).unwrap();
        let known = oracle.winners(|_| true);
        assert_eq!(known.into_values().collect::<Vec<_>>(), [b"b".to_vec()], "the concurrent put is younger than a");
        assert!(oracle.winners(|dot| dot.replica == ReplicaId(1)).is_empty());
        assert_eq!(oracle.winners(|dot| dot.seq == 1 && dot.replica.0 == 1).len(), 1);
        oracle.record(write(2, 2, 13, None, Some(b"b"))).unwrap();
        assert!(oracle.winners(|_| true).is_empty());
    }

    #[test]
    fn a_row_that_has_ended_hides_what_was_there_before() {
        let mut oracle = Oracle::default();
        oracle.record(write(1, 1, 10, Some(b"a"), None)).unwrap();
        oracle.record(Write { ends: true, ..write(2, 1, 12, Some(b"b"), None) }).unwrap();
        assert!(oracle.winners(|_| true).is_empty());
        assert_eq!(oracle.ending(|_| true).into_values().collect::<Vec<_>>(), [b"b".to_vec()]);
        assert_eq!(oracle.winners(|dot| dot.replica == ReplicaId(1)).len(), 1);
        oracle.record(write(1, 2, 13, Some(b"c"), None)).unwrap();
        assert_eq!(oracle.winners(|_| true).len(), 1);
    }

    #[test]
    fn an_author_that_goes_back_is_noticed() {
        let mut oracle = Oracle::default();
        oracle.record(write(1, 2, 10, Some(b"a"), None)).unwrap();
        assert!(oracle.record(write(1, 1, 11, Some(b"b"), None)).is_err());
        assert!(oracle.record(write(1, 3, 9, Some(b"c"), None)).is_err());
        assert!(oracle.record(write(2, 1, 11, None, None)).is_err());
        assert!(oracle.record(write(2, 2, 5, Some(b"d"), Some(b"a"))).is_err(), "ranks below what it replaces");
    }
}
