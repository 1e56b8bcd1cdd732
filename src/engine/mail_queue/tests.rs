//! Queues of letters: bounds, frames, and what waits for others.

use super::*;

const PEER: ReplicaId = ReplicaId(2);

fn letter(number: u64, length: usize) -> Letter {
    Letter { number, to: PEER, until: None, bytes: vec![7; length].into() }
}

fn letters(frame: &[u8]) -> Vec<(Option<Duration>, usize)> {
    let (kind, mut body) = wire::split_frame(frame).unwrap();
    assert_eq!(kind, kind::MAIL);
    let mut found = Vec::new();
    while !body.is_empty() {
        let Found { left, letter, rest, .. } = split_letter(body).unwrap();
        found.push((left, letter.len()));
        body = rest;
    }
    found
}

#[test]
fn many_letters_share_a_frame_and_two_frames_are_under_way() {
    let (mut mail, now) = (Mail::default(), Instant::ZERO);
    mail.opening(now, PEER, StreamId(2));
    for number in 0..5_000 {
        mail.push(now, letter(number, 100)).unwrap();
    }
    assert!(mail.poll(now, PEER).is_none(), "the stream is not open");
    mail.opened(now, PEER, StreamId(2));
    let first = mail.poll(now, PEER).unwrap().1;
    assert!(letters(&first).len() > 500 && first.len() < FRAME + 200, "{}", first.len());
    assert!(mail.poll(now, PEER).is_some());
    assert!(mail.poll(now, PEER).is_none() && mail.is_waiting(PEER, StreamId(2)));
    mail.flushed(PEER, StreamId(2));
    assert!(mail.poll(now, PEER).is_some());
}

#[test]
fn what_waits_is_bounded_for_a_peer_and_in_all() {
    let (mut mail, now) = (Mail::default(), Instant::ZERO);
    let taken = (0..100_000).take_while(|number| mail.push(now, letter(*number, 1)).is_ok()).count();
    assert_eq!(taken, PEER_LETTERS);
    let mut mail = Mail::default();
    let big = 1 << 20;
    let taken = (0..100).take_while(|number| mail.push(now, letter(*number, big)).is_ok()).count();
    assert_eq!(taken, PEER_BYTES / big);
    let others = (3..)
        .take_while(|peer| (0..8).all(|_| mail.push(now, Letter { to: ReplicaId(*peer), ..letter(0, big) }).is_ok()));
    assert_eq!(others.count(), (ALL_BYTES - PEER_BYTES) / PEER_BYTES);
    mail.opening(now, PEER, StreamId(2));
    let back = mail.ended(PEER, StreamId(2)).unwrap().unsent;
    assert_eq!(back.len(), PEER_BYTES / big);
    assert!(mail.push(now, letter(1, big)).is_ok(), "there is room again");
}

#[test]
fn the_largest_letter_fits_a_frame_of_its_own() {
    let (mut mail, now) = (Mail::default(), Instant::ZERO);
    mail.accepted(now, PEER, StreamId(1));
    for length in [10, MAX_FRAME - AROUND, 10] {
        mail.push(now, letter(1, length)).unwrap();
    }
    let sent: Vec<_> = std::iter::from_fn(|| mail.poll(now, PEER)).map(|(_, frame)| frame).collect();
    assert_eq!(sent.iter().map(|frame| letters(frame).len()).collect::<Vec<_>>(), [1, 1]);
    assert!(sent.iter().all(|frame| frame.len() <= MAX_FRAME));
}

#[test]
fn letters_whose_time_is_over_do_not_go_and_others_say_how_much_is_left() {
    let (mut mail, now) = (Mail::default(), Instant::ZERO);
    let second = Duration::from_secs(1);
    mail.accepted(now, PEER, StreamId(1));
    mail.push(now, Letter { until: Some(now + second), ..letter(1, 10) }).unwrap();
    mail.push(now, Letter { until: Some(now + 3 * second), ..letter(2, 20) }).unwrap();
    let (_, frame) = mail.poll(now + 2 * second, PEER).unwrap();
    assert_eq!(letters(&frame), [(Some(second), 20)]);
    mail.push(now, Letter { until: Some(now + second), ..letter(3, 10) }).unwrap();
    mail.drop_late(now + 2 * second);
    assert_eq!((mail.bytes, mail.links[&PEER].queue.len()), (0, 0));
}

#[test]
fn a_length_that_lies_is_malformed() {
    let bytes = wire::encode(&(Front::Letter, 0_u64, u64::MAX));
    assert_eq!(split_letter(&bytes), Err(Malformed));
    let bytes = wire::encode_onto(Vec::new(), &(Front::Letter, 0_u64, 3_u64));
    assert_eq!(split_letter(&[&bytes[..], &[1, 2]].concat()), Err(Malformed));
}

#[test]
fn what_stands_around_a_letter_has_room() {
    let (most, id) = (u64::MAX, ReplicaId(u64::MAX));
    let head = wire::encode(&(Front::Onward { to: id, number: most }, most, most));
    assert!(wire::open_frame(kind::MAIL).len() + head.len() <= AROUND, "{}", head.len());
}

#[test]
fn what_is_passed_on_is_counted_as_long_as_it_waits() {
    let (mut mail, now, other) = (Mail::default(), Instant::ZERO, ReplicaId(3));
    let of = |number| Queued { front: Front::Of(other), letter: letter(number, 10) };
    mail.opening(now, PEER, StreamId(2));
    mail.push(now, letter(1, 10)).unwrap();
    for number in 2..5 {
        mail.enqueue(now, PEER, of(number)).unwrap();
    }
    assert_eq!(mail.passing(), (3, 30));
    mail.opened(now, PEER, StreamId(2));
    assert!(mail.poll(now, PEER).is_some());
    assert_eq!(mail.passing(), (0, 0));
    mail.enqueue(now, PEER, of(5)).unwrap();
    let own = mail.take_own(PEER);
    assert_eq!((own.len(), mail.passing()), (0, (1, 10)));
    let ended = mail.ended(PEER, StreamId(2)).unwrap();
    assert_eq!((ended.unsent.len(), mail.passing(), mail.bytes), (1, (0, 0), 0));
    assert!(ended.was_open && ended.senders.contains(&other) && ended.onward.is_empty());
}

#[test]
fn a_stream_on_which_nothing_comes_is_asked_once_and_given_up() {
    let (mut mail, now, second) = (Mail::default(), Instant::ZERO, Duration::from_secs(1));
    mail.accepted(now, PEER, StreamId(1));
    mail.push(now, letter(1, 10)).unwrap();
    assert!(!mail.silent(now + 9 * second, second).iter().any(|some| !some.is_empty()), "nothing was sent");
    mail.poll(now, PEER).unwrap();
    let [ask, give_up] = mail.silent(now + second / 2, second);
    assert_eq!((ask.len(), give_up.len()), (1, 0));
    assert!(mail.silent(now + second / 2, second)[0].is_empty());
    assert_eq!(mail.silent(now + 2 * second, second)[1], [(PEER, StreamId(1))]);
    mail.heard(now + 2 * second, PEER);
    assert!(!mail.silent(now + 9 * second, second).iter().any(|some| !some.is_empty()));
}
