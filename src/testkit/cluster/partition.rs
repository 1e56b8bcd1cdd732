//! A network that is split, until a guard is dropped.

use std::fmt;
use std::sync::{Arc, Weak};

use super::TestCluster;
use super::stage::{Shared, Stage};
use crate::testkit::{Guard, NodeIndex};

/// Keeps the network of a [`TestCluster`] split; dropped, it heals.
#[must_use = "the network heals when this is dropped; bind it to a name, and `heal` it when it has done its work"]
pub struct Partition {
    shared: Weak<Shared>,
    cuts: Vec<Guard>,
}

impl Partition {
    /// Heals the network now, as dropping this does.
    pub fn heal(self) {}
}

impl Drop for Partition {
    fn drop(&mut self) {
        let cuts = std::mem::take(&mut self.cuts);
        // Outside the runtime, or while a panic unwinds, there is no test any more for which the moment would matter.
        let in_test = !std::thread::panicking() && tokio::runtime::Handle::try_current().is_ok();
        match self.shared.upgrade().filter(|shared| in_test && shared.broken.get().is_none()) {
            Some(shared) => shared.with(|_| drop(cuts)),
            None => drop(cuts),
        }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("cuts", &self.cuts).finish()
    }
}

impl TestCluster {
    /// Splits the network into these sides, silently: nothing gets through between them any more, and nobody is told. Nodes
    /// that are not named are one more side; one that is started later is on no side and sees all. It lasts until the guard
    /// is dropped or [`TestCluster::heal`].
    ///
    /// ```
    /// # use unisono::testkit::TestCluster;
    /// # TestCluster::run(1, |cluster| async move {
    /// let [larry, gary, mary] = cluster.start_all(["larry", "gary", "mary"], |builder| builder).await.unwrap();
    /// cluster.settle().await.unwrap();
    ///
    /// let partition = cluster.partition(&[&["larry"], &["gary", "mary"]]);
    /// cluster.settle().await.unwrap();
    /// assert_eq!(larry.snapshot().view(), ["larry"]);
    ///
    /// partition.heal();
    /// cluster.assert_converged().await;
    /// # let _ = (gary, mary);
    /// # });
    /// ```
    ///
    /// Cuts of other shapes, such as one way only, are rules of the [`network`](TestCluster::network).
    ///
    /// # Panics
    ///
    /// If a node was never started, or is on two sides.
    pub fn partition(&self, sides: &[&[&str]]) -> Partition {
        let mut named: Vec<&str> = sides.iter().copied().flatten().copied().collect();
        named.sort_unstable();
        if let Some(twice) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            panic!("{:?} cannot be on two sides of a partition", twice[0]);
        }
        let mut sides: Vec<Vec<NodeIndex>> =
            sides.iter().map(|side| side.iter().map(|name| self.index(name)).collect()).collect();
        let cuts = self.shared.with(|stage| {
            let others = stage.places.iter().filter(|(name, _)| named.binary_search(&name.as_str()).is_err());
            sides.push(others.map(|(_, place)| place.index).collect());
            cut(stage, &sides)
        });
        Partition { shared: Arc::downgrade(&self.shared), cuts }
    }

    /// Ends all partitions and all other rules of the network, whatever becomes of their guards.
    pub fn heal(&self) {
        self.shared.with(|stage| stage.simulation.network().heal());
    }
}

fn cut(stage: &Stage, sides: &[Vec<NodeIndex>]) -> Vec<Guard> {
    let network = stage.simulation.network();
    let pairs = sides.iter().enumerate().flat_map(|(at, one)| sides[at + 1..].iter().map(move |other| (one, other)));
    pairs
        .filter(|(one, other)| !one.is_empty() && !other.is_empty())
        .map(|(one, other)| network.cut(one, other))
        .collect()
}
