//! What a test does to the nodes of its cluster.

use super::stage::{Place, Stage};
use super::{Setup, TestCluster};
use crate::cluster::{Cluster, StartError};
use crate::testkit::{NodeIndex, Simulation};

impl TestCluster {
    /// Ends the process of a node at once, as `kill -9` does: its role tasks are dropped at their next await, its host closes
    /// the streams, which the others notice in milliseconds. All handles to it are gone.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn crash(&self, name: &str) {
        self.end(name, Simulation::kill);
    }

    /// Pulls the plug of a host: its process is gone, and nobody hears of that before a timeout. Starting a node there
    /// again plugs it in.
    ///
    /// # Panics
    ///
    /// If no node runs there.
    pub fn unplug(&self, name: &str) {
        self.end(name, Simulation::unplug);
    }

    fn end(&self, name: &str, how: fn(&mut Simulation, NodeIndex)) {
        let ended = self.on(name, |stage, index| {
            how(&mut stage.simulation, index);
            stage.places.get_mut(name).map(|place| (place.node.clone(), place.keep.take()))
        });
        if let Some((node, _keep)) = ended {
            node.stop();
        }
    }

    /// Starts a new process on the host of a node, with the set-up that [`TestCluster::start`] was given: another replica
    /// id, nothing remembered; its tables come from the other nodes. If a process runs there, it crashes first.
    ///
    /// # Errors
    ///
    /// As [`TestCluster::start`].
    ///
    /// # Panics
    ///
    /// If it was never started by [`TestCluster::start`] or [`TestCluster::start_all`].
    pub async fn restart(&self, name: &str) -> Result<Cluster, StartError> {
        let setup: Option<Setup> = self.setups.borrow().get(name).cloned();
        let setup = setup.unwrap_or_else(|| panic!("no set-up of {name:?} is known; `start` it"));
        if self.shared.with(|stage| stage.running(name).is_some()) {
            self.crash(name);
        }
        setup(self.builder(name)).start().await
    }

    /// Takes the handle to a node that the test cluster keeps. From then on the node lives as long as the application's
    /// handles do, as in production: dropping the last one is a crash.
    ///
    /// # Panics
    ///
    /// If it does not run, or was released before.
    pub fn release(&self, name: &str) -> Cluster {
        let keep = self.on(name, |stage, _| stage.places.get_mut(name).and_then(|place| place.keep.take()));
        keep.unwrap_or_else(|| panic!("{name:?} was released before: its handles are yours"))
    }

    /// Lets a node stand still, as a starved or suspended process does: nothing that reaches it is looked at. The
    /// application's own tasks on it go on, and do not see anything new.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn pause(&self, name: &str) {
        self.on(name, |stage, index| stage.simulation.pause(index));
    }

    /// Lets a node go on that stood still.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn resume(&self, name: &str) {
        self.on(name, |stage, index| stage.simulation.resume(index));
    }

    /// Sets the wall clock of a node's host so many milliseconds ahead of true time, or behind.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn set_skew_ms(&self, name: &str, skew_ms: i64) {
        self.on(name, |stage, index| {
            stage.simulation.set_skew_ms(index, skew_ms);
            if let Some(Place { wall, .. }) = stage.places.get(name) {
                wall.set_skew_ms(skew_ms);
            }
        });
    }

    /// Does something to a node that runs.
    #[track_caller]
    fn on<R>(&self, name: &str, act: impl FnOnce(&mut Stage, NodeIndex) -> R) -> R {
        let done = self.shared.with(|stage| {
            let index = stage.running(name)?.index;
            Some(act(stage, index))
        });
        done.unwrap_or_else(|| self.no_such(name))
    }
}
