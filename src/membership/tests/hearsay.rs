//! What a member that was away says about others.

use std::time::Duration;

use super::network::identity;
use crate::id::ReplicaId;
use crate::membership::{Change, Identity, Liveness, Record, Swim, SwimOutput, Timing, direct};
use crate::sabotage::{Rule, Sabotage};
use crate::time::Instant;

const ACCUSER: usize = 1;
const SUBJECT: usize = 2;

fn record(number: usize, state: Liveness) -> Record {
    Record { identity: identity(number), incarnation: 0, state }
}

fn replica(number: usize) -> ReplicaId {
    identity(number).replica
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// Node 0, to which the accuser was Down from 1 s to 10 s and which holds the subject as alive.
fn after_a_return(sabotage: Sabotage) -> (Swim, Record) {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1).sabotaged(sabotage);
    swim.apply(at(0), vec![record(ACCUSER, Liveness::Alive), record(SUBJECT, Liveness::Alive)]);
    swim.apply(at(1_000), vec![record(ACCUSER, Liveness::Down)]);
    let back = Record { identity: Identity { renewal: 1, ..identity(ACCUSER) }, ..record(ACCUSER, Liveness::Alive) };
    swim.apply(at(10_000), vec![back.clone()]);
    while swim.poll().is_some() {}
    (swim, back)
}

/// Says at that moment that the subject is Down.
type Accuse<'a> = dyn Fn(&mut Swim, Instant) + 'a;

