//! Watch streams between several watchers, with the engine's part played here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::network::identity;
use crate::id::ReplicaId;
use crate::membership::{Identity, WatchOutput, Watchers};
use crate::time::Instant;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What connecting from one to another leads to.
#[derive(Clone, PartialEq)]
enum Answer {
    Open,
    Refused,
    Silence,
    By(Identity),
}

struct Mesh {
    now: Instant,
    watchers: BTreeMap<ReplicaId, Watchers>,
    answers: BTreeMap<(ReplicaId, ReplicaId), Answer>,
    open: BTreeSet<(ReplicaId, ReplicaId)>,
    suspected: Vec<(ReplicaId, ReplicaId)>,
    down: Vec<(ReplicaId, ReplicaId)>,
    opens: usize,
}

impl Mesh {
    fn new(size: usize) -> Self {
        let live: Vec<Identity> = (0..size).map(identity).collect();
        let now = Instant::from_nanos(1);
        let watchers = live.iter().map(|one| {
            let mut watchers = Watchers::new(one.replica);
            watchers.set_members(now, &live);
            (one.replica, watchers)
        });
        let mut mesh = Self {
            now,
            watchers: watchers.collect(),
            answers: BTreeMap::new(),
            open: BTreeSet::new(),
            suspected: Vec::new(),
            down: Vec::new(),
            opens: 0,
        };
        mesh.settle();
        mesh
    }

    /// Those who watch `target`.
    fn watching(&self, target: ReplicaId) -> Vec<ReplicaId> {
        self.open.iter().filter(|(_, to)| *to == target).map(|(from, _)| *from).collect()
    }

    fn answer(&mut self, from: ReplicaId, to: ReplicaId, answer: Answer) {
        self.answers.insert((from, to), answer);
    }

    /// Ends the streams of some watchers of `target`, if they are open.
    fn end(&mut self, target: ReplicaId, of: &[ReplicaId]) {
        for from in of {
            if self.open.remove(&(*from, target)) {
                self.watchers.get_mut(from).unwrap().ended(self.now, target);
            }
        }
        self.settle();
    }

    fn kill(&mut self, target: ReplicaId, answer: &Answer) {
        self.watchers.remove(&target);
        for from in self.watchers.keys().copied().collect::<Vec<_>>() {
            self.answer(from, target, answer.clone());
        }
        self.end(target, &self.watching(target));
    }

    fn settle(&mut self) {
        loop {
            let next = self.watchers.iter_mut().find_map(|(from, one)| one.poll().map(|output| (*from, output)));
            let Some((from, output)) = next else { return };
            self.carry_out(from, output);
        }
    }

