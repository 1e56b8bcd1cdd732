//! The checkers are checked: every rule is broken on purpose, and something must notice within a minute.
//!
//! ```text
//!   Rule ──▶ a workload, with all nodes breaking it ──▶ complaint of the invariant that is meant to catch it
//!     └────▶ the same workload with nothing broken ───▶ no complaint
//! ```
//!
//! A workload is a schedule over seeds, of the map alone or of whole engines, or a story written for the rule where
//! schedules would take too long to come across it. `UNISONO_VARIANT=dot-gc cargo test --test all schedule::variants::by_hand`
//! runs the schedules of the map with a rule broken.

mod calm;
mod departed;
mod placement;
mod stories;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use unisono::sabotage::{Rule, Sabotage};
use unisono::testkit::{Plan, Trial};

use crate::roles::lower_revision_came_later;
use crate::scenarios::claim_given_up;
use crate::schedule;

/// What is run with a rule broken.
#[derive(Clone, Copy)]
enum Workload {
    /// The map alone under hostile schedules, from this seed on.
    Map(u64),
    /// Whole engines under hostile schedules of a kind.
    Engines(Plan),
    /// A story, told with several seeds.
    Story(fn(u64, &[Rule]) -> Result<(), String>),
}

/// A rule, those that must be broken along with it since they would make good for it, the workload, and what the
/// invariant says that catches it.
struct Canary {
    rule: Rule,
    with: &'static [Rule],
    workload: Workload,
    says: &'static str,
}

const fn canary(rule: Rule, workload: Workload, says: &'static str) -> Canary {
    Canary { rule, with: &[], workload, says }
}

const ISLANDS: Workload = Workload::Story(stories::islands);

const CANARIES: &[Canary] = &[
    canary(Rule::ChunkContext, Workload::Map(0), "came back"),
    // Each of the two makes good for the other.
    Canary { with: &[Rule::BareSession], ..canary(Rule::CommitPastRefused, Workload::Map(0), "came back") },
    Canary { with: &[Rule::CommitPastRefused], ..canary(Rule::BareSession, Workload::Map(0), "came back") },
    canary(Rule::ExpectedClaimed, Workload::Story(stories::pushed), "bucket repair was needed"),
    canary(Rule::ReuseId, Workload::Engines(Plan::Hurt), "heals"),
    canary(Rule::EarlyEager, Workload::Story(stories::newcomer), "before its first pull"),
    canary(Rule::AgeGc, Workload::Map(0), "came back"),
    canary(Rule::DotGc, Workload::Map(100), "bucket repair was needed"),
    canary(Rule::DepartedTaken, Workload::Story(departed::late_copy), "came back"),
    canary(Rule::HastyAdoption, Workload::Story(departed::adopted_and_removed), "came back"),
    canary(Rule::StaleReports, Workload::Map(1_600), "came back"),
    canary(Rule::UnlockedPromise, Workload::Map(0), "came back"),
    canary(Rule::SwallowedForgotten, Workload::Story(stories::coalesced), "although nothing was lost"),
    canary(Rule::OwnerRowsOfTheDown, Workload::Story(stories::partition), "came back"),
    canary(Rule::OwnerWithoutLastWord, Workload::Story(claim_given_up), "nobody runs the role"),
    // Bucket repair, which contexts that lie make necessary, makes good for it.
    Canary { with: &[Rule::NoBucketRepair], ..canary(Rule::TrustingIslands, ISLANDS, "did not become one") },
    Canary { with: &[Rule::TrustingIslands], ..canary(Rule::NoBucketRepair, ISLANDS, "did not become one") },
    Canary { with: &[Rule::TrustingIslands], ..canary(Rule::BlindDigest, ISLANDS, "did not become one") },
    canary(Rule::ArrivalWins, Workload::Map(0), ""),
    canary(Rule::RestlessRepair, Workload::Engines(Plan::Hurt), "still repairs at rest"),
    canary(Rule::OwnStampRemoval, Workload::Map(0), "must be"),
    canary(Rule::OwnStampPut, Workload::Engines(Plan::Skewed), "and knew"),
    canary(Rule::WallClockOnly, Workload::Map(0), "does not come after"),
    canary(Rule::AnyFuture, Workload::Story(stories::wrong_clock), "ahead of time"),
    canary(Rule::DownReplacesRoster, Workload::Story(stories::partition), "was evicted"),
    canary(Rule::OneRefusal, Workload::Story(stories::firewall), "was found Down"),
    // What is checked before it is believed makes good for it.
    Canary {
        with: &[Rule::HearsayTaken],
        ..canary(Rule::ToldOnce, Workload::Story(stories::lossy_and_hasty), "was found Down")
    },
    canary(Rule::HearsayTaken, Workload::Story(stories::returning), "was found Down"),
    canary(Rule::NoIncarnation, Workload::Story(stories::lossy), "was found Down"),
    canary(Rule::ForgetDown, Workload::Engines(Plan::Hurt), "heals"),
    canary(Rule::DiscoveryStops, Workload::Story(stories::two_clusters), "did not become one"),
    canary(Rule::DownNotAnnouncedTo, Workload::Story(stories::silent_discovery), "did not become one"),
    canary(Rule::EagerReturn, Workload::Story(stories::flapping), "back at once"),
    canary(Rule::LateHosts, Workload::Story(stories::late), "ran twice"),
    canary(Rule::NamesOfTheDead, Workload::Engines(Plan::Hurt), "nobody else has its name"),
    canary(Rule::LeaverServesNobody, Workload::Story(stories::last_write_lost), "left a whole cluster"),
    canary(Rule::AssignUnagreed, Workload::Story(calm::growth), "without convergence"),
    canary(Rule::SelfAgreement, Workload::Story(calm::one_is_mute), "agrees on a fingerprint that"),
    canary(Rule::NoConvergenceToStop, Workload::Story(calm::growth), "without convergence"),
    canary(Rule::StartBeforeStopped, Workload::Story(calm::growth), "instances of"),
    canary(Rule::TokenNotAbove, Workload::Engines(Plan::Hurt), "was started with"),
    canary(Rule::UnsortedOrphans, Workload::Engines(Plan::Hurt), "equal fingerprints mean equal assignments"),
    canary(Rule::LowerRevisionStands, Workload::Story(lower_revision_came_later), "stands at"),
    canary(Rule::NeverStopExtra, Workload::Engines(Plan::Hurt), "in the converged component"),
    canary(Rule::NoStickiness, Workload::Story(placement::one_dies), "though only"),
    canary(Rule::NoBound, Workload::Story(placement::one_after_the_other), "is its share"),
    canary(Rule::NoPolicy, Workload::Engines(Plan::Hurt), "in the converged component"),
    canary(Rule::NoConstraints, Workload::Engines(Plan::Lossy), "against its constraints"),
    canary(Rule::YieldsForEver, Workload::Engines(Plan::Hurt), "heals"),
];

