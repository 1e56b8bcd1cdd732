//! Whom this node meets and does not talk to. Each is told of once in a while, however often it calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Engine, Event};
use crate::time::Instant;
use crate::wire;

/// How long the event is not repeated.
const AGAIN: Duration = Duration::from_secs(3_600);

/// The least pause between two things said while more are there than are remembered.
const CROWDED: Duration = Duration::from_secs(60);

/// A name that is longer is no cluster's, and is not passed on.
const LONGEST_NAME: usize = 64;

/// What was said lately, at most [`Said::MOST`] things of it.
#[derive(Debug)]
pub(super) struct Said<K> {
    at: BTreeMap<K, Instant>,
    last: Option<Instant>,
}

impl<K> Default for Said<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), last: None }
    }
}

impl<K: Ord + Clone> Said<K> {
    /// So many are remembered; then the one that was said longest ago is forgotten. Whoever makes up names fills no log
    /// all the same: from then on something is said once a minute at the most.
    pub(super) const MOST: usize = 64;

    /// Whether this is to be said now, which is then noted: it was not said for so long.
    pub(super) fn is_due(&mut self, now: Instant, what: K, again: Duration) -> bool {
        self.at.retain(|_, at| now.since(*at) < again);
        if self.at.contains_key(&what) {
            return false;
        }
        if self.at.len() >= Self::MOST {
            if self.last.is_some_and(|last| now.since(last) < CROWDED) {
                return false;
            }
            let oldest = self.at.iter().min_by_key(|(_, at)| **at).map(|(what, _)| what.clone());
            if let Some(oldest) = oldest {
                self.at.remove(&oldest);
            }
        }
        self.at.insert(what, now);
        self.last = Some(now);
        true
    }
}

/// What was said of those that this node does not talk to.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// The hashes of the names of other clusters.
    clusters: Said<u64>,
}

impl Engine {
    /// A node of another cluster was heard, of which the hash of the name is known.
    pub(super) fn other_cluster(&mut self, address: SocketAddr, cluster: u64) {
        if cluster != self.cluster {
            self.say_other_cluster(address, cluster, None);
        }
    }

    /// A node of another cluster said on a stream what that one is called.
    pub(super) fn other_cluster_named(&mut self, address: SocketAddr, name: &str) {
        let told = (name.len() <= LONGEST_NAME).then(|| name.to_owned());
        self.say_other_cluster(address, wire::cluster_hash(name), told);
    }

    fn say_other_cluster(&mut self, address: SocketAddr, cluster: u64, name: Option<String>) {
        if self.strangers.clusters.is_due(self.now.instant, cluster, AGAIN) {
            self.event(Event::OtherCluster { address, name });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_an_hour_and_no_more_than_64_are_remembered() {
        let (mut said, start) = (Said::default(), Instant::ZERO + AGAIN);
        assert!(said.is_due(start, 0_u64, AGAIN));
        assert!(!said.is_due(start + AGAIN - CROWDED, 0, AGAIN));
        assert!(said.is_due(start + AGAIN, 0, AGAIN));
        let later = start + AGAIN + CROWDED;
        let due = (1..1_000).filter(|what| said.is_due(later, *what, AGAIN)).count();
        assert_eq!((due, said.at.len()), (63, 64));
        assert!(said.is_due(later + CROWDED, 1_000, AGAIN), "the oldest makes room");
        assert!(!said.is_due(later + CROWDED, 1_001, AGAIN), "not for everybody at once");
        assert_eq!(said.at.len(), 64);
        assert!(!said.at.contains_key(&0));
    }
}
