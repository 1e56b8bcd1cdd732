//! Whole engines under hostile schedules: hurt the cluster, stop hurting it, and demand that it heals.
//!
//! ```text
//!   profile ──▶ world: 30 to 60 virtual seconds of harm ──▶ mended ──▶ healed in time? ──▶ oracle
//!                 └── watchdog looks on all the time                    views, digests, roles, phases
//! ```
//!
//! Every run follows from its seed. `UNISONO_SEEDS=1000 UNISONO_FIRST_SEED=5000 cargo test --test all chaos::` runs more
//! of them than usual; `UNISONO_TELL=1` makes a run tell what it does. What a failing seed taught is a scenario of its
//! own, next to this.

mod oracle;
mod profile;
pub(crate) mod scenarios;
mod watchdog;
pub(crate) mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Runs seeds; each failing one is named, with the command that repeats it.
fn sweep(test: &str, usual: u64, world: impl Fn(u64) -> World) {
    let first = number("UNISONO_FIRST_SEED").unwrap_or(0);
    let seeds = number("UNISONO_SEEDS").unwrap_or(usual);
    let mut failed = Vec::new();
    let mut slowest = (std::time::Duration::ZERO, first);
    let (mut writes, mut collected, mut resurrected) = (0, 0, 0);
    for seed in first..first + seeds {
        match catch_unwind(AssertUnwindSafe(|| world(seed).run())) {
            Ok(Ok(outcome)) => {
                slowest = slowest.max((outcome.healed_after, seed));
                writes += outcome.writes;
                collected += outcome.collected;
                resurrected += outcome.resurrected;
            }
            failure => {
                let why = failure.map_or_else(|_| "panicked, see above".to_owned(), |outcome| outcome.unwrap_err());
                println!(
                    "seed {seed}: {why}\nUNISONO_FIRST_SEED={seed} UNISONO_SEEDS=1 UNISONO_TELL=1 \
                     cargo test --test all chaos::{test} -- --nocapture"
                );
                failed.push(seed);
            }
        }
    }
    println!(
        "{test}: {seeds} seeds, {writes} writes, {collected} collected, {resurrected} came back, \
         healed at the latest after {slowest:?}"
    );
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

#[test]
fn a_hurt_cluster_heals() {
    sweep("a_hurt_cluster_heals", 30, |seed| {
        World::broken(seed, 3 + usize::try_from(seed % 4).unwrap(), false, &crate::broken())
    });
}

#[test]
fn halves_that_struck_each_other_meet_again() {
    sweep("halves_that_struck_each_other_meet_again", 20, |seed| {
        World::broken(seed, 3 + usize::try_from(seed % 4).unwrap(), true, &crate::broken())
    });
}

#[test]
fn clusters_around_the_size_where_eager_rows_are_passed_on_heal() {
    sweep("clusters_around_the_size_where_eager_rows_are_passed_on_heal", 3, |seed| {
        World::new(seed, [17, 16, 18, 24, 32, 40][usize::try_from(seed % 6).unwrap()], false)
    });
}
