//! *Internal.*
//! Rules broken on purpose: a test that does not notice is worth nothing.
//!
//! Each [`Rule`] is one rule of the design that a [`Sabotage`] can break, at the very place in the product where the rule
//! lives. Rooms ask `sabotage.breaks(Rule::…)` there and nothing else. Without the feature `sabotage`, which only this
//! crate's own tests enable, a [`Sabotage`] holds nothing and the answer is a constant: nothing of it is left in a build
//! for production.

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $rule:ident = $name:literal, $section:literal;)+) => {
        /// A rule that can be broken: what is then done instead, and where the design states it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule {
            $($(#[doc = $doc])+ #[doc = concat!("\n\nThe design, ", $section, ".")] $rule,)+
        }

        #[cfg(feature = "sabotage")]
        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule,)+];

            /// The name of the broken variant.
            pub fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)+ }
            }

            /// Where the design states the rule.
            pub fn section(self) -> &'static str {
                match self { $(Self::$rule => $section,)+ }
            }
        }
    };
}

rules! {
    /// A part of a repair session claims the whole context of the snapshot.
    ChunkContext = "chunk-context", "3.4";
    /// A session commits although rows of it were refused.
    CommitPastRefused = "commit-past-refused", "3.4 and 3.5";
    /// A session that brings nothing, since all that is lacking is being pushed, claims it nevertheless.
    ExpectedClaimed = "expected-claimed", "3.4";
    /// A process that lost its memory comes back under its former replica id.
    ReuseId = "reuse-id", "2";
    /// A newcomer takes eager rows before its first pull is complete.
    EarlyEager = "early-eager", "3.8";
    /// A session does not begin with the responder's roster.
    BareSession = "bare-session", "3.6 and 3.10";
    /// Tombstones are collected by age, at 300 ms.
    AgeGc = "age-gc", "3.6";
    /// Tombstones are collected once every member has seen their dot, with no promise of time.
    DotGc = "dot-gc", "3.6";
    /// Eager rows are taken of authors in neither roster nor context.
    DepartedTaken = "departed-taken", "3.9";
    /// Rows of departed authors are adopted whatever was promised.
    HastyAdoption = "hasty-adoption", "3.6 and 3.9";
    /// Reports made under an earlier roster still count.
    StaleReports = "stale-reports", "3.6";
    /// A promise is taken outside the lock of the writes: its clock is of now, its count of writes of a moment before.
    UnlockedPromise = "unlocked-promise", "3.6 and 7";
    /// The receiver of an owner row forgets the dots that it swallowed.
    SwallowedForgotten = "swallowed-forgotten", "3.10";
    /// Owner rows are deleted when their owner is Down.
    OwnerRowsOfTheDown = "owner-rows-of-the-down", "3.10";
    /// An owner lets its removed rows come back from an island.
    OwnerWithoutLastWord = "owner-without-last-word", "3.10";
    /// Islands that meet trust each other's contexts.
    TrustingIslands = "trusting-islands", "3.8";
    /// What arrives last wins, whatever it ranks.
    ArrivalWins = "arrival-wins", "3.2";
    /// A removal ranks at its own stamp.
    OwnStampRemoval = "own-stamp-removal", "3.2";
    /// A put ranks at its own stamp, whatever it replaces.
    OwnStampPut = "own-stamp-put", "3.11";
    /// Stamps are drawn from the wall clock alone.
    WallClockOnly = "wall-clock-only", "3.1";
    /// The digest says nothing of the rows.
    BlindDigest = "blind-digest", "3.7";
    /// Bucket repair is never started.
    NoBucketRepair = "no-bucket-repair", "3.7";
    /// Sessions are started though nothing differs.
    RestlessRepair = "restless-repair", "3.4";
    /// A stamp of any future advances the clock.
    AnyFuture = "any-future", "3.11";
    /// A member that is Down is evicted from the roster at once.
    DownReplacesRoster = "down-replaces-roster", "3.8";
    /// The refusal seen by one watcher is taken for death, however many members there are.
    OneRefusal = "one-refusal", "4";
    /// A suspect is told of it once, whether or not it hears.
    ToldOnce = "told-once", "4";
    /// Each Down record is taken for a verdict, whatever was heard of its subject.
    HearsayTaken = "hearsay-taken", "4";
    /// A node that is suspected does not refute it.
    NoIncarnation = "no-incarnation", "4";
    /// The return of a member that was Down goes unnoticed.
    ForgetDown = "forget-down", "4";
    /// What discovery finds is passed over once somebody was heard.
    DiscoveryStops = "discovery-stops", "4 and 9";
    /// Nobody is announced to who is Down.
    DownNotAnnouncedTo = "down-not-announced-to", "4";
    /// A member that flaps takes its roles back each time.
    EagerReturn = "eager-return", "4";
    /// A member that answers too late hosts roles when it is alone in its view.
    LateHosts = "late-hosts", "4";
    /// A former run of the own name, which the roster remembers, is taken for one that lives.
    NamesOfTheDead = "names-of-the-dead", "4";
    /// A node that leaves serves nobody any more.
    LeaverServesNobody = "leaver-serves-nobody", "4";
    /// Roles start, stop and move on a picture that nobody agreed on.
    AssignUnagreed = "assign-unagreed", "5";
    /// Agreed means that oneself sees it unchanged, whatever the others report.
    SelfAgreement = "self-agreement", "5";
    /// Roles stop and move on mere agreement.
    NoConvergenceToStop = "no-convergence-to-stop", "5";
    /// A successor starts before the other stopped.
    StartBeforeStopped = "start-before-stopped", "6";
    /// A fencing token is not above those that were seen.
    TokenNotAbove = "token-not-above", "6";
    /// Placement depends on who computes it.
    UnsortedOrphans = "unsorted-orphans", "6";
    /// A row of a lower revision is left standing by who declared the higher.
    LowerRevisionStands = "lower-revision-stands", "6";
    /// A superfluous instance is not stopped.
    NeverStopExtra = "never-stop-extra", "6";
    /// A role is placed anew each time, whoever has it.
    NoStickiness = "no-stickiness", "6";
    /// A node keeps what it has, however much that is.
    NoBound = "no-bound", "6";
    /// A role runs on every side, whatever its policy.
    NoPolicy = "no-policy", "6";
    /// A role runs anywhere, whatever its constraints.
    NoConstraints = "no-constraints", "6";
    /// An instance whose successor runs is not stopped.
    YieldsForEver = "yields-for-ever", "6";
}