    fn carry_out(&mut self, from: ReplicaId, output: WatchOutput) {
        let now = self.now;
        match output {
            WatchOutput::Open(identity) => {
                self.opens += 1;
                let target = identity.replica;
                let answer = self.answers.get(&(from, target)).cloned().unwrap_or(Answer::Open);
                let one = self.watchers.get_mut(&from).unwrap();
                match answer {
                    Answer::Open => {
                        self.open.insert((from, target));
                        one.opened(now, target);
                    }
                    Answer::Refused => one.failed(now, target, true),
                    Answer::Silence => one.failed(now, target, false),
                    Answer::By(other) => one.answered_by(now, target, &other),
                }
            }
            WatchOutput::Close(target) => {
                self.open.remove(&(from, target));
            }
            WatchOutput::Suspect(target) => self.suspected.push((from, target)),
            WatchOutput::Down(target) => self.down.push((from, target)),
            WatchOutput::Tell { to, about } => {
                if let Some(one) = self.watchers.get_mut(&to) {
                    one.told_refused(now, from, about);
                }
            }
            WatchOutput::Ask { to, about } => {
                if let Some(one) = self.watchers.get_mut(&to) {
                    one.asked(now, from, about);
                }
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.watchers.values().filter_map(Watchers::poll_timeout).min().filter(|at| *at <= end) {
            self.now = at;
            for one in self.watchers.values_mut() {
                one.handle_deadline(at);
            }
            self.settle();
        }
        self.now = end;
    }

    fn refuted(&mut self, by: ReplicaId, target: ReplicaId) {
        self.watchers.get_mut(&by).unwrap().refuted(self.now, target);
    }
}

const TARGET: ReplicaId = ReplicaId(3);

#[test]
fn everybody_keeps_three_streams() {
    assert_eq!(Mesh::new(10).open.len(), 30);
    assert_eq!(Mesh::new(3).open.len(), 6);
    assert_eq!(Mesh::new(1).open.len(), 0);
}

#[test]
fn a_killed_process_is_down_as_soon_as_two_are_refused() {
    for size in [3, 4, 10] {
        let mut mesh = Mesh::new(size);
        mesh.kill(TARGET, &Answer::Refused);
        assert!(!mesh.down.is_empty(), "{size} nodes, and no time has passed");
        assert!(mesh.down.iter().all(|(_, target)| *target == TARGET));
        let sayers: BTreeSet<_> = mesh.down.iter().map(|(by, _)| *by).collect();
        assert_eq!(sayers.len(), mesh.down.len(), "each says it once");
    }
}

#[test]
fn with_two_members_one_refusal_is_enough() {
    let mut mesh = Mesh::new(2);
    mesh.kill(ReplicaId(2), &Answer::Refused);
    assert_eq!(mesh.down, [(ReplicaId(1), ReplicaId(2))]);
}

#[test]
fn a_firewall_that_rejects_between_two_nodes_kills_nobody() {
    let mut mesh = Mesh::new(10);
    let watcher = mesh.watching(TARGET)[0];
    mesh.answer(watcher, TARGET, Answer::Refused);
    mesh.end(TARGET, &[watcher]);
    mesh.run(Duration::from_secs(120));
    assert!(mesh.suspected.contains(&(watcher, TARGET)));
    assert!(mesh.suspected.iter().all(|accused| *accused == (watcher, TARGET)));
    assert_eq!(mesh.down, []);
    assert_eq!(mesh.watching(TARGET).len(), 2, "the others see it still, by a fresh stream");
}

#[test]
fn an_asked_watcher_looks_afresh_although_its_stream_is_open() {
    let mut mesh = Mesh::new(10);
    let [first, second, third] = mesh.watching(TARGET)[..] else { panic!() };
    // The second one's stream is open still, but no new one would be let in.
    mesh.answer(first, TARGET, Answer::Refused);
    mesh.answer(second, TARGET, Answer::Refused);
    mesh.end(TARGET, &[first]);
    assert!(mesh.down.contains(&(second, TARGET)) && mesh.down.contains(&(first, TARGET)));
    assert!(!mesh.down.contains(&(third, TARGET)));
}

#[test]
fn refusals_too_far_apart_do_not_add_up() {
    let mut mesh = Mesh::new(10);
    let [first, second, _] = mesh.watching(TARGET)[..] else { panic!() };
    let one = mesh.watchers.get_mut(&first).unwrap();
    one.told_refused(mesh.now, second, TARGET);
    mesh.settle();
    mesh.run(millis(3_001));
    mesh.answer(first, TARGET, Answer::Refused);
    let now = mesh.now;
    let one = mesh.watchers.get_mut(&first).unwrap();
    one.ended(now, TARGET);
    // Not settled through the mesh, in which the second would be asked and be refused as well.
    assert!(matches!(one.poll(), Some(WatchOutput::Open(_))));
    one.failed(now, TARGET, true);
    let said: Vec<_> = std::iter::from_fn(|| one.poll()).collect();
    assert!(said.contains(&WatchOutput::Suspect(TARGET)) && !said.contains(&WatchOutput::Down(TARGET)), "{said:?}");
    one.told_refused(now + millis(2_999), second, TARGET);
    assert_eq!(one.poll(), Some(WatchOutput::Down(TARGET)));
}

#[test]
fn a_refusal_without_a_stream_before_it_proves_nothing() {
    let live: Vec<Identity> = (0..2).map(identity).collect();
    let mut one = Watchers::new(ReplicaId(1));
    one.set_members(Instant::ZERO, &live);
    assert_eq!(one.poll(), Some(WatchOutput::Open(identity(1))));
    let mut now = Instant::ZERO;
    let mut waits = Vec::new();
    for _ in 0..10 {
        one.failed(now, ReplicaId(2), true);
        let until = one.poll_timeout().unwrap();
        waits.push(until.since(now).as_millis());
        now = until;
        one.handle_deadline(now);
        assert_eq!(one.poll(), Some(WatchOutput::Open(identity(1))));
        assert_eq!(one.poll(), None);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
}

#[test]
fn silence_accuses_nobody_and_is_tried_again() {
    let mut mesh = Mesh::new(10);
    mesh.kill(TARGET, &Answer::Silence);
    mesh.run(Duration::from_secs(60));
    assert_eq!((mesh.suspected.len(), mesh.down.len()), (0, 0));
    assert!(mesh.opens > 40);
}

#[test]
fn a_handshake_answered_by_a_newer_boot_is_proof() {
    let newer = Identity { replica: ReplicaId(77), boot: 2_000, ..identity(2) };
    let older = Identity { boot: 500, ..newer.clone() };
    for (answer, proof) in
        [(newer.clone(), true), (older, false), (Identity { address: identity(1).address, ..newer }, false)]
    {
        let mut mesh = Mesh::new(10);
        let watcher = mesh.watching(TARGET)[0];
        mesh.answer(watcher, TARGET, Answer::By(answer));
        mesh.end(TARGET, &[watcher]);
        assert_eq!(mesh.down.contains(&(watcher, TARGET)), proof);
    }
}

#[test]
fn one_who_was_wrong_twice_is_not_heard_on_that_target_for_an_hour() {
    let mut mesh = Mesh::new(10);
    let [watcher, other, _] = mesh.watching(TARGET)[..] else { panic!() };
    let accuse = |mesh: &mut Mesh| {
        mesh.suspected.clear();
        mesh.answer(watcher, TARGET, Answer::Open);
        mesh.run(Duration::from_secs(20));
        mesh.answer(watcher, TARGET, Answer::Refused);
        mesh.end(TARGET, &[watcher]);
        mesh.suspected.contains(&(watcher, TARGET))
    };
    for _ in 0..2 {
        assert!(accuse(&mut mesh));
        mesh.refuted(watcher, TARGET);
        // Hearing of it again is not being wrong again.
        mesh.refuted(watcher, TARGET);
    }
    assert!(!accuse(&mut mesh));
    mesh.kill(TARGET, &Answer::Refused);
    assert!(!mesh.down.contains(&(watcher, TARGET)) && mesh.down.contains(&(other, TARGET)));
    mesh.run(Duration::from_secs(3_600));
    mesh.suspected.clear();
    assert!(accuse(&mut mesh));
}

/// What counts most was forgotten: that a member which was found Down came back as the same run.
#[test]
fn one_who_was_wrong_is_remembered_while_the_member_is_down() {
    let mut mesh = Mesh::new(10);
    let watcher = mesh.watching(TARGET)[0];
    let all: Vec<Identity> = (0..10).map(identity).collect();
    let others: Vec<Identity> = all.iter().filter(|one| one.replica != TARGET).cloned().collect();
    let lists = |mesh: &mut Mesh, members: &[Identity]| {
        let now = mesh.now;
        mesh.watchers.get_mut(&watcher).unwrap().set_members(now, members);
        mesh.settle();
    };
    for heard in [true, true, false] {
        mesh.suspected.clear();
        mesh.answer(watcher, TARGET, Answer::Refused);
        mesh.end(TARGET, &[watcher]);
        assert_eq!(mesh.suspected.contains(&(watcher, TARGET)), heard);
        lists(&mut mesh, &others);
        mesh.answer(watcher, TARGET, Answer::Open);
        lists(&mut mesh, &all);
        mesh.refuted(watcher, TARGET);
    }
    let now = mesh.now + Duration::from_secs(3_601);
    let one = mesh.watchers.get_mut(&watcher).unwrap();
    one.set_members(now, &others);
    assert_eq!(one.remembered(), 0, "nothing is remembered for ever");
}

#[test]
fn only_watchers_of_a_member_are_heard_about_it() {
    let mut mesh = Mesh::new(10);
    let watching = mesh.watching(TARGET);
    let stranger = *mesh.watchers.keys().find(|one| !watching.contains(one) && **one != TARGET).unwrap();
    let opens = mesh.opens;
    let now = mesh.now;
    let one = mesh.watchers.get_mut(&watching[0]).unwrap();
    one.told_refused(now, stranger, TARGET);
    one.asked(now, stranger, TARGET);
    one.told_refused(now, watching[0], TARGET);
    mesh.settle();
    assert_eq!(mesh.opens, opens);
}

#[test]
fn streams_follow_the_members() {
    let live: Vec<Identity> = (0..2).map(identity).collect();
    let mut one = Watchers::new(ReplicaId(1));
    one.set_members(Instant::ZERO, &live);
    assert_eq!(one.poll(), Some(WatchOutput::Open(identity(1))));
    one.opened(Instant::ZERO, ReplicaId(2));
    // A renewal moves nothing, a new address does, and who is gone is closed.
    one.set_members(Instant::ZERO, &[identity(0), Identity { renewal: 1, ..identity(1) }]);
    assert_eq!(one.poll(), None);
    let moved = Identity { address: ([10, 9, 9, 9], 1).into(), ..identity(1) };
    one.set_members(Instant::ZERO, &[identity(0), moved.clone()]);
    assert_eq!((one.poll(), one.poll()), (Some(WatchOutput::Close(ReplicaId(2))), Some(WatchOutput::Open(moved))));
    one.set_members(Instant::ZERO, &[identity(0)]);
    assert_eq!((one.poll(), one.poll()), (Some(WatchOutput::Close(ReplicaId(2))), None));
    one.opened(Instant::ZERO, ReplicaId(2));
    assert_eq!(one.poll(), Some(WatchOutput::Close(ReplicaId(2))));
}
