//! The supervisor, step by step and as several that share claims which arrive late.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::{Candidate, Claim, ClaimState, Holding, Restarts, RoleSpec, assign};
use super::*;
use crate::id::NodeId;

const ME: ReplicaId = ReplicaId(1);
const OTHER: ReplicaId = ReplicaId(2);

/// One supervisor, and the claims of everybody as it sees them.
struct Bench {
    supervisor: Supervisor,
    ms: u64,
    stamp: u64,
    view: Vec<ReplicaId>,
    specs: Vec<RoleSpec>,
    claims: BTreeMap<(String, ReplicaId), Claim>,
    /// Who cannot build anything.
    unable: Vec<ReplicaId>,
}

impl Bench {
    fn new(view: &[ReplicaId], specs: &[RoleSpec]) -> Self {
        let supervisor = Supervisor::new(ME, 0);
        Self {
            supervisor,
            ms: 0,
            stamp: 100,
            view: view.to_vec(),
            specs: specs.to_vec(),
            claims: BTreeMap::new(),
            unable: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { instant: Instant::from_nanos(self.ms * 1_000_000), wall_ms: 1_000_000 + self.ms }
    }

    fn claim(&mut self, role: &str, owner: ReplicaId, stamp: u64, state: ClaimState) {
        let token = FencingToken { stamp: Stamp(stamp), replica: owner };
        self.claims.insert((role.to_owned(), owner), Claim { token, state, pinned: false, handed: None });
    }

    /// Decides, and tells what came out of it: `claim r Running`, `start r`, `stop r`, `claim r none`.
    fn decide(&mut self, permit: Permit) -> Vec<String> {
        let candidates: Vec<_> = (self.view.iter())
            .map(|replica| Candidate {
                node: NodeId::new(format!("node-{}", replica.0)).unwrap(),
                replica: *replica,
                kinds: if self.unable.contains(replica) { [].into() } else { ["r".to_owned()].into() },
                labels: BTreeMap::new(),
                load: 0,
            })
            .collect();
        let seen = self.claims.iter().filter(|((_, owner), _)| self.view.contains(owner));
        let holdings: Vec<_> = seen
            .map(|((role, holder), claim)| Holding { role: role.clone(), holder: *holder, claim: claim.clone() })
            .collect();
        let picture = Picture { candidates: &candidates, roles: &self.specs, holdings: &holdings, roster: 0 };
        let (now, stamp) = (self.now(), &mut self.stamp);
        let mut draw = || {
            *stamp += 1;
            Stamp(*stamp)
        };
        self.supervisor.decide(now, permit, &picture, &assign(&picture), &mut draw);
        self.drain()
    }

    fn deadline(&mut self) -> Vec<String> {
        let (now, stamp) = (self.now(), &mut self.stamp);
        let mut draw = || {
            *stamp += 1;
            Stamp(*stamp)
        };
        self.supervisor.handle_deadline(now, &mut draw);
        self.drain()
    }

    fn drain(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(output) = self.supervisor.poll() {
            told.push(match output {
                SupervisorOutput::Claim { role, claim: Some(claim) } => {
                    let text = format!("claim {role} {:?}", claim.state);
                    self.claims.insert((role, ME), claim);
                    text
                }
                SupervisorOutput::Claim { role, claim: None } => {
                    self.claims.remove(&(role.clone(), ME)).expect("a claim to remove");
                    format!("claim {role} none")
                }
                SupervisorOutput::Start(RoleStart { spec, token, handed }) => {
                    assert_eq!(self.claims[&(spec.name.clone(), ME)].token, token, "claimed first");
                    let with = handed.map(|handed| format!(" with {} bytes", handed.len())).unwrap_or_default();
                    format!("start {} {}{with}", spec.name, spec.arguments)
                }
                SupervisorOutput::Stop { role, .. } => format!("stop {role}"),
            });
        }
        told
    }

    fn token(&self, role: &str) -> FencingToken {
        self.claims[&(role.to_owned(), ME)].token
    }

    fn runs(&mut self, role: &str) -> Vec<String> {
        let event = RoleReport::Running { role: role.into(), token: self.token(role) };
        self.report(&event)
    }

    fn stopped(&mut self, role: &str) -> Vec<String> {
        let event = RoleReport::stopped(role.into(), self.token(role));
        self.report(&event)
    }

    fn fails(&mut self, role: &str, why: &str) -> Vec<String> {
        let event = RoleReport::Failed { role: role.into(), token: self.token(role), why: why.into() };
        self.report(&event)
    }

    fn report(&mut self, event: &RoleReport) -> Vec<String> {
        self.supervisor.report(self.now(), event);
        self.drain()
    }

    /// A bench whose one member runs `r`.
    fn running() -> Self {
        Self::running_as(RoleSpec::new("r"))
    }

    fn running_as(spec: RoleSpec) -> Self {
        let mut bench = Self::new(&[ME], &[spec]);
        assert_eq!(bench.decide(Permit::Start), ["claim r Starting", "start r "]);
        assert_eq!(bench.runs("r"), ["claim r Running"]);
        bench
    }

    /// A bench that is asked to hand `r` over to the other.
    fn draining() -> Self {
        let mut bench = Self::running();
        bench.view.push(OTHER);
        bench.unable.push(ME);
        assert!(bench.decide(Permit::Start).is_empty(), "agreement is not enough to move");
        assert_eq!(bench.decide(Permit::Move), ["claim r Draining { to: Some(r2) }", "stop r"]);
        bench
    }
}

#[test]
fn nothing_starts_before_agreement_and_nothing_stops_before_convergence() {
    let mut bench = Bench::new(&[ME], &[RoleSpec::new("r")]);
    assert!(bench.decide(Permit::Wait).is_empty());
    assert_eq!(bench.decide(Permit::Start), ["claim r Starting", "start r "]);
    assert!(bench.decide(Permit::Move).is_empty(), "once is enough");
    bench.runs("r");
    bench.specs.clear();
    assert!(bench.decide(Permit::Wait).is_empty());
    assert!(bench.decide(Permit::Start).is_empty());
    assert_eq!(bench.decide(Permit::Move), ["claim r Draining { to: None }", "stop r"]);
    assert!(!bench.supervisor.idle());
    assert_eq!(bench.stopped("r"), ["claim r none"]);
    assert!(bench.supervisor.idle());
}

#[test]
fn a_role_is_handed_over_and_the_row_goes_once_the_successor_shows_up() {
    let mut bench = Bench::draining();
    assert_eq!(bench.stopped("r"), ["claim r Stopped { to: Some(r2) }"]);
    assert!(bench.supervisor.idle());
    assert!(bench.decide(Permit::Move).is_empty());
    bench.claim("r", OTHER, 1_000, ClaimState::Starting);
    assert_eq!(bench.decide(Permit::Wait), ["claim r none"], "needs no agreement");
}

#[test]
fn the_row_goes_also_when_the_successor_failed_or_handed_the_role_on() {
    for state in [
        ClaimState::Failed { why: "no".into(), until_ms: 0 },
        ClaimState::Draining { to: None },
        ClaimState::Stopped { to: Some(ReplicaId(3)) },
    ] {
        let mut bench = Bench::draining();
        bench.stopped("r");
        bench.claim("r", OTHER, 1, state.clone());
        if !matches!(state, ClaimState::Failed { .. }) {
            assert!(bench.decide(Permit::Wait).is_empty(), "an old row of the successor's is no answer");
        }
        bench.claim("r", OTHER, 1_000, state);
        assert_eq!(bench.decide(Permit::Wait), ["claim r none"]);
    }
}

#[test]
fn a_reservation_for_one_that_left_is_void() {
    let mut stopped = Bench::draining();
    stopped.stopped("r");
    stopped.view = vec![ME];
    assert_eq!(stopped.decide(Permit::Wait), ["claim r none"]);

    let mut draining = Bench::draining();
    draining.view = vec![ME];
    assert_eq!(draining.decide(Permit::Wait), ["claim r Draining { to: None }"]);
    assert_eq!(draining.stopped("r"), ["claim r none"]);
}

#[test]
fn a_reservation_that_nobody_wants_any_more_goes_once_converged() {
    let mut bench = Bench::draining();
    bench.stopped("r");
    bench.specs.clear();
    assert!(bench.decide(Permit::Start).is_empty());
    assert_eq!(bench.decide(Permit::Move), ["claim r none"]);
}

#[test]
fn a_successor_waits_until_the_other_has_stopped_for_it_or_is_gone() {
    for answer in [Some(ClaimState::Stopped { to: Some(ME) }), None] {
        let mut bench = Bench::new(&[ME, OTHER], &[RoleSpec::new("r")]);
        bench.claim("r", OTHER, 500, ClaimState::Draining { to: Some(ME) });
        assert!(bench.decide(Permit::Move).is_empty());
        match answer {
            Some(state) => bench.claim("r", OTHER, 500, state),
            None => bench.view = vec![ME],
        }
        assert_eq!(bench.decide(Permit::Start), ["claim r Starting", "start r "]);
        assert!(bench.token("r").stamp > Stamp(500), "above every token seen, though the clock is not");
    }
}

#[test]
fn nobody_takes_the_place_of_an_instance_that_still_drains() {
    let mut bench = Bench::new(&[ME, OTHER], &[RoleSpec::new("r")]);
    bench.unable.push(OTHER);
    for state in [ClaimState::Running, ClaimState::Draining { to: None }] {
        bench.claim("r", OTHER, 5, state);
        assert!(bench.decide(Permit::Move).is_empty());
    }
    bench.claims.clear();
    assert_eq!(bench.decide(Permit::Start), ["claim r Starting", "start r "]);
}

#[test]
fn a_changed_spec_restarts_and_a_changed_count_does_not() {
    let mut bench = Bench::running();
    let first = bench.token("r");
    bench.specs = vec![RoleSpec::new("r").count(2)];
    assert!(bench.decide(Permit::Move).is_empty());
    bench.specs = vec![RoleSpec::new("r").arguments("fast")];
    assert!(bench.decide(Permit::Start).is_empty());
    assert_eq!(bench.decide(Permit::Move), ["claim r Starting", "stop r"]);
    assert!(bench.decide(Permit::Move).is_empty());
    assert!(bench.stopped("r").is_empty());
    assert_eq!(bench.supervisor.poll_timeout(), Some(bench.now().instant), "at once");
    assert_eq!(bench.deadline(), ["claim r Starting", "start r fast"]);
    assert!(bench.token("r") > first);
}

#[test]
fn failures_back_off_and_then_exclude() {
    let mut bench = Bench::running();
    let (mut tokens, mut spread) = (vec![bench.token("r")], BTreeSet::new());
    for pause in [100, 200, 400, 800, 1_600] {
        assert_eq!(bench.fails("r", "boom"), ["claim r Starting"]);
        let due = bench.supervisor.poll_timeout().unwrap().since(bench.now().instant);
        let longest = Duration::from_millis(pause);
        assert!((longest * 3 / 4..=longest).contains(&due), "{due:?} of {longest:?}");
        spread.insert(due.as_nanos() * 1_000 / longest.as_nanos());
        bench.ms += pause * 3 / 4 - 1;
        assert!(bench.deadline().is_empty());
        bench.ms += pause / 4 + 1;
        assert_eq!(bench.deadline(), ["claim r Starting", "start r "]);
        bench.runs("r");
        tokens.push(bench.token("r"));
    }
    assert!(spread.len() > 3, "chance parts those who failed together: {spread:?}");
    assert!(tokens.is_sorted() && tokens.windows(2).all(|pair| pair[0] != pair[1]));
    let until_ms = bench.now().wall_ms + 60_000;
    let failed = format!("claim r Failed {{ why: \"boom\", until_ms: {until_ms} }}");
    assert_eq!(bench.fails("r", "boom"), [failed]);
    assert!(bench.supervisor.idle());
    assert!(bench.decide(Permit::Move).is_empty(), "excluded, though nobody else can");
    bench.ms += 60_000;
    assert_eq!(bench.deadline(), ["claim r none"]);
    assert_eq!(bench.decide(Permit::Start), ["claim r Starting", "start r "]);
}

#[test]
fn failures_far_apart_do_not_add_up() {
    let mut bench = Bench::running();
    for _ in 0..20 {
        assert_eq!(bench.fails("r", "boom"), ["claim r Starting"]);
        bench.ms += 100;
        assert_eq!(bench.deadline().len(), 2);
        bench.runs("r");
        bench.ms += 60_000;
    }
}

#[test]
fn another_spec_lifts_an_exclusion() {
    let mut bench = Bench::running_as(RoleSpec::new("r").restarts(Restarts { max_failures: 0, ..Restarts::default() }));
    assert!(bench.fails("r", &"ä".repeat(2_000))[0].contains("Failed"));
    let ClaimState::Failed { why, .. } = &bench.claims[&("r".to_owned(), ME)].state else { panic!() };
    assert_eq!(why.len(), 1_024);
    bench.specs = vec![RoleSpec::new("r").arguments("other")];
    assert!(bench.decide(Permit::Start).is_empty());
    assert_eq!(bench.decide(Permit::Move), ["claim r none"]);
    assert_eq!(bench.decide(Permit::Start), ["claim r Starting", "start r other"]);
}

#[test]
fn who_waits_for_a_restart_gives_up_without_a_stop() {
    let mut alone = Bench::running();
    alone.fails("r", "boom");
    alone.specs.clear();
    assert_eq!(alone.decide(Permit::Move), ["claim r none"]);
    let mut two = Bench::running();
    two.fails("r", "boom");
    two.view.push(OTHER);
    two.unable.push(ME);
    assert_eq!(two.decide(Permit::Move), ["claim r Stopped { to: Some(r2) }"]);
}

#[test]
fn leaving_drains_everything_and_starts_nothing() {
    let mut bench = Bench::running();
    let now = bench.now();
    bench.supervisor.stop_all(now);
    assert_eq!(bench.drain(), ["claim r Draining { to: None }", "stop r"]);
    assert!(!bench.supervisor.idle());
    assert_eq!(bench.fails("r", "in the middle of it"), ["claim r none"]);
    assert!(bench.supervisor.idle());
    assert!(bench.decide(Permit::Move).is_empty());
}

#[test]
fn old_reports_and_rubbish_tokens_do_no_harm() {
    let mut bench = Bench::running();
    let old = bench.token("r");
    bench.fails("r", "boom");
    assert!(bench.report(&RoleReport::Failed { role: "r".into(), token: old, why: "again".into() }).is_empty());
    bench.ms += 100;
    bench.deadline();
    for event in [
        RoleReport::Running { role: "r".into(), token: old },
        RoleReport::stopped("r".into(), old),
        RoleReport::Failed { role: "r".into(), token: old, why: "late".into() },
        RoleReport::Running { role: "unknown".into(), token: old },
    ] {
        assert!(bench.report(&event).is_empty());
    }
    let rubbish = FencingToken { stamp: Stamp(u64::MAX), replica: OTHER };
    bench.supervisor.see("r", rubbish);
    bench.fails("r", "boom");
    bench.ms += 200;
    assert_eq!(bench.deadline(), ["claim r Starting", "start r "]);
}

/// A bench that runs `r` until the other does.
fn yielding() -> Bench {
    let mut bench = Bench::running_as(RoleSpec::new("r").handover(Handover::MakeBeforeBreak));
    bench.view.push(OTHER);
    bench.unable.push(ME);
    assert!(bench.decide(Permit::Start).is_empty(), "agreement is not enough to move");
    assert_eq!(bench.decide(Permit::Move), ["claim r Yielding { to: r2 }"]);
    bench
}

#[test]
fn who_yields_runs_until_the_successor_does() {
    let mut bench = yielding();
    assert!(bench.decide(Permit::Move).is_empty());
    bench.claim("r", OTHER, 1_000, ClaimState::Starting);
    assert!(bench.decide(Permit::Move).is_empty(), "it is not up yet");
    bench.claim("r", OTHER, 1_000, ClaimState::Running);
    assert_eq!(bench.decide(Permit::Wait), ["claim r Draining { to: None }", "stop r"], "needs no agreement");
    assert_eq!(bench.stopped("r"), ["claim r none"]);
}

#[test]
fn who_yields_to_one_that_left_or_failed_goes_on() {
    let mut left = yielding();
    left.view = vec![ME];
    left.unable.clear();
    assert_eq!(left.decide(Permit::Wait), ["claim r Running"]);

    let mut failed = yielding();
    failed.unable.clear();
    failed.claim("r", OTHER, 1_000, ClaimState::Failed { why: "no".into(), until_ms: 0 });
    assert!(failed.decide(Permit::Start).is_empty());
    assert_eq!(failed.decide(Permit::Move), ["claim r Running"]);
}

#[test]
fn the_successor_of_one_that_yields_starts_at_once() {
    let mut bench = Bench::new(&[ME, OTHER], &[RoleSpec::new("r").handover(Handover::MakeBeforeBreak)]);
    bench.claim("r", OTHER, 500, ClaimState::Yielding { to: ME });
    assert!(bench.decide(Permit::Wait).is_empty());
    assert_eq!(bench.decide(Permit::Start), ["claim r Starting", "start r "]);
}

#[test]
fn one_that_yields_and_dies_leaves_its_place_to_the_successor() {
    let mut bench = yielding();
    assert_eq!(bench.fails("r", "boom"), ["claim r Stopped { to: Some(r2) }"]);
    bench.claim("r", OTHER, 1_000, ClaimState::Starting);
    assert_eq!(bench.decide(Permit::Wait), ["claim r none"]);
}

#[test]
fn what_was_moved_stays_for_a_minute() {
    let mut bench = Bench::new(&[ME, OTHER], &[RoleSpec::new("r")]);
    bench.claim("r", OTHER, 500, ClaimState::Stopped { to: Some(ME) });
    bench.decide(Permit::Start);
    assert!(bench.claims[&("r".to_owned(), ME)].pinned);
    bench.claims.remove(&("r".to_owned(), OTHER));
    bench.runs("r");
    bench.ms += 59_999;
    assert!(bench.deadline().is_empty());
    bench.ms += 1;
    assert_eq!(bench.deadline(), ["claim r Running"]);
    assert!(!bench.claims[&("r".to_owned(), ME)].pinned);
    assert_eq!(bench.supervisor.poll_timeout(), None);
    assert!(!Bench::running().claims[&("r".to_owned(), ME)].pinned, "what was missing may be moved at once");
}

#[test]
fn what_one_leaves_reaches_the_first_start_of_the_next() {
    let mut old = Bench::draining();
    let left = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
    let token = old.token("r");
    let report = RoleReport::Stopped { role: "r".into(), token, handed: left(b"7 cars"), aborted_after: None };
    assert_eq!(old.report(&report), ["claim r Stopped { to: Some(r2) }"]);
    let claim = old.claims[&("r".to_owned(), ME)].clone();
    assert_eq!(claim.handed, left(b"7 cars"));

    let mut new = Bench::new(&[ME, OTHER], &[RoleSpec::new("r")]);
    new.claims.insert(("r".to_owned(), OTHER), Claim { state: ClaimState::Stopped { to: Some(ME) }, ..claim });
    assert_eq!(new.decide(Permit::Start), ["claim r Starting", "start r  with 6 bytes"]);
    assert_eq!(new.claims[&("r".to_owned(), ME)].handed, None, "it is told once");
    new.fails("r", "boom");
    new.ms += 100;
    assert_eq!(new.deadline(), ["claim r Starting", "start r "]);
}
