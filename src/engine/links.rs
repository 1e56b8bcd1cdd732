//! Links that are broken while both ends live: found, gone around, tried again, and told of.
//!
//! ```text
//!   a stream is not opened, or what was sent on it is not acknowledged, and the other end is Alive
//!     └─▶ broken ── ask who reaches it ──▶ over that member ── a direct stream opens ─▶ as before
//!            └ nobody does: what waits goes back         └ tried again after 1, 2, 4 … 30 s, and when a digest is answered
//! ```
//!
//! Nothing is sent for this while nothing fails: a link is tested by what the application sends over it. Only a member
//! that has an answer of the other end of late says that it reaches it, so both ways of both links work. A member that is
//! Suspect or Down is none of this: then not the link is broken, and membership says what becomes of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;

use super::mail::{Letter, MailEvent, Unsent};
use super::mail_queue::Front;
use super::message::{Message, Purpose};
use super::relay::Passing;
use super::streams::StreamPhase;
use super::timers::Timer;
use super::{Engine, Event, Output};
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::time::Instant;

/// So many members are asked at a time.
const ASKED: usize = 8;

/// For so long a relay is looked for before what waits for it goes back, and so long after that it is not again.
const SEARCH: Duration = Duration::from_secs(1);

/// How often the question is repeated meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A member that answered so short ago is reached.
const FRESH: Duration = Duration::from_secs(3);

/// The pauses between two direct attempts: the first and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How seldom it is told of a link that it is broken.
const TOLD: Duration = Duration::from_secs(60);

/// So many letters, and so many bytes of them, wait until a relay is found.
const WAITING_LETTERS: usize = 1_024;
const WAITING_BYTES: usize = 4 << 20;

/// The links of this node that are broken, and what it passes on for others.
#[derive(Debug, Default)]
pub(super) struct Links {
    broken: BTreeMap<ReplicaId, Broken>,
    /// When it was last told of a link.
    told: BTreeMap<ReplicaId, Instant>,
    /// When a link was last looked after because a digest was not answered.
    looked: BTreeMap<ReplicaId, Instant>,
    pub(super) passing: Passing,
}

#[derive(Debug)]
struct Broken {
    since: Instant,
    /// Over whom letters go.
    over: Option<ReplicaId>,
    /// Who was tried as a relay and could not reach it either.
    failed: BTreeSet<ReplicaId>,
    search_until: Instant,
    ask_at: Instant,
    waiting: VecDeque<Letter>,
    waiting_bytes: usize,
    retry_at: Instant,
    pause: Duration,
    told: bool,
}

