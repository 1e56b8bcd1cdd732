//! A simulated cluster on virtual time: the same engines as in production, on a network that does as it is told.
//!
//! ```text
//!   your test ──▶ TestCluster   whole nodes, with your roles and handles, on tokio's paused clock
//!                      │
//!   Trial ─────────────┼──▶ Simulation   one engine per host, one queue of what happens when, one seed
//!     ├ plan, harm     │        ├ Network   rules that compose, and heal when their guards are dropped
//!     ├ story          │        ├ faults    kill, unplug, pause, restart, wrong clocks
//!     └ invariants     │        └ Trace     what happened to each engine, to be replayed without all this
//! ```
//!
//! Three ways in: [`TestCluster`] tests an application, with its own roles and through its own handles; its page is a
//! tutorial. [`Simulation`] is for stories of single nodes, told step by step. [`Trial`] hurts a cluster as its seed says,
//! stops, demands that it heals, and judges all the while; `examples/simulate` runs them by the thousand.
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
pub use simulation::{Habits, Simulation, Timeout};
pub use trace::{Diverged, Record, Step, Trace, TraceError, in_words};
pub use trial::{Plan, Report, Trial, Violation};
