//! Agreement does not come, since one member is silent and not found Down for long: what is missing is started after a
//! while, and nothing is stopped.

use std::time::Duration;

use unisono::engine::{Event, Timing};
use unisono::roles::RoleSpec;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation};

const SECOND: Duration = Duration::from_secs(1);

/// How often roles were stopped at a node.
fn stopped_at(simulation: &Simulation, node: NodeIndex) -> usize {
    simulation.events(node).iter().filter(|event| matches!(event, Event::RoleStopped { .. })).count()
}

/// The same at all that run.
fn stops(simulation: &Simulation) -> usize {
    simulation.alive().into_iter().map(|node| stopped_at(simulation, node)).sum()
}

#[test]
fn without_agreement_what_is_missing_starts_after_a_while_and_nothing_stops() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let mut timing = Timing::lan();
        timing.membership.suspicion = 60 * SECOND;
        let options = |name: &str| NodeOptions::named(name).timing(timing.clone());
        let roles = |name: &str| options(name).role(RoleSpec::new("one")).role(RoleSpec::new("two").count(2));
        for name in ["n0", "n1", "n2", "n3"] {
            simulation.add(roles(name));
        }
        // It hosts nothing, so that nobody waits for it to start something.
        let silent = simulation.add(options("n5"));
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
        let host = simulation.running("one")[0];
        let before = stops(&simulation) - stopped_at(&simulation, host);
        simulation.unplug(silent);
        // That it is gone is proved at once, since its host refuses.
        simulation.kill(host);
        simulation.run_for(SECOND);
        // Asks for fewer than run.
        let late = simulation.add(roles("n4").role(RoleSpec::new("two").count(1)));
        let two = simulation.running("two");
        simulation.run_for(7 * SECOND);
        assert!(!simulation.status(late).unwrap().agreed, "seed {seed}");
        assert_eq!(simulation.running("one"), [], "seed {seed}: nobody is impatient yet");
        simulation.run_for(5 * SECOND);
        assert_eq!(simulation.running("one").len(), 1, "seed {seed}: it is missing, and nobody agrees for long");
        assert!(two.iter().all(|node| simulation.running("two").contains(node)), "seed {seed}");
        assert_eq!(stops(&simulation), before, "seed {seed}: stopped without agreement");
        simulation.restart(silent);
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
        simulation.run_for(2 * SECOND);
        assert_eq!((simulation.running("one").len(), simulation.running("two").len()), (1, 1), "seed {seed}");
    }
}
