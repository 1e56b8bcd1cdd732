//! Whole engines under hostile schedules: hurt the cluster, stop hurting it, and demand that it heals.
//!
//! Every trial follows from its seed. `UNISONO_SEEDS=1000 UNISONO_FIRST_SEED=5000 cargo test --test all trials::` runs more
//! of them than usual, and other ones; many more run faster with `cargo run --release --example simulate`. What a failing
//! seed taught is a scenario of its own, see `scenarios`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use unisono::testkit::{Plan, Trial};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Runs seeds; each failing one is told, with the command that repeats it.
fn sweep(usual: u64, trial: impl Fn(u64) -> (Trial, usize, Option<Plan>)) {
    let first = number("UNISONO_FIRST_SEED").unwrap_or(0);
    let seeds = number("UNISONO_SEEDS").unwrap_or(usual);
    let mut failed = Vec::new();
    let mut slowest = (Duration::ZERO, first);
    let (mut writes, mut collected) = (0, 0);
    for seed in first..first + seeds {
        let (trial, nodes, plan) = trial(seed);
        match catch_unwind(AssertUnwindSafe(|| trial.run())) {
            Ok(Ok(report)) => {
                slowest = slowest.max((report.healed_after, seed));
                writes += report.writes;
                collected += report.collected;
            }
            failure => {
                let why = failure.map_or_else(|_| "panicked, see above".to_owned(), |trial| trial.unwrap_err().story());
                let plan = plan.map(|plan| format!(" --plan {}", plan.name())).unwrap_or_default();
                println!(
                    "seed {seed}: {why}\n\
                     cargo run --release --example simulate -- --nodes {nodes}{plan} --first {seed} --seeds 1"
                );
                failed.push(seed);
            }
        }
    }
    println!("{seeds} seeds, {writes} writes, {collected} collected, healed at the latest after {slowest:?}");
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

fn sweep_plan(usual: u64, plan: Plan) {
    sweep(usual, |seed| {
        let nodes = 3 + usize::try_from(seed % 4).unwrap();
        (Trial::new(seed).nodes(nodes).plan(plan), nodes, Some(plan))
    });
}

#[test]
fn a_hurt_cluster_heals() {
    sweep_plan(60, Plan::Hurt);
}

#[test]
fn halves_that_evicted_each_other_meet_again() {
    sweep_plan(40, Plan::Evicted);
}

#[test]
fn clocks_that_are_wrong_harm_nothing_but_the_order() {
    sweep_plan(40, Plan::Skewed);
}

#[test]
fn losses_kill_nobody() {
    sweep_plan(60, Plan::Lossy);
}

#[test]
fn islands_that_lived_apart_lose_nothing() {
    sweep_plan(40, Plan::Islands);
}

#[test]
fn clusters_around_the_size_where_eager_rows_are_passed_on_heal() {
    sweep(3, |seed| {
        let nodes = [17, 16, 18, 24, 32, 40][usize::try_from(seed % 6).unwrap()];
        (Trial::new(seed).nodes(nodes), nodes, None)
    });
}

/// Set where this test runs itself: the seed to tell the trace hash of.
const SEED: &str = "UNISONO_TRACE_HASH_OF";

#[test]
fn a_seed_means_the_same_in_another_process() {
    let trace_hash = |seed| Trial::new(seed).nodes(4).run().unwrap().trace_hash;
    if let Some(seed) = number(SEED) {
        println!("the trace hash is {:016x}", trace_hash(seed));
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trials::a_seed_means_the_same_in_another_process", "--nocapture"])
        .env(SEED, "11")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("the trace hash is {:016x}", trace_hash(11))), "{said}");
    assert_ne!(trace_hash(11), trace_hash(12));
}
