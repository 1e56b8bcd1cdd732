//! What a sponsor does with a newcomer whose name is in use, case by case.

use std::time::Duration;

use super::message::{Control, Have, Hello, Message, Purpose, Refusal, control_frame, kind};
use super::streams::StreamPhase;
use super::tests::{NOW, OWN, PEER, STRANGER, engine, first_frame, stream};
use super::*;
use crate::crdt::{Context, Proof, Roster, Superseded};
use crate::id::NodeId;
use crate::membership::{Identity, Liveness, Record};
use crate::wire::{Envelope, Versions};

/// A third member, which may knock for others.
const RELAY: ReplicaId = ReplicaId(4);

fn identity(name: &str, replica: ReplicaId, port: u16) -> Identity {
    let address = ([127, 0, 0, 1], port).into();
    Identity { address, node: NodeId::new(name).unwrap(), replica, boot: 7, renewal: 0 }
}

fn gary() -> Identity {
    identity("gary", PEER, 4_872)
}

fn after(millis: u64) -> Now {
    Now { instant: NOW.instant + Duration::from_millis(millis), wall_ms: NOW.wall_ms + millis }
}

/// A node that knows of gary, who has his name and is held for alive, and of a third if there is to be one.
fn sponsor(others: bool) -> Engine {
    let mut engine = engine(true);
    let relay = identity("mary", RELAY, 4_874);
    let known = [Some(gary()), others.then_some(relay.clone())];
    for identity in known.into_iter().flatten() {
        engine.swim.apply(NOW.instant, vec![Record { identity, incarnation: 0, state: Liveness::Alive }]);
    }
    if others {
        engine.admit(&relay);
    }
    engine.handle(NOW, Input::StoreChanged);
    while engine.poll_output().is_some() {}
    engine
}

/// Lets a newcomer come under gary's name, and gives what is done for that.
fn come(engine: &mut Engine) -> (StreamId, Vec<Output>) {
    let identity = identity("gary", STRANGER, 4_873);
    let (spoken, cluster) = (Versions::OURS, "parking".to_owned());
    let hello = Hello { spoken, cluster, identity, purpose: Purpose::Join, roster: 0, members: 0 };
    let stream = stream(engine, false, StreamPhase::Greeted);
    engine.handle(NOW, Input::Frame { stream, bytes: first_frame(&Control::Hello(Box::new(hello))) });
    (stream, std::iter::from_fn(|| engine.poll_output()).collect())
}

/// What a newcomer is answered, if it is.
fn answer(outputs: &[Output], newcomer: StreamId) -> Option<Control> {
    outputs.iter().find_map(|output| match output {
        Output::Frame { stream, bytes } if *stream == newcomer => {
            let (front, rest) = wire::unseal(bytes).ok()?;
            (front.kind == kind::MESSAGE).then(|| wire::decode(rest).unwrap())
        }
        _ => None,
    })
}

fn message(engine: &mut Engine, now: Now, from: &Identity, message: &Message) -> Vec<Output> {
    let envelope = Envelope { kind: kind::MESSAGE, cluster: wire::cluster_hash("parking"), sender: from.replica };
    let bytes = wire::seal(wire::encode_onto(envelope.open(), message));
    engine.handle(now, Input::Datagram { from: from.address, bytes });
    std::iter::from_fn(|| engine.poll_output()).collect()
}

/// Lets the engine's deadlines pass until then.
fn run(engine: &mut Engine, until: Now) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut now = NOW;
    while let Some(due) = engine.poll_timeout().filter(|due| *due <= until.instant) {
        now.instant = now.instant.max(due);
        engine.handle(now, Input::Deadline);
        outputs.extend(std::iter::from_fn(|| engine.poll_output()));
    }
    engine.handle(until, Input::Deadline);
    outputs.extend(std::iter::from_fn(|| engine.poll_output()));
    outputs
}

fn knocks(outputs: &[Output]) -> Vec<std::net::SocketAddr> {
    let knock = |output: &Output| match output {
        Output::Datagram { to, bytes } => {
            let (front, rest) = wire::unseal(bytes).ok()?;
            let (envelope, body) = Envelope::read(front.kind, rest).ok()?;
            let message = (envelope.kind == kind::MESSAGE).then(|| wire::decode::<Message>(body).unwrap())?;
            matches!(message, Message::Knock { at: PEER, by: OWN, .. }).then_some(*to)
        }
        _ => None,
    };
    let mut knocks: Vec<_> = outputs.iter().filter_map(knock).collect();
    knocks.sort_unstable();
    knocks
}

fn opened(outputs: &[Output]) -> StreamId {
    let opened = |output: &Output| match output {
        Output::Connect { stream, to } if *to == gary().address => Some(*stream),
        _ => None,
    };
    outputs.iter().rev().find_map(opened).unwrap()
}