impl Broken {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            over: None,
            failed: BTreeSet::new(),
            search_until: now,
            ask_at: now,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            retry_at: now + RETRY.0,
            pause: RETRY.0,
            told: false,
        }
    }

    fn wait(&mut self, letter: Letter) -> Result<(), Unsent> {
        let bytes = self.waiting_bytes + letter.bytes.len();
        if self.waiting.len() >= WAITING_LETTERS || bytes > WAITING_BYTES {
            return Err(Unsent::Full);
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back(letter);
        Ok(())
    }

    fn take_waiting(&mut self) -> VecDeque<Letter> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl Links {
    pub(super) fn is_broken(&self, peer: ReplicaId) -> bool {
        self.broken.contains_key(&peer)
    }
}

impl Engine {
    fn is_alive(&self, peer: ReplicaId) -> bool {
        self.live().contains(&peer) && self.swim.member(peer).is_some_and(|(_, state)| state == Liveness::Alive)
    }

    /// After how long without a sign of the other end its link is taken for broken: if it did not live, it would be Down by
    /// then.
    fn silence(&self) -> Duration {
        self.config.timing.membership.suspicion
    }

    /// Looks after the links soon, if that is not to happen anyhow.
    pub(super) fn watch_links(&mut self) {
        if !self.timers.is_set(Timer::Links) {
            let pause = (self.silence() / 8).clamp(Duration::from_millis(50), Duration::from_millis(250));
            self.timers.set(Timer::Links, self.now.instant + pause);
        }
    }

    /// The link to a member does not carry anything. Returns whether letters for it are to go around.
    pub(super) fn link_broken(&mut self, peer: ReplicaId) -> bool {
        if self.links.is_broken(peer) {
            return true;
        }
        if !self.is_alive(peer) || self.is_gone() {
            return false;
        }
        self.stats.links_broken += 1;
        self.links.broken.insert(peer, Broken::new(self.now.instant));
        self.lost_relay(peer);
        self.look_for_relay(peer);
        self.watch_links();
        true
    }

    /// A letter came over this member from one that has no other way here: what is said to it goes back the same way.
    pub(super) fn came_around(&mut self, origin: ReplicaId, relay: ReplicaId) {
        let now = self.now.instant;
        if !self.live().contains(&origin) {
            return;
        }
        if !self.links.is_broken(origin) {
            self.stats.links_broken += 1;
        }
        let broken = self.links.broken.entry(origin).or_insert_with(|| Broken::new(now));
        broken.failed.remove(&relay);
        self.found_relay(origin, relay);
        self.watch_links();
    }

    /// Whether letters for a member are to go around, or to wait until it is known over whom. Where no member reaches it
    /// they are tried directly, but for a search now and then.
    pub(super) fn goes_around(&self, peer: ReplicaId) -> bool {
        let searches = |until: Instant| self.now.instant < until || self.now.instant >= until + SEARCH;
        self.links.broken.get(&peer).is_some_and(|broken| broken.over.is_some() || searches(broken.search_until))
    }

    /// A letter for a member whose link is broken.
    pub(super) fn send_around(&mut self, letter: Letter) -> Result<(), Unsent> {
        let (now, to) = (self.now.instant, letter.to);
        let Some(broken) = self.links.broken.get_mut(&to) else { return Err(Unsent::NotReachable) };
        if let Some(relay) = broken.over {
            return self.send_over(relay, letter);
        }
        if now >= broken.search_until + SEARCH {
            broken.wait(letter)?;
            broken.failed.clear();
            self.look_for_relay(to);
            return Ok(());
        }
        if now >= broken.search_until { Err(Unsent::NotReachable) } else { broken.wait(letter) }
    }

    /// Sends letters around that were about to go the direct way; those that cannot go back.
    pub(super) fn send_all_around(&mut self, peer: ReplicaId, letters: impl IntoIterator<Item = Letter>) {
        for letter in letters {
            let numbers = vec![letter.number];
            if let Err(why) = self.send_around(letter) {
                self.outputs.push_back(Output::Mail(MailEvent::Returned { to: peer, numbers, why }));
            }
        }
    }

    fn look_for_relay(&mut self, peer: ReplicaId) {
        let now = self.now.instant;
        let Some(broken) = self.links.broken.get_mut(&peer) else { return };
        (broken.over, broken.search_until) = (None, now + SEARCH);
        self.ask_for_relay(peer);
    }

    /// Asks some members whether they reach one; without any, what waits goes back.
    fn ask_for_relay(&mut self, peer: ReplicaId) {
        let now = self.now.instant;
        let Some(broken) = self.links.broken.get_mut(&peer) else { return };
        broken.ask_at = now + ASK_AGAIN;
        let failed = broken.failed.clone();
        let may = |other: &ReplicaId| *other != peer && !failed.contains(other) && !self.links.is_broken(*other);
        let mut others: Vec<ReplicaId> = self.live().iter().copied().filter(may).collect();
        if others.is_empty() {
            return self.no_relay(peer);
        }
        for at in 0..ASKED.min(others.len()) {
            let pick = self.random.random_range(at..others.len());
            others.swap(at, pick);
        }
        for other in others.into_iter().take(ASKED) {
            self.send(other, &Message::Reach(peer));
        }
    }

    /// Nobody reaches it: what waits goes back, and nobody is asked for a while.
    fn no_relay(&mut self, peer: ReplicaId) {
        let now = self.now.instant;
        let Some(broken) = self.links.broken.get_mut(&peer) else { return };
        broken.search_until = now;
        broken.failed.clear();
        let waiting = broken.take_waiting();
        self.return_letters(peer, waiting, Unsent::NotReachable);
    }

    pub(super) fn return_letters(&mut self, to: ReplicaId, letters: impl IntoIterator<Item = Letter>, why: Unsent) {
        let numbers: Vec<u64> = letters.into_iter().map(|letter| letter.number).collect();
        if !numbers.is_empty() {
            self.outputs.push_back(Output::Mail(MailEvent::Returned { to, numbers, why }));
        }
    }

    /// A member asks whether this one reaches another: it says so if it does, and finds out if it does not know.
    pub(super) fn asked_reach(&mut self, sender: ReplicaId, about: ReplicaId) {
        if !self.is_alive(about) || self.links.is_broken(about) || self.is_gone() {
            return;
        }
        let answered = self.peers.get(about).and_then(|peer| peer.last.as_ref()).map(|(asked, _)| *asked);
        if answered.is_some_and(|asked| self.now.instant.since(asked) < FRESH) {
            self.send(sender, &Message::Reaches(about));
        } else {
            self.ask_digest(about, false);
        }
    }

    /// A member says that it reaches another.
    pub(super) fn told_reaches(&mut self, sender: ReplicaId, about: ReplicaId) {
        let wanted = |broken: &Broken| broken.over.is_none() && !broken.failed.contains(&sender);
        if sender != about && self.links.broken.get(&about).is_some_and(wanted) {
            self.found_relay(about, sender);
        }
    }

    fn found_relay(&mut self, peer: ReplicaId, relay: ReplicaId) {
        if self.links.is_broken(relay) || !self.live().contains(&relay) {
            return;
        }
        let Some(broken) = self.links.broken.get_mut(&peer) else { return };
        broken.over = Some(relay);
        let waiting = broken.take_waiting();
        self.send_all_around(peer, waiting);
    }

    /// A relay does not reach a member any more, or is not reached itself: another is looked for.
    pub(super) fn relay_failed(&mut self, peer: ReplicaId, relay: ReplicaId) {
        let Some(broken) = self.links.broken.get_mut(&peer).filter(|broken| broken.over == Some(relay)) else { return };
        broken.failed.insert(relay);
        self.look_for_relay(peer);
    }

    /// Whoever went over this member needs another way.
    pub(super) fn lost_relay(&mut self, relay: ReplicaId) {
        let over = self.links.broken.iter().filter(|(_, broken)| broken.over == Some(relay));
        let over: Vec<ReplicaId> = over.map(|(peer, _)| *peer).collect();
        over.into_iter().for_each(|peer| self.relay_failed(peer, relay));
    }

    /// Something came over the direct link.
    pub(super) fn link_restored(&mut self, peer: ReplicaId) {
        let Some(mut broken) = self.links.broken.remove(&peer) else { return };
        if broken.told {
            let lasted = self.now.instant.since(broken.since);
            let (from, to) = (self.swim.identity().node.clone(), self.node_of(peer));
            if let Some(to) = to {
                self.event(Event::LinkRestored { from, to, replica: peer, lasted });
            }
        }
        let waiting = broken.take_waiting();
        self.send_mail(waiting.into());
    }

    /// A member is no more: nothing goes to it, whatever the way.
    pub(super) fn forget_link(&mut self, peer: ReplicaId) {
        if let Some(mut broken) = self.links.broken.remove(&peer) {
            let waiting = broken.take_waiting();
            self.return_letters(peer, waiting, Unsent::NoMember);
        }
        self.links.told.remove(&peer);
        self.links.looked.remove(&peer);
    }

    /// A digest of this node was answered: what was cut may be whole again.
    pub(super) fn answered_directly(&mut self, peer: ReplicaId) {
        let soon = self.now.instant + RETRY.0;
        if let Some(broken) = self.links.broken.get_mut(&peer).filter(|broken| broken.retry_at > soon) {
            broken.retry_at = soon;
        }
    }

    /// Somebody waits for a digest of a member that lives, in vain: tries a stream to it.
    pub(super) fn look_after_link(&mut self, peer: ReplicaId) {
        let now = self.now.instant;
        let rests = self.links.looked.get(&peer).is_some_and(|looked| now.since(*looked) < RETRY.1);
        if rests || self.links.is_broken(peer) || !self.link_broken(peer) {
            return;
        }
        self.links.looked.insert(peer, now);
        if let Some(broken) = self.links.broken.get_mut(&peer) {
            broken.retry_at = now;
        }
    }

    /// What to say of a member that does not answer, if that is the link's fault.
    pub(super) fn missing_link(&self, peer: ReplicaId) -> Option<String> {
        let broken = self.links.broken.get(&peer).filter(|_| self.is_alive(peer))?;
        let (own, other) = (&self.swim.identity().node, self.name_of(peer));
        let over = match broken.over {
            Some(relay) => format!("{} reaches both", self.name_of(relay)),
            None => "no member says that it reaches both".to_owned(),
        };
        Some(format!("the link between {own} and {other} is broken, though both live; {over}"))
    }

    /// Looks after streams on which nothing comes, and after the links that are broken.
    pub(super) fn check_links(&mut self) {
        self.check_connecting();
        self.check_silent();
        let now = self.now.instant;
        let peers: Vec<ReplicaId> = self.links.broken.keys().copied().collect();
        for peer in peers {
            if self.live().contains(&peer) {
                self.check_broken(peer);
            } else {
                self.forget_link(peer);
            }
        }
        self.links.told.retain(|_, told| now.since(*told) < TOLD);
        self.links.looked.retain(|_, looked| now.since(*looked) < RETRY.1);
        if !self.links.broken.is_empty() || self.mail.awaits_signs() {
            self.watch_links();
        }
    }

    fn check_broken(&mut self, peer: ReplicaId) {
        let (now, silence, is_alive) = (self.now.instant, self.silence(), self.is_alive(peer));
        let Some(broken) = self.links.broken.get_mut(&peer) else { return };
        let over = broken.over;
        if let Some(relay) = over
            && !self.gossip.live.contains(&relay)
        {
            self.relay_failed(peer, relay);
        } else if over.is_none() && now < broken.search_until && now >= broken.ask_at {
            self.ask_for_relay(peer);
        } else if over.is_none() && now >= broken.search_until && !broken.waiting.is_empty() {
            self.no_relay(peer);
        }
        let Some(broken) = self.links.broken.get_mut(&peer) else { return };
        if !broken.told && is_alive && now.since(broken.since) >= silence && !self.links.told.contains_key(&peer) {
            broken.told = true;
            let over = broken.over;
            self.links.told.insert(peer, now);
            let over = over.and_then(|relay| self.node_of(relay));
            if let Some(to) = self.node_of(peer) {
                let from = self.swim.identity().node.clone();
                self.event(Event::LinkBroken { from, to, replica: peer, over });
            }
        }
        self.retry(peer);
    }

    /// Tries the direct way again when its time has come.
    fn retry(&mut self, peer: ReplicaId) {
        let now = self.now.instant;
        let Some(broken) = self.links.broken.get_mut(&peer).filter(|broken| now >= broken.retry_at) else { return };
        broken.pause = (broken.pause * 2).min(RETRY.1);
        broken.retry_at = now + broken.pause;
        let is_opening = self.mail.links.get(&peer).is_some_and(|link| link.out.is_some());
        if !is_opening && let Some(address) = self.address_of(peer) {
            let stream = self.open_stream(peer, address, Purpose::Mail, false);
            self.mail.opening(now, peer, stream);
        }
    }

    /// A stream that is not opened for long: what waits for it goes around.
    fn check_connecting(&mut self) {
        let (now, patience) = (self.now.instant, self.silence() / 2);
        let waits = self.streams.open.values().filter(|state| {
            let opens = matches!(state.phase, StreamPhase::Connecting | StreamPhase::Greeting);
            opens && state.outgoing && state.purpose == Purpose::Mail && now.since(state.heard) >= patience
        });
        let waits: Vec<ReplicaId> = waits.filter_map(|state| state.peer).collect();
        for peer in waits {
            if self.mail.has_waiting(peer) && self.link_broken(peer) {
                let letters = self.mail.take_own(peer);
                self.send_all_around(peer, letters);
            }
        }
    }

    /// Streams on which something was sent and nothing came since: they are asked for a sign, and then given up.
    fn check_silent(&mut self) {
        let (now, silence) = (self.now.instant, self.silence());
        let [ask, give_up] = self.mail.silent(now, silence);
        for (peer, _) in ask {
            self.say(peer, Front::Ping);
        }
        for (peer, stream) in give_up {
            if self.is_alive(peer) && self.link_broken(peer) {
                self.drop_stream(stream, None);
            }
        }
    }
}
