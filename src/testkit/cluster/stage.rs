//! What a [`TestCluster`](super::TestCluster), its guards and its conductor share: the simulation, and who lives in it.
//!
//! Whoever touches it lets the simulation catch up with tokio's clock first, so that all that follows happens now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use super::application::Application;
use crate::cluster::Cluster;
use crate::cluster::builder::SimulatedHost;
use crate::cluster::plan::Plan;
use crate::driver::clock::SimulatedWall;
use crate::driver::{Clock, Latest};
use crate::testkit::simulation::WALL_START_MS;
use crate::testkit::{NodeIndex, NodeOptions, Simulation};
use crate::time::Instant;

/// The stage, and what its conductor died of, if it did.
#[derive(Debug)]
pub(super) struct Shared {
    stage: Mutex<Stage>,
    pub(super) broken: Latest<Option<String>>,
    /// The virtual time that the test asked for.
    pub(super) advanced: Latest<Duration>,
}

/// A simulation that runs on tokio's clock.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) simulation: Simulation,
    begin: tokio::time::Instant,
    pub(super) places: BTreeMap<String, Place>,
    conductor: Option<Waker>,
}

/// A host of the simulation, and the process on it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) index: NodeIndex,
    pub(super) wall: SimulatedWall,
    /// The process, whether it lives or not.
    pub(super) node: Cluster,
    /// Keeps the process alive, until it is taken away.
    pub(super) keep: Option<Cluster>,
}

impl Shared {
    pub(super) fn new(seed: u64) -> Self {
        let stage = Stage {
            simulation: Simulation::new(seed),
            begin: tokio::time::Instant::now(),
            places: BTreeMap::new(),
            conductor: None,
        };
        Self { stage: Mutex::new(stage), broken: Latest::new(None), advanced: Latest::new(Duration::ZERO) }
    }

    /// Waits until the simulation is broken, and says by what.
    pub(super) async fn when_broken(&self) -> String {
        self.broken.reader().wait_for(Option::is_some).await.flatten().unwrap_or_default()
    }

    /// Does something now. To be called within the runtime, since it may start role tasks.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Stage) -> R) -> R {
        if let Some(why) = self.broken.get() {
            panic!("the simulation of this cluster broke before: {why}");
        }
        let mut stage = self.lock();
        stage.catch_up();
        let result = act(&mut stage);
        if let Some(conductor) = &stage.conductor {
            conductor.wake_by_ref();
        }
        result
    }

    /// Lets everything happen that is due, and hears what applications do; when there is more to do. It will be called
    /// again for whatever they do next.
    pub(super) fn conduct(&self, context: &mut Context<'_>) -> Option<tokio::time::Instant> {
        let mut stage = self.lock();
        stage.conductor = Some(context.waker().clone());
        stage.catch_up();
        while stage.simulation.poll_tenants(context) {
            stage.catch_up();
        }
        stage.simulation.next_event().map(|next| stage.begin + next.since(Instant::ZERO))
    }

    /// The simulation panicked: nothing of it can be relied on, and nobody is to wait for it.
    pub(super) fn give_up(&self, why: String) {
        let mut stage = self.lock();
        let seed = stage.simulation.seed();
        let simulation = std::mem::replace(&mut stage.simulation, Simulation::new(seed));
        let places = std::mem::take(&mut stage.places);
        drop(stage);
        self.broken.set(Some(why));
        drop((simulation, places));
    }

    /// A panic of the simulation is dealt with by whoever saw it.
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    fn catch_up(&mut self) {
        let elapsed = self.begin.elapsed();
        self.simulation.run_to(Instant::ZERO + elapsed);
    }

    /// The place of a node that runs.
    pub(super) fn running(&self, name: &str) -> Option<&Place> {
        self.places.get(name).filter(|place| self.simulation.engine(place.index).is_some())
    }

    /// The names of all nodes that run, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.places.keys().map(String::as_str).filter(|name| self.running(name).is_some()).collect()
    }

    /// Starts a process; `None` if one runs there already.
    fn start(&mut self, name: &str, plan: Plan) -> Option<Cluster> {
        if self.running(name).is_some() {
            return None;
        }
        let Plan { cluster, timing, kinds, labels, roles, runner, stop_grace, handle, .. } = plan;
        let there = self.places.get(name).map(|place| (place.index, place.wall.clone()));
        let skew_ms = there.as_ref().map_or(0, |(index, _)| self.simulation.hosts[index.0].options.skew_ms);
        // The plan was checked with this name.
        let options = NodeOptions { cluster, timing, kinds, labels, roles, skew_ms, ..NodeOptions::named(name) };
        let (index, wall) = match there {
            Some((index, wall)) => {
                self.simulation.hosts[index.0].options = options;
                self.simulation.restart(index);
                (index, wall)
            }
            None => (self.simulation.add(options), SimulatedWall::new(self.begin, WALL_START_MS)),
        };
        let booted = self.simulation.hosts[index.0].booted;
        let clock = Clock::simulated(self.begin + booted.since(Instant::ZERO), wall.clone());
        let roles = Application::roles(runner, stop_grace);
        let cluster = Application::move_in(&mut self.simulation.hosts[index.0], roles, handle, clock);
        self.places
            .insert(name.to_owned(), Place { index, wall, node: cluster.uncounted(), keep: Some(cluster.clone()) });
        Some(cluster)
    }
}

/// A host for one process, as a builder sees it.
pub(super) struct Berth {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
}

impl SimulatedHost for Berth {
    fn node(&self) -> &str {
        &self.name
    }

    fn start(&self, plan: Plan) -> Cluster {
        let started = self.shared.with(|stage| stage.start(&self.name, plan));
        started.unwrap_or_else(|| panic!("{:?} runs already; crash it first, or restart it", self.name))
    }
}

#[cfg(test)]
mod tests {
    use crate::testkit::TestCluster;

    #[test]
    fn nobody_waits_for_a_simulation_that_broke() {
        let run = || {
            TestCluster::run(1, |cluster| async move {
                let larry = cluster.start("larry", |builder| builder).await.unwrap();
                let shared = std::sync::Arc::clone(&cluster.shared);
                tokio::spawn(async move { shared.give_up("out of paper".to_owned()) });
                let _ = larry.until(TestCluster::PATIENCE, |_| false).await;
                std::future::pending::<()>().await;
            });
        };
        let panic = std::panic::catch_unwind(run).expect_err("it waits");
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        assert_eq!(text, "seed 1: the simulation broke: out of paper");
    }
}