fn is_refused(control: Option<Control>) -> bool {
    matches!(control, Some(Control::Refuse(Refusal::NameTaken(keeper))) if *keeper == gary())
}

/// The newcomer answers the welcome; by what proof it was admitted.
fn admitted(engine: &mut Engine, now: Now, stream: StreamId) -> Option<Superseded> {
    let (knows, have) = (engine.roster.fingerprint(), Have::Context(Context::default()));
    let bytes = control_frame(&Control::Pull { roster: None, members: None, knows, have, expected: Vec::new() });
    engine.handle(now, Input::Frame { stream, bytes });
    engine.roster.get(STRANGER).filter(|_| engine.roster.is_admitted(STRANGER))?.tenure.supersedes
}

#[test]
fn a_holder_that_answers_a_datagram_keeps_its_name() {
    for straight in [true, false] {
        let mut engine = sponsor(true);
        let (newcomer, outputs) = come(&mut engine);
        assert_eq!(answer(&outputs, newcomer), None, "it waits");
        assert_eq!(knocks(&outputs), [gary().address, ([127, 0, 0, 1], 4_874).into()], "straight and over another");
        let from = if straight { gary() } else { identity("mary", RELAY, 4_874) };
        let here = |sent| Message::Here { who: Box::new(gary()), by: OWN, sent, stays: true };
        let late = message(&mut engine, after(20), &from, &here(NOW.instant + Duration::from_millis(1)));
        assert_eq!(answer(&late, newcomer), None, "an answer to another question");
        let outputs = message(&mut engine, after(20), &from, &here(NOW.instant));
        assert!(is_refused(answer(&outputs, newcomer)));
        assert!(engine.roster.is_admitted(PEER) && engine.roster.get(STRANGER).is_none());
    }
}

#[test]
fn a_holder_that_answers_a_stream_keeps_its_name() {
    let mut engine = sponsor(true);
    let (newcomer, outputs) = come(&mut engine);
    let stream = opened(&outputs);
    engine.handle(after(10), Input::Connected { stream });
    let welcome = Control::Welcome { identity: Box::new(gary()), roster: None, members: None, spoken: Versions::OURS };
    engine.handle(after(20), Input::Frame { stream, bytes: first_frame(&welcome) });
    let outputs: Vec<_> = std::iter::from_fn(|| engine.poll_output()).collect();
    assert!(is_refused(answer(&outputs, newcomer)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Close { stream: closed } if *closed == stream)));
}

#[test]
fn a_holder_that_leaves_is_waited_for() {
    let mut engine = sponsor(true);
    let (newcomer, _) = come(&mut engine);
    let here = Message::Here { who: Box::new(gary()), by: OWN, sent: NOW.instant, stays: false };
    let outputs = message(&mut engine, after(20), &gary(), &here);
    assert_eq!(answer(&outputs, newcomer), Some(Control::Refuse(Refusal::Busy)));
}

#[test]
fn silence_of_half_a_second_is_proof_and_a_refused_stream_sooner() {
    type Happens = fn(&mut Engine, StreamId);
    let nothing: Happens = |_, _| {};
    let refused: Happens = |engine, stream| engine.handle(NOW, Input::ConnectFailed { stream, refused: true });
    let failed: Happens = |engine, stream| engine.handle(NOW, Input::ConnectFailed { stream, refused: false });
    let other: Happens = |engine, stream| {
        let identity = Box::new(identity("someone", ReplicaId(9), 4_872));
        let welcome = Control::Welcome { identity, roster: None, members: None, spoken: Versions::OURS };
        engine.handle(NOW, Input::Connected { stream });
        engine.handle(NOW, Input::Frame { stream, bytes: first_frame(&welcome) });
    };
    let down: Happens = |engine, _| {
        engine.swim.declare_down(NOW.instant, PEER).unwrap();
        engine.handle(NOW, Input::StoreChanged);
    };
    let left: Happens = |engine, _| drop(message(engine, NOW, &gary(), &Message::Leave));
    let cases = [
        ("nothing comes", nothing, true, 500, Proof::Silent),
        ("no connection", failed, true, 500, Proof::Silent),
        ("refused, and others knock", refused, true, 200, Proof::Refused),
        ("refused, with no other to ask", refused, false, 0, Proof::Refused),
        ("another process is there", other, true, 0, Proof::Replaced),
        ("found Down", down, true, 0, Proof::Down),
        ("it left", left, true, 0, Proof::Left),
    ];
    for (case, happens, others, millis, proof) in cases {
        let mut engine = sponsor(others);
        let (newcomer, mut outputs) = come(&mut engine);
        assert_eq!(answer(&outputs, newcomer), None, "{case}");
        let stream = opened(&outputs);
        happens(&mut engine, stream);
        outputs = std::iter::from_fn(|| engine.poll_output()).collect();
        if millis > 0 {
            outputs.extend(run(&mut engine, after(millis - 1)));
            assert_eq!(answer(&outputs, newcomer), None, "{case}");
            let early = knocks(&outputs).len() as u64;
            assert_eq!(early, 2 * ((millis - 1) / 100), "{case}: knocks");
            outputs = run(&mut engine, after(millis));
        }
        assert!(matches!(answer(&outputs, newcomer), Some(Control::Welcome { .. })), "{case}");
        let superseded = admitted(&mut engine, after(millis), newcomer);
        assert_eq!(superseded, Some(Superseded { run: PEER, proof }), "{case}");
        assert!(!engine.roster.is_admitted(PEER), "{case}");
    }
}

