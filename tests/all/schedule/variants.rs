//! The rules hold over thousands of seeds; that each of their broken variants is caught is shown by the canaries.

use std::panic::{AssertUnwindSafe, catch_unwind};

use unisono::sabotage::Sabotage;

use super::Rng;
use super::counts::Counts;
use super::profile::Profile;
use super::world::World;

/// One run: chaos, then healing, then the checks. Deterministic.
pub(crate) fn run(seed: u64, sabotage: Sabotage) -> Result<Counts, String> {
    let mut rng = Rng::new(seed);
    let profile = Profile::new(&mut rng);
    run_with(rng, sabotage, profile)
}

fn run_with(rng: Rng, sabotage: Sabotage, profile: Profile) -> Result<Counts, String> {
    let nodes = profile.nodes;
    let mut world = World::new(rng, sabotage, profile, &[nodes]);
    world.run(STEPS)?;
    world.profile.calm = true;
    world.run(CALM_STEPS)?;
    world.heal_and_check()?;
    Ok(world.counts)
}

const STEPS: usize = 5_000;
const CALM_STEPS: usize = 1_000;

/// What came of many runs.
#[derive(Default, Debug)]
pub(crate) struct Summary {
    pub(crate) seeds: usize,
    pub(crate) total: Counts,
    /// Seeds in which at least one tombstone was collected during the chaos and after it.
    pub(crate) seeds_that_collected: usize,
    pub(crate) failures: Vec<(u64, String)>,
}

/// Runs `seeds` seeds from `first` on, up to `most_failures` failing ones.
pub(crate) fn sweep(sabotage: Sabotage, first: u64, seeds: u64, most_failures: usize) -> Summary {
    let mut summary = Summary::default();
    for seed in first..first + seeds {
        summary.seeds += 1;
        // A broken rule may also show as a broken assertion of the store.
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, sabotage)));
        match outcome.unwrap_or_else(|panic| Err(words(&*panic))) {
            Ok(counts) => {
                summary.total = summary.total + counts;
                summary.seeds_that_collected += usize::from(counts.collected > 0);
            }
            Err(why) => {
                summary.failures.push((seed, why));
                if summary.failures.len() >= most_failures {
                    break;
                }
            }
        }
    }
    summary
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn rules_hold(first: u64, seeds: u64) {
    let summary = sweep(Sabotage::default(), first, seeds, 1);
    if let Some((seed, why)) = summary.failures.first() {
        panic!("seed {seed}: {why}\nUNISONO_FIRST_SEED={seed} cargo test --test all schedule::variants::by_hand");
    }
    let Counts { writes, collected, expired, crashes, interrupted, refused, differing_rosters, .. } = summary.total;
    println!("{:?}", summary.total);
    // All of it must really have happened, above all collection, or the rules were not put to the test.
    let seeds = usize::try_from(seeds).expect("a few thousand");
    assert!(summary.seeds_that_collected * 10 >= seeds * 8, "only {} seeds collected", summary.seeds_that_collected);
    assert!(collected >= 12 * seeds, "{collected} tombstones collected");
    assert!(expired >= 12 * seeds, "{expired} rows ended");
    assert!(writes >= 50 * seeds && crashes >= seeds && interrupted >= 3 * seeds, "{:?}", summary.total);
    assert!(refused >= seeds && differing_rosters >= 100 * seeds, "{:?}", summary.total);
}

#[test]
fn the_rules_hold_on_the_first_thousand_seeds() {
    rules_hold(0, 1_000);
}

#[test]
fn the_rules_hold_on_the_second_thousand_seeds() {
    rules_hold(1_000, 1_000);
}

#[test]
fn clocks_that_are_hours_apart_change_who_wins_and_nothing_else() {
    let mut failures = Vec::new();
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut profile = Profile::new(&mut rng);
        profile.skew_ms = 2 * 3_600_000;
        if let Err(why) = run_with(rng, Sabotage::default(), profile) {
            failures.push((seed, why));
        }
    }
    assert!(failures.is_empty(), "{} of 500 seeds: {:?}", failures.len(), failures.first());
}

/// Runs what the environment asks for; without `UNISONO_VARIANT`, a single seed of the rules.
///
/// ```text
/// UNISONO_VARIANT=stale-reports UNISONO_SEEDS=50000 [UNISONO_FIRST_SEED=…] \
///     cargo test --features testkit --test all schedule::variants::by_hand -- --nocapture
/// ```
#[test]
fn by_hand() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let broken = crate::broken();
    let sabotage = broken.iter().fold(Sabotage::default(), |all, rule| all.and(*rule));
    let (first, seeds) = (number("UNISONO_FIRST_SEED").unwrap_or(0), number("UNISONO_SEEDS").unwrap_or(1));
    let summary = sweep(sabotage, first, seeds, 5);
    println!("{broken:?}: {} seeds, {:?}", summary.seeds, summary.total);
    for (seed, why) in &summary.failures {
        println!("  seed {seed}: {why}");
    }
    assert!(!broken.is_empty() || summary.failures.is_empty(), "the rules do not hold");
}
