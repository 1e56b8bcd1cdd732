//! Agreement: what makes it, what loses it, and when it counts as converged.

use super::*;

const SETTLE: Duration = Duration::from_millis(20);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn print(n: u128) -> Fingerprint {
    Fingerprint(n)
}

fn view(ids: &[u64]) -> BTreeSet<ReplicaId> {
    ids.iter().copied().map(ReplicaId).collect()
}

fn reports(of: &[(u64, u128)]) -> BTreeMap<ReplicaId, Fingerprint> {
    of.iter().map(|(id, fingerprint)| (ReplicaId(*id), print(*fingerprint))).collect()
}

fn agreement() -> Agreement {
    Agreement::new(SETTLE, PATIENCE)
}

#[test]
fn a_cluster_of_one_agrees_with_itself_and_converges_after_the_settle_time() {
    let mut one = agreement();
    assert_eq!(one.update(at(0), print(7), &view(&[]), &reports(&[(1, 7)])), None);
    assert!(!one.agreed() && one.poll_timeout().is_none());
    assert_eq!(one.update(at(5), print(7), &view(&[1]), &reports(&[(1, 7)])), Some(Edge::Agreed));
    assert!(one.agreed() && !one.converged());
    assert_eq!(one.poll_timeout(), Some(at(25)));
    assert_eq!(one.handle_deadline(at(24)), None);
    assert_eq!(one.handle_deadline(at(25)), Some(Edge::Converged));
    assert!(one.converged() && one.poll_timeout().is_none());
    assert_eq!(one.handle_deadline(at(26)), None);
}

#[test]
fn everybody_in_the_view_must_report_and_nobody_else_counts() {
    let mut three = agreement();
    let members = view(&[1, 2, 3]);
    let silent = reports(&[(1, 7), (2, 7), (4, 8)]);
    assert_eq!(three.update(at(0), print(7), &members, &silent), None);
    assert_eq!(three.laggard(&silent), Some((ReplicaId(3), Lag::Silent)));
    let differs = reports(&[(1, 7), (2, 7), (3, 6), (4, 8)]);
    assert_eq!(three.update(at(1), print(7), &members, &differs), None);
    assert_eq!(three.laggard(&differs), Some((ReplicaId(3), Lag::Differs(print(6)))));
    let all = reports(&[(1, 7), (2, 7), (3, 7), (4, 8)]);
    assert_eq!(three.update(at(2), print(7), &members, &all), Some(Edge::Agreed));
    assert_eq!(three.laggard(&all), None);
}

#[test]
fn equal_reports_that_differ_from_the_own_are_no_agreement() {
    let mut two = agreement();
    let reports = reports(&[(1, 8), (2, 7), (3, 7)]);
    assert_eq!(two.update(at(0), print(8), &view(&[1, 2, 3]), &reports), None);
    assert_eq!(two.laggard(&reports), Some((ReplicaId(1), Lag::Differs(print(8)))), "this node itself lags");
}

#[test]
fn reports_that_agree_with_each_other_but_not_with_the_own_fingerprint_do_not_count() {
    let mut two = agreement();
    assert_eq!(two.update(at(0), print(8), &view(&[1, 2]), &reports(&[(1, 7), (2, 7)])), None);
    assert!(!two.agreed());
}

#[test]
fn of_two_each_names_the_other() {
    let both = reports(&[(1, 7), (2, 8)]);
    let mut first = agreement();
    first.update(at(0), print(7), &view(&[1, 2]), &both);
    assert_eq!(first.laggard(&both).unwrap().0, ReplicaId(2));
    let mut second = agreement();
    second.update(at(0), print(8), &view(&[1, 2]), &both);
    assert_eq!(second.laggard(&both).unwrap().0, ReplicaId(1));
}

#[test]
fn any_change_loses_convergence_at_once_and_the_settle_time_starts_again() {
    let converge = || {
        let mut two = agreement();
        two.update(at(0), print(7), &view(&[1, 2]), &reports(&[(1, 7), (2, 7)]));
        assert_eq!(two.handle_deadline(at(20)), Some(Edge::Converged));
        two
    };
    let mut report = converge();
    assert_eq!(report.update(at(30), print(7), &view(&[1, 2]), &reports(&[(1, 7), (2, 9)])), Some(Edge::Lost));
    assert!(!report.agreed() && !report.converged());

    let mut own = converge();
    assert_eq!(own.update(at(30), print(9), &view(&[1, 2]), &reports(&[(1, 9), (2, 7)])), Some(Edge::Lost));

    // The member left, nothing else changed: a new agreement that has to settle.
    let mut smaller = converge();
    assert_eq!(smaller.update(at(30), print(7), &view(&[1]), &reports(&[(1, 7), (2, 7)])), Some(Edge::Agreed));
    assert!(!smaller.converged());
    assert_eq!(smaller.poll_timeout(), Some(at(50)));

    // Everybody moved on to the next fingerprint within one update.
    let mut next = converge();
    assert_eq!(next.update(at(30), print(8), &view(&[1, 2]), &reports(&[(1, 8), (2, 8)])), Some(Edge::Agreed));
    assert!(!next.converged());

    let mut same = converge();
    assert_eq!(same.update(at(30), print(7), &view(&[1, 2]), &reports(&[(1, 7), (2, 7), (3, 1)])), None);
    assert!(same.converged());
}

#[test]
fn an_update_does_not_put_off_the_settle_time() {
    let mut two = agreement();
    let both = reports(&[(1, 7), (2, 7)]);
    two.update(at(0), print(7), &view(&[1, 2]), &both);
    for ms in 1..20 {
        assert_eq!(two.update(at(ms), print(7), &view(&[1, 2]), &both), None);
    }
    assert_eq!(two.update(at(20), print(7), &view(&[1, 2]), &both), Some(Edge::Converged));
}

#[test]
fn patience_ends_once_and_comes_back_with_agreement() {
    let mut two = agreement();
    let apart = reports(&[(1, 7), (2, 8)]);
    two.update(at(0), print(7), &view(&[1, 2]), &apart);
    two.update(at(9_000), print(6), &view(&[1, 2]), &apart);
    assert_eq!(two.poll_timeout(), Some(at(10_000)), "a flapping member does not put it off");
    assert!(!two.impatient());
    assert_eq!(two.handle_deadline(at(10_000)), Some(Edge::Impatient));
    assert!(two.impatient() && !two.agreed() && two.poll_timeout().is_none());
    let both = reports(&[(1, 7), (2, 7)]);
    assert_eq!(two.update(at(11_000), print(7), &view(&[1, 2]), &both), Some(Edge::Agreed));
    assert!(!two.impatient());
    assert_eq!(two.update(at(11_001), print(7), &view(&[1, 2]), &apart), Some(Edge::Lost));
    assert_eq!(two.poll_timeout(), Some(at(21_001)));
}