/// What is known already is not asked for.
#[test]
fn a_newcomer_in_the_place_of_one_that_is_known_to_be_gone_does_not_wait() {
    for restarted in [false, true] {
        let mut engine = sponsor(true);
        if restarted {
            let former = Identity { replica: PEER, ..identity("gary", STRANGER, 4_873) };
            engine.swim.apply(NOW.instant, vec![Record { identity: former, incarnation: 0, state: Liveness::Alive }]);
        } else {
            engine.swim.declare_down(NOW.instant, PEER).unwrap();
        }
        engine.handle(NOW, Input::StoreChanged);
        let (newcomer, outputs) = come(&mut engine);
        assert!(matches!(answer(&outputs, newcomer), Some(Control::Welcome { .. })), "{restarted}");
    }
}

/// As when it was cut off, or stood still, and hears of its successor before it hears anything else of it.
#[test]
fn a_run_that_was_superseded_gives_way_to_one_that_lives_and_takes_its_name_back_from_one_that_is_gone() {
    for lives in [true, false] {
        let mut engine = sponsor(true);
        let heir = identity("larry", STRANGER, 4_879);
        let mut roster = Roster::new();
        let tenure = engine.roster.tenure_of(STRANGER, &heir.node, Proof::Silent, crate::time::Stamp::from_millis(5));
        roster.admit(STRANGER, heir.node.clone(), tenure);
        let relay = identity("mary", RELAY, 4_874);
        message(&mut engine, NOW, &relay, &Message::Roster(roster));
        assert!(engine.roster.is_admitted(OWN) && engine.formed(), "nothing is known of the other yet");
        if lives {
            let here = Message::Here { who: Box::new(heir.clone()), by: OWN, sent: NOW.instant, stays: true };
            let outputs = message(&mut engine, after(20), &relay, &here);
            let (node, other, address) = (heir.node, heir.replica, heir.address);
            let told = Event::NameTaken { node, other, address, keeps: false };
            assert!(outputs.iter().any(|output| matches!(output, Output::Event(event) if *event == told)));
            assert!(engine.is_gone());
            assert_eq!(engine.status().name_taken_by, Some(address));
        } else {
            run(&mut engine, after(499));
            assert_eq!(engine.roster.get(STRANGER), None);
            run(&mut engine, after(500));
            assert!(engine.roster.is_admitted(OWN) && engine.formed());
            let tenure = engine.roster.get(OWN).unwrap().tenure;
            assert_eq!(tenure.supersedes, Some(Superseded { run: STRANGER, proof: Proof::Silent }));
        }
    }
}

#[test]
fn a_run_answers_for_itself_and_passes_on_what_members_ask_of_others() {
    let mut engine = sponsor(true);
    let relay = identity("mary", RELAY, 4_874);
    let knock = |at, by| Message::Knock { at, by, sent: NOW.instant };
    let sent = |outputs: &[Output]| -> Vec<_> {
        let to = |output: &Output| if let Output::Datagram { to, .. } = output { Some(*to) } else { None };
        outputs.iter().filter_map(to).collect()
    };
    let stranger = identity("gary", STRANGER, 4_873);
    assert_eq!(sent(&message(&mut engine, NOW, &relay, &knock(OWN, RELAY))), [relay.address]);
    assert_eq!(sent(&message(&mut engine, NOW, &relay, &knock(PEER, RELAY))), [gary().address]);
    assert_eq!(sent(&message(&mut engine, NOW, &relay, &knock(PEER, STRANGER))), [], "two hops");
    assert_eq!(sent(&message(&mut engine, NOW, &stranger, &knock(PEER, STRANGER))), [], "no member");
    let here = |by| Message::Here { who: Box::new(gary()), by, sent: NOW.instant, stays: true };
    assert_eq!(sent(&message(&mut engine, NOW, &gary(), &here(RELAY))), [relay.address]);
    assert_eq!(sent(&message(&mut engine, NOW, &relay, &here(RELAY))), [], "not by the one that was asked after");
    engine.stand_back();
    while engine.poll_output().is_some() {}
    assert_eq!(sent(&message(&mut engine, NOW, &relay, &knock(OWN, RELAY))), [], "it has no name any more");
}
