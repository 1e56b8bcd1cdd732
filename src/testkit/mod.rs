//! A simulated cluster on virtual time: the same engines as in production, on a network that does as it is told.
//!
//! ```
//! use std::time::Duration;
//! use unisono::testkit::{NodeOptions, Simulation};
//!
//! let mut simulation = Simulation::new(42);
//! let [larry, gary] = [simulation.add(NodeOptions::named("larry")), simulation.add(NodeOptions::named("gary"))];
//! simulation.run_until(Duration::from_secs(5), |cluster| cluster.all_converged()).unwrap();
//!
//! let cut = simulation.network().cut(&[larry], &[gary]);
//! simulation.run_until(Duration::from_secs(10), |cluster| cluster.view(larry).len() == 1).unwrap();
//! cut.heal();
//! simulation.run_until(Duration::from_secs(10), |cluster| cluster.view(larry).len() == 2).unwrap();
//! ```
//!
//! Nothing sleeps, nothing is random but by the seed: a run of a minute takes milliseconds and repeats exactly.
//!
//! To test an application, with its own roles and through its own handles, use [`TestCluster`]: it puts whole nodes on
//! this network. Its page is a tutorial.

mod cluster;
mod host;
mod invariants;
mod network;
mod rng;
mod simulation;
mod tenant;
mod trace;
mod trial;

pub use cluster::{Differences, Partition, TestCluster, Unsettled};
pub use host::{NodeIndex, NodeOptions};
pub use network::{Delay, Guard, Network, Rule};
pub use rng::Rng;
pub use simulation::{Simulation, Timeout};
pub use trace::{Diverged, Record, Step, Trace, TraceError, in_words};
pub use trial::{Plan, Report, Trial, Violation};