/// By each of the doors through which records come in.
fn by_each_door(mut look: impl FnMut(&mut Swim, &Accuse<'_>)) {
    let down = || record(SUBJECT, Liveness::Down);
    let (_, accuser) = after_a_return(Sabotage::default());
    let gossip = direct::gossip(&accuser, &identity(0), down()).unwrap();
    let doors: [&Accuse<'_>; 3] = [
        &|swim, now| swim.handle_datagram(now, &gossip).unwrap(),
        &|swim, now| drop(swim.apply_news(now, replica(ACCUSER), vec![down()])),
        &|swim, now| swim.exchanged(now, replica(ACCUSER), Some(vec![down()])),
    ];
    for door in doors {
        look(&mut after_a_return(Sabotage::default()).0, door);
    }
}

fn liveness(swim: &Swim) -> Liveness {
    swim.member(replica(SUBJECT)).unwrap().1
}

fn sent_to_subject(swim: &mut Swim) -> usize {
    let to_subject =
        |output: &SwimOutput| matches!(output, SwimOutput::Send { to, .. } if *to == identity(SUBJECT).address);
    std::iter::from_fn(|| swim.poll()).filter(to_subject).count()
}

#[test]
fn contact_since_the_accuser_went_away_refutes_without_a_probe() {
    by_each_door(|swim, accuse| {
        swim.heard_from(at(1_001), replica(SUBJECT));
        accuse(swim, at(10_001));
        assert_eq!((liveness(swim), sent_to_subject(swim)), (Liveness::Alive, 0));
        assert_eq!((swim.stats().accusations_refuted, swim.stats().accusations_checked), (1, 0));
    });
}

#[test]
fn an_accused_member_not_heard_since_is_asked_once_and_stays_if_it_answers() {
    by_each_door(|swim, accuse| {
        swim.heard_from(at(999), replica(SUBJECT));
        accuse(swim, at(10_001));
        accuse(swim, at(10_002));
        assert_eq!((liveness(swim), sent_to_subject(swim)), (Liveness::Alive, 1), "asked once");
        swim.heard_from(at(10_003), replica(SUBJECT));
        accuse(swim, at(10_004));
        swim.handle_deadline(at(10_200), |_| true);
        assert_eq!(liveness(swim), Liveness::Alive);
    });
}

#[test]
fn an_accused_member_that_does_not_answer_is_suspected_after_a_probe_timeout() {
    by_each_door(|swim, accuse| {
        let timeout = Timing::lan().probe_timeout;
        accuse(swim, at(10_001));
        for due in [at(10_001) + timeout / 2, at(10_001) + timeout] {
            assert_eq!(liveness(swim), Liveness::Alive);
            assert!(swim.poll_timeout().is_some_and(|next| next <= due));
            swim.handle_deadline(due, |_| true);
        }
        assert_eq!(liveness(swim), Liveness::Suspect);
        let suspected = |output| output == SwimOutput::Change(Change::Suspected(identity(SUBJECT)));
        assert!(std::iter::from_fn(|| swim.poll()).any(suspected));
    });
}

#[test]
fn a_member_that_was_not_away_gives_verdicts() {
    by_each_door(|swim, accuse| {
        swim.exchanged(at(10_000), replica(ACCUSER), None);
        swim.heard_from(at(10_001) - Timing::lan().suspicion, replica(SUBJECT));
        accuse(swim, at(10_001));
        assert_eq!((liveness(swim), sent_to_subject(swim)), (Liveness::Down, 0), "as fast as before");
    });
}

#[test]
fn news_are_proved_and_all_else_is_checked_where_the_subject_was_heard_within_one_suspicion() {
    let mut door = 0;
    by_each_door(|swim, accuse| {
        let (is_news, timeout) = (door == 1, Timing::lan().probe_timeout);
        door += 1;
        swim.exchanged(at(10_000), replica(ACCUSER), None);
        swim.heard_from(at(10_000), replica(SUBJECT));
        accuse(swim, at(10_001));
        if is_news {
            assert_eq!(liveness(swim), Liveness::Down);
            return;
        }
        assert_eq!((liveness(swim), sent_to_subject(swim)), (Liveness::Alive, 1));
        swim.handle_deadline(at(10_001) + timeout / 2, |_| true);
        assert_eq!(liveness(swim), Liveness::Alive);
        assert!(sent_to_subject(swim) > 0, "asked again, or probed");
        swim.handle_deadline(at(10_001) + timeout, |_| true);
        assert_eq!(liveness(swim), Liveness::Down, "the verdict stands");
    });
}

#[test]
fn a_member_that_leaves_is_believed_of_itself() {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    swim.apply(at(0), vec![record(SUBJECT, Liveness::Alive)]);
    swim.heard_from(at(1), replica(SUBJECT));
    let gossip = direct::gossip(&record(SUBJECT, Liveness::Alive), &identity(0), record(SUBJECT, Liveness::Down));
    swim.handle_datagram(at(2), &gossip.unwrap()).unwrap();
    assert_eq!(liveness(&swim), Liveness::Down);
}

#[test]
fn an_exchange_that_is_contradicted_leaves_the_accuser_away_until_one_that_is_not() {
    let (mut swim, _) = after_a_return(Sabotage::default());
    swim.heard_from(at(8_000), replica(SUBJECT));
    for second in 10..13 {
        swim.exchanged(at(1_000 * second), replica(ACCUSER), Some(vec![record(SUBJECT, Liveness::Down)]));
        assert_eq!(liveness(&swim), Liveness::Alive);
    }
    swim.exchanged(at(13_000), replica(ACCUSER), Some(vec![record(SUBJECT, Liveness::Alive)]));
    drop(swim.apply_news(at(13_001), replica(ACCUSER), vec![record(SUBJECT, Liveness::Down)]));
    assert_eq!(liveness(&swim), Liveness::Down);
}

#[test]
fn a_member_of_the_roster_that_was_not_heard_of_or_renewed_unseen_was_away() {
    let down = || record(SUBJECT, Liveness::Down);
    let accuse = |prepare: &dyn Fn(&mut Swim), accuser: Record| {
        let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
        swim.apply(at(0), vec![record(SUBJECT, Liveness::Alive)]);
        prepare(&mut swim);
        swim.heard_from(at(1_100), replica(SUBJECT));
        let gossip = direct::gossip(&accuser, &identity(0), down()).unwrap();
        swim.handle_datagram(at(3_000), &gossip).unwrap();
        (liveness(&swim), swim.stats().accusations_refuted + swim.stats().accusations_checked)
    };
    let plain = record(ACCUSER, Liveness::Alive);
    let renewed = Record { identity: Identity { renewal: 1, ..identity(ACCUSER) }, ..record(ACCUSER, Liveness::Alive) };
    assert_eq!(accuse(&|_| (), plain.clone()), (Liveness::Down, 0), "a newcomer, or a member since ever");
    assert_eq!(accuse(&|swim| swim.missing(at(1_000), replica(ACCUSER)), plain), (Liveness::Alive, 1));
    assert_eq!(accuse(&|_| (), renewed), (Liveness::Alive, 1), "another member found it Down");
}

#[test]
fn what_is_remembered_of_members_goes_with_them() {
    let (mut swim, _) = after_a_return(Sabotage::default());
    for stranger in 100..200 {
        swim.heard_from(at(10_000), ReplicaId(stranger));
        swim.missing(at(10_000), ReplicaId(stranger));
    }
    swim.forget_unknown(|replica| replica == ReplicaId(150));
    assert_eq!(swim.remembered_contacts(), 3, "the accuser, and the one that is known otherwise twice");
}

#[test]
fn with_the_rule_broken_its_word_is_a_verdict() {
    let (mut swim, _) = after_a_return(Rule::HearsayTaken.into());
    swim.heard_from(at(10_000), replica(SUBJECT));
    drop(swim.apply_news(at(10_001), replica(ACCUSER), vec![record(SUBJECT, Liveness::Down)]));
    assert_eq!(liveness(&swim), Liveness::Down);
}