/// Runs one seed with these rules broken.
fn run(workload: Workload, seed: u64, broken: &[Rule]) -> Result<(), String> {
    let engines = |plan| {
        let nodes = 3 + usize::try_from(seed % 4).unwrap();
        let outcome = Trial::new(seed).nodes(nodes).plan(plan).sabotage(broken).run();
        outcome.map(drop).map_err(|violation| violation.to_string())
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| match workload {
        Workload::Map(first) => {
            let sabotage = broken.iter().fold(Sabotage::default(), |all, rule| all.and(*rule));
            schedule::variants::run(first + seed, sabotage).map(drop)
        }
        Workload::Engines(plan) => engines(plan),
        Workload::Story(story) => story(seed, broken),
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

/// So long may it take until a broken rule is noticed.
const MINUTE: Duration = Duration::from_secs(60);

fn is_caught(canary: &Canary) {
    let began = Instant::now();
    let broken = [&[canary.rule], canary.with].concat();
    let mut seed = 0;
    let why = loop {
        match run(canary.workload, seed, &broken) {
            Err(why) if why.contains(canary.says) => break why,
            other => {
                let in_time = began.elapsed() < MINUTE;
                assert!(in_time, "{broken:?} was not caught in {seed} seeds, the last: {other:?}");
            }
        }
        seed += 1;
    };
    let why: String = why.lines().next().unwrap_or_default().chars().take(120).collect();
    println!("{:<24} seed {seed:>3} {:>7.2?} {why}", canary.rule.name(), began.elapsed());
    // The schedules have their own tests that the rules hold.
    if let Workload::Story(_) = canary.workload {
        assert_eq!(run(canary.workload, seed, &[]), Ok(()), "nothing was broken");
    }
}

/// The canaries of every n-th rule: several tests, to use several processors.
fn every(nth: usize, from: usize) {
    CANARIES.iter().skip(from).step_by(nth).for_each(is_caught);
}

#[test]
fn each_broken_rule_is_caught_1() {
    every(2, 0);
}

#[test]
fn each_broken_rule_is_caught_2() {
    every(2, 1);
}

/// Without a story to help: what a million trials would have found.
#[test]
fn trials_alone_catch_what_loses_rows_or_brings_them_back() {
    for rule in [Rule::ChunkContext, Rule::AgeGc] {
        let began = Instant::now();
        let caught = (0..).find_map(|seed| {
            assert!(began.elapsed() < MINUTE, "{rule:?} was not caught in {seed} seeds");
            Trial::new(seed).sabotage(&[rule]).run().err()
        });
        println!("{:<24} {:>7.2?} {}", rule.name(), began.elapsed(), caught.unwrap());
    }
}

#[test]
fn every_rule_has_its_canary() {
    for rule in Rule::ALL {
        assert_eq!(CANARIES.iter().filter(|canary| canary.rule == *rule).count(), 1, "{rule:?}");
    }
}

/// What each invariant of the trials is failed by, judging alone: one that has never failed proves nothing.
const JUDGES: &[(&str, &[Rule], Plan)] = &[
    ("memory, queues and packets stay within their bounds", &[Rule::RestlessRepair], Plan::Hurt),
    ("dots are unique, stamps rise and stay near true time", &[Rule::WallClockOnly], Plan::Skewed),
    ("a write outranks what its author knew", &[Rule::OwnStampPut], Plan::Skewed),
    ("a write that is known is held, outranked or removed", &[Rule::ReuseId], Plan::Hurt),
    ("equal contexts mean equal rows", &[Rule::AgeGc], Plan::Skewed),
    ("what was removed stays away", &[Rule::AgeGc], Plan::Hurt),
    ("nobody who can be reached is taken for dead", &[Rule::ReuseId], Plan::Lossy),
    ("agreed is only what every member of the view reports", &[Rule::SelfAgreement], Plan::Hurt),
    ("no name is said to be taken that only one live process has", &[Rule::NamesOfTheDead], Plan::Hurt),
    ("a start has a token above all that its node saw", &[Rule::TokenNotAbove], Plan::Hurt),
    ("a converged component runs every role as often as asked for", &[Rule::NeverStopExtra], Plan::Hurt),
    ("a role that needs a majority runs on one side at most", &[Rule::NoPolicy], Plan::Hurt),
    ("roles run only where their constraints let them", &[Rule::NoConstraints], Plan::Lossy),
    ("no node hosts more than its share, unless nobody else could", &[Rule::NoBound], Plan::Hurt),
    ("the loss of one member moves only what ran there", &[Rule::NoStickiness], Plan::Lossy),
    ("nothing moves without a cause", &[Rule::NoStickiness], Plan::Lossy),
    ("equal fingerprints mean equal assignments", &[Rule::UnsortedOrphans], Plan::Hurt),
    ("at rest views, fingerprints and rows are equal", &[Rule::BlindDigest, Rule::ArrivalWins], Plan::Hurt),
    (
        "the final value is the winner over every write that survived",
        &[Rule::ArrivalWins, Rule::BlindDigest],
        Plan::Hurt,
    ),
    ("merging is idempotent, commutative and associative", &[Rule::ArrivalWins], Plan::Hurt),
];

#[test]
fn each_invariant_can_fail() {
    for name in Trial::invariants() {
        let judge = JUDGES.iter().find(|(judge, ..)| *judge == name);
        let (_, broken, plan) = judge.unwrap_or_else(|| panic!("nothing shows that {name:?} can fail"));
        let began = Instant::now();
        let mut seed = 0;
        loop {
            let nodes = 3 + usize::try_from(seed % 4).unwrap();
            match Trial::new(seed).nodes(nodes).plan(*plan).sabotage(broken).judge(name).run() {
                Err(violation) if violation.invariant == name => {
                    println!("{name:<64} {:<20} seed {seed:>3} {:>7.2?}", broken[0].name(), began.elapsed());
                    break;
                }
                other => {
                    let in_time = began.elapsed() < MINUTE;
                    assert!(in_time, "{broken:?} did not fail {name:?} in {seed} seeds, the last: {other:?}");
                }
            }
            seed += 1;
        }
    }
}

/// Runs the canary that the environment names: `UNISONO_VARIANT=early-eager`.
#[test]
fn by_hand() {
    let named = crate::broken();
    CANARIES.iter().filter(|canary| named.contains(&canary.rule)).for_each(is_caught);
}

/// Which invariant of the trials complains of which broken rule: a table, for the environment's `UNISONO_SEEDS` seeds of
/// each plan and the rules in `UNISONO_VARIANT`, or all of them with `UNISONO_VARIANT=` left out.
#[test]
fn matrix_by_hand() {
    let Some(seeds) = std::env::var("UNISONO_SEEDS").ok().and_then(|text| text.parse::<u64>().ok()) else { return };
    let named = crate::broken();
    for rule in Rule::ALL.iter().filter(|rule| named.is_empty() || named.contains(rule)) {
        let mut found = BTreeMap::new();
        for plan in Plan::ALL {
            for seed in 0..seeds {
                let nodes = 3 + usize::try_from(seed % 4).unwrap();
                let trial = Trial::new(seed).nodes(nodes).plan(plan).sabotage(&[*rule]);
                let outcome = catch_unwind(AssertUnwindSafe(|| trial.run().map(drop)));
                let name = match outcome {
                    Ok(Ok(())) => continue,
                    Ok(Err(violation)) => violation.invariant,
                    Err(_) => "(panic)".to_owned(),
                };
                let (count, first) = found.entry((name, plan.name())).or_insert((0, seed));
                *count += 1;
                *first = seed.min(*first);
            }
        }
        println!("{}", rule.name());
        for ((invariant, plan), (count, first)) in found {
            println!("    {count:>4} {plan:<8} first {first:>3} {invariant}");
        }
    }
}
