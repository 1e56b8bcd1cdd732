//! The rules and their broken variants: a test that no broken variant fails is worth nothing.
//!
//! | variant         | what is broken                                                          | broken where |
//! |-----------------|-------------------------------------------------------------------------|--------------|
//! | `chunk-context` | a part of a session claims the responder's whole context (rule 4)       | here         |
//! | `reuse-id`      | who lost its memory comes back under its former id                      | here         |
//! | `early-eager`   | a joiner takes eager rows before its first pull is complete             | here         |
//! | `bare-session`  | a session does not begin with the responder's roster                    | here         |
//! | `age-gc`        | tombstones are collected by age (rule 6)                                | in the store |
//! | `dot-gc`        | tombstones are collected once everybody saw their dot, without promises | in the store |
//! | `stale-reports` | reports made under another roster count (rule 6)                        | in the store |
//!
//! All but two are caught in every run of the tests. `stale-reports` takes thousands of seeds (first: 1683) and is run by
//! hand. `early-eager` was not caught in 2,500 seeds; the rule is kept because the argument for it stands: an outdated
//! row may reach a joiner before the context that would tell it so.

use std::panic::{AssertUnwindSafe, catch_unwind};

use std::time::Duration;

use unisono::id::ReplicaId;
use unisono::store::{Sabotage, StoreConfig};

use super::Rng;
use super::counts::Counts;
use super::profile::Profile;
use super::world::World;

/// The rules, or which of them is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    Rules,
    ChunkContext,
    ReuseId,
    EarlyEager,
    BareSession,
    AgeGc,
    DotGc,
    StaleReports,
}

impl Variant {
    pub(crate) const ALL: [Self; 8] = [
        Self::Rules,
        Self::ChunkContext,
        Self::ReuseId,
        Self::EarlyEager,
        Self::BareSession,
        Self::AgeGc,
        Self::DotGc,
        Self::StaleReports,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::ChunkContext => "chunk-context",
            Self::ReuseId => "reuse-id",
            Self::EarlyEager => "early-eager",
            Self::BareSession => "bare-session",
            Self::AgeGc => "age-gc",
            Self::DotGc => "dot-gc",
            Self::StaleReports => "stale-reports",
        }
    }

    pub(crate) fn store_config(self, replica: ReplicaId) -> StoreConfig {
        let mut config = StoreConfig::new(replica, 7);
        config.sabotage = match self {
            Self::AgeGc => Some(Sabotage::AgeGc { age: Duration::from_millis(300) }),
            Self::DotGc => Some(Sabotage::DotGc),
            Self::StaleReports => Some(Sabotage::StaleReports),
            _ => None,
        };
        config
    }
}

/// One run: chaos, then healing, then the checks. Deterministic.
pub(crate) fn run(seed: u64, variant: Variant) -> Result<Counts, String> {
    let mut rng = Rng::new(seed);
    let profile = Profile::new(&mut rng);
    run_with(rng, variant, profile)
}

fn run_with(rng: Rng, variant: Variant, profile: Profile) -> Result<Counts, String> {
    let nodes = profile.nodes;
    let mut world = World::new(rng, variant, profile, &[nodes]);
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
pub(crate) fn sweep(variant: Variant, first: u64, seeds: u64, most_failures: usize) -> Summary {
    let mut summary = Summary::default();
    for seed in first..first + seeds {
        summary.seeds += 1;
        // A broken rule may also show as a broken assertion of the store.
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, variant)));
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

/// The command that repeats one run.
fn repeat(seed: u64, variant: Variant) -> String {
    format!(
        "UNISONO_VARIANT={} UNISONO_FIRST_SEED={seed} UNISONO_SEEDS=1 \
         cargo test --features testkit --test all schedule::variants::by_hand -- --nocapture",
        variant.name()
    )
}

fn rules_hold(first: u64, seeds: u64) {
    let summary = sweep(Variant::Rules, first, seeds, 1);
    if let Some((seed, why)) = summary.failures.first() {
        panic!("seed {seed}: {why}\n{}", repeat(*seed, Variant::Rules));
    }
    let Counts { writes, collected, crashes, interrupted, refused, differing_rosters, .. } = summary.total;
    println!("{:?}", summary.total);
    // All of it must really have happened, above all collection, or the rules were not put to the test.
    let seeds = usize::try_from(seeds).expect("a few thousand");
    assert!(summary.seeds_that_collected * 10 >= seeds * 8, "only {} seeds collected", summary.seeds_that_collected);
    assert!(collected >= 12 * seeds, "{collected} tombstones collected");
    assert!(writes >= 50 * seeds && crashes >= seeds && interrupted >= 3 * seeds, "{:?}", summary.total);
    assert!(refused >= seeds && differing_rosters >= 100 * seeds, "{:?}", summary.total);
}

fn caught(variant: Variant, within_seeds: u64) {
    let summary = sweep(variant, 0, within_seeds, 1);
    let (seed, why) = summary.failures.first().unwrap_or_else(|| panic!("{} was not caught", variant.name()));
    println!("{} is caught by seed {seed}: {why}", variant.name());
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
fn a_partial_transfer_that_claims_everything_is_caught() {
    caught(Variant::ChunkContext, 20);
}

#[test]
fn a_reused_replica_id_is_caught() {
    caught(Variant::ReuseId, 20);
}

#[test]
fn a_session_without_the_roster_is_caught() {
    caught(Variant::BareSession, 200);
}

#[test]
fn collection_by_age_is_caught() {
    caught(Variant::AgeGc, 100);
}

#[test]
fn collection_by_dot_without_promises_is_caught() {
    caught(Variant::DotGc, 500);
}

#[test]
fn clocks_that_are_hours_apart_change_who_wins_and_nothing_else() {
    let mut failures = Vec::new();
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut profile = Profile::new(&mut rng);
        profile.skew_ms = 2 * 3_600_000;
        if let Err(why) = run_with(rng, Variant::Rules, profile) {
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
    let variant = std::env::var("UNISONO_VARIANT").unwrap_or_else(|_| "rules".to_owned());
    let variant = Variant::ALL.into_iter().find(|v| v.name() == variant).expect("a variant of the list above");
    let (first, seeds) = (number("UNISONO_FIRST_SEED").unwrap_or(0), number("UNISONO_SEEDS").unwrap_or(1));
    let summary = sweep(variant, first, seeds, 5);
    println!("{}: {} seeds, {:?}", variant.name(), summary.seeds, summary.total);
    for (seed, why) in &summary.failures {
        println!("  seed {seed}: {why}\n    {}", repeat(*seed, variant));
    }
    if variant == Variant::Rules {
        assert!(summary.failures.is_empty(), "the rules do not hold");
    }
}