/// Which rules are broken; by default none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sabotage {
    #[cfg(feature = "sabotage")]
    broken: u64,
}

impl Sabotage {
    /// Whether this rule is broken.
    #[cfg(feature = "sabotage")]
    pub const fn breaks(self, rule: Rule) -> bool {
        self.broken & (1 << rule as u32) != 0
    }

    /// Whether this rule is broken: never.
    #[cfg(not(feature = "sabotage"))]
    pub const fn breaks(self, _rule: Rule) -> bool {
        false
    }
}

#[cfg(not(feature = "sabotage"))]
const _: () = assert!(size_of::<Sabotage>() == 0);

#[cfg(feature = "sabotage")]
mod chosen {
    use super::{Rule, Sabotage};

    // One bit each.
    const _: () = assert!(Rule::ALL.len() <= 64);

    /// There is no broken variant of this name.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    #[error("there is no broken variant {name:?}; choose one of {}", names())]
    pub struct UnknownRule {
        name: String,
    }

    fn names() -> String {
        Rule::ALL.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(", ")
    }

    impl Sabotage {
        /// Breaks one more rule.
        #[must_use]
        pub const fn and(self, rule: Rule) -> Self {
            Self { broken: self.broken | 1 << rule as u32 }
        }
    }

    impl From<Rule> for Sabotage {
        fn from(rule: Rule) -> Self {
            Self::default().and(rule)
        }
    }

    impl std::str::FromStr for Rule {
        type Err = UnknownRule;

        fn from_str(name: &str) -> Result<Self, UnknownRule> {
            let found = Self::ALL.iter().find(|rule| rule.name() == name);
            found.copied().ok_or_else(|| UnknownRule { name: name.to_owned() })
        }
    }
}

#[cfg(feature = "sabotage")]
pub use chosen::UnknownRule;

#[cfg(all(test, feature = "sabotage"))]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_broken_alone_and_found_by_its_name() {
        for rule in Rule::ALL {
            let broken: Vec<_> = Rule::ALL.iter().filter(|other| Sabotage::from(*rule).breaks(**other)).collect();
            assert_eq!(broken, [rule]);
            assert_eq!(rule.name().parse(), Ok(*rule));
            assert!(!Sabotage::default().breaks(*rule) && !rule.section().is_empty());
        }
        let both = Sabotage::from(Rule::AgeGc).and(Rule::DotGc);
        assert!(both.breaks(Rule::AgeGc) && both.breaks(Rule::DotGc) && !both.breaks(Rule::ReuseId));
        assert!("rules".parse::<Rule>().is_err());
    }
}
