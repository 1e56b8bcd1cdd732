//! Stories that have to end well in every seed: told over and over, each time with other delays and names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use unisono::roles::RoleSpec;
use unisono::testkit::{Habits, NodeIndex, NodeOptions, Rng, Simulation};

use crate::progress::{Done, Progress};

/// Which story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    /// A cluster is cut in two halves, each of which runs a role that is wanted once, and heals: then one is left.
    Split,
    /// One of the nodes dies that run twenty roles: what it ran runs again, and nothing else has moved.
    Loss,
    /// One of them leaves in order: what it ran moves, and nothing else.
    Leave,
}

const SECOND: Duration = Duration::from_secs(1);

impl Story {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("split", Self::Split), ("loss", Self::Loss), ("leave", Self::Leave)];

    /// Tells it once for every seed.
    pub(crate) fn run(self, nodes: usize, first: u64, seeds: u64, threads: usize) -> Result<(), String> {
        let next = AtomicU64::new(first);
        let (sender, outcomes) = std::sync::mpsc::channel();
        let mut progress = Progress::new(seeds);
        let mut done = Done::default();
        let mut slowest = Duration::ZERO;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + seeds || sender.send((seed, self.tell(seed, nodes))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (seed, outcome) in outcomes {
                done.seeds += 1;
                match outcome {
                    Ok((healed, elapsed)) => {
                        slowest = slowest.max(healed);
                        done.virtual_time += elapsed;
                    }
                    Err(why) => {
                        next.store(first + seeds, Ordering::Relaxed);
                        return Err(format!("seed {seed}: {why}"));
                    }
                }
                progress.show(done);
            }
            Ok(())
        })?;
        progress.end();
        println!("{}", progress.words(done));
        println!("all was well at the latest after {slowest:?}");
        Ok(())
    }

    /// How long it took until all was well again, and how long all of it.
    fn tell(self, seed: u64, nodes: usize) -> Result<(Duration, Duration), String> {
        let mut rng = Rng::new(seed);
        let names: Vec<String> = if self == Self::Split {
            vec!["one".to_owned()]
        } else {
            (0..20).map(|number| format!("gate-{number}")).collect()
        };
        let habits = Habits { start_ms: *rng.pick(&[0, 100]), stop_ms: *rng.pick(&[0, 200]), fails_percent: 0 };
        let mut simulation = Simulation::new(seed);
        let options = |number| {
            let options = NodeOptions::named(&format!("n{number:02}")).habits(habits);
            names.iter().fold(options, |options, name| options.role(RoleSpec::new(name)))
        };
        let nodes: Vec<NodeIndex> = (0..nodes).map(|number| simulation.add(options(number))).collect();
        let well = |simulation: &Simulation| {
            simulation.all_converged() && names.iter().all(|name| simulation.running(name).len() == 1)
        };
        simulation.run_until(30 * SECOND, well).map_err(|timeout| format!("does not begin: {timeout}"))?;
        simulation.run_for(Duration::from_millis(rng.between(0, 2_000) as u64));
        let took = if self == Self::Split {
            split(&mut simulation, &mut rng, &nodes, well)?
        } else {
            lose(&mut simulation, &mut rng, &nodes, &names, self == Self::Leave)?
        };
        for _ in 0..20 {
            simulation.run_for(Duration::from_millis(100));
            if let Some(name) = names.iter().find(|name| simulation.running(name).len() != 1) {
                return Err(format!("{name:?} runs on {:?} in the end", simulation.running(name)));
            }
        }
        Ok((took, simulation.elapsed()))
    }
}

fn split(
    simulation: &mut Simulation,
    rng: &mut Rng,
    nodes: &[NodeIndex],
    well: impl Fn(&Simulation) -> bool,
) -> Result<Duration, String> {
    let (one, other) = nodes.split_at(nodes.len() / 2);
    let cut = simulation.network().cut(one, other);
    // Also so short that nobody, or only one half, found out.
    simulation.run_for(Duration::from_millis(rng.between(1, 15_000) as u64));
    cut.heal();
    let healed = simulation.run_until(30 * SECOND, Simulation::all_converged);
    let healed = healed.map_err(|timeout| format!("does not heal: {timeout}"))?;
    let settled = simulation
        .run_until(2 * SECOND, well)
        .map_err(|_| format!("{:?} run it after all have converged", simulation.running("one")))?;
    Ok(healed + settled)
}

fn lose(
    simulation: &mut Simulation,
    rng: &mut Rng,
    nodes: &[NodeIndex],
    names: &[String],
    leaves: bool,
) -> Result<Duration, String> {
    let lost = *rng.pick(nodes);
    let others: Vec<NodeIndex> = nodes.iter().copied().filter(|node| *node != lost).collect();
    let before: Vec<_> = names.iter().map(|name| simulation.running(name)).collect();
    if leaves {
        simulation.leave(lost, 10 * SECOND);
    } else {
        simulation.kill(lost);
    }
    let well = |simulation: &Simulation| {
        let gone = simulation.alive() == others && simulation.converged(&others);
        gone && names.iter().all(|name| simulation.running(name).len() == 1)
    };
    let took = simulation.run_until(30 * SECOND, well).map_err(|timeout| format!("is not well again: {timeout}"))?;
    for (name, before) in names.iter().zip(before) {
        let now = simulation.running(name);
        if !before.contains(&lost) && now != before {
            return Err(format!("{name:?} moved from {before:?} to {now:?}, and {lost:?} was lost"));
        }
    }
    Ok(took)
}
