//! How well each role was served, measured from the claims of the view: for how long more instances ran than wanted, and
//! for how long fewer.
//!
//! ```text
//!   picture ─▶ instances > count ─▶ overlap ─▶ none any more, or a long time ─▶ Event::RoleOverlap
//!          └─▶ running < placed ──▶ gap ─────▶ none any more, or a long time ─▶ Event::RoleGap
//! ```
//!
//! What this node could not see begins when it could: a host is missing from when it is found Down. One thing is known
//! afterwards: two sides of a cut learn of their overlap when they meet, and the fencing tokens tell when it began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Engine, Event};
use crate::id::ReplicaId;
use crate::roles::{Claim, ClaimState, FencingToken, Holding};
use crate::time::{Instant, Stamp};

/// What lasts for so long is told of although it is not over.
const LASTING: Duration = Duration::from_secs(10);

/// What begins again within this had not ended: members that come back after a cut may flicker.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of each role that is asked for.
#[derive(Debug, Default)]
pub(super) struct Service {
    roles: BTreeMap<String, Watched>,
}

/// One role of a picture.
pub(super) struct Seen<'a> {
    pub(super) role: &'a str,
    /// How many instances are asked for.
    pub(super) count: usize,
    /// For how many of them there is a place.
    pub(super) placed: usize,
    /// Its partition policy keeps it from this side of the network.
    pub(super) held_back: bool,
    /// The claims on it.
    pub(super) claims: &'a [Holding],
}

#[derive(Debug, Default)]
struct Watched {
    /// How many may be there: the count, and where it was lowered, what it was before until as many have ended.
    allowed: usize,
    /// So many of those that have a place ran at once: what never ran is not missed.
    ran: usize,
    /// Who makes room for a successor that runs first.
    yielding: BTreeMap<ReplicaId, Yielding>,
    overlap: Option<Span>,
    gap: Option<Span>,
}

/// Make before break: the old instance ends when its successor runs.
#[derive(Debug)]
struct Yielding {
    token: FencingToken,
    to: ReplicaId,
    /// When it was seen that the old one ends, or has ended. Then the successor runs, though its claim may be late.
    ends: Option<Instant>,
}

/// Something that lasts.
#[derive(Debug)]
struct Span {
    /// When it was first seen.
    seen: Instant,
    /// For how long it had lasted by then.
    before: Duration,
    /// By how many instances, at the worst.
    most: usize,
    told: bool,
    /// When it ended, unless it begins again.
    ended: Option<Instant>,
}

impl Span {
    fn new(seen: Instant, before: Duration) -> Self {
        Self { seen, before, most: 0, told: false, ended: None }
    }

    fn lasted(&self, now: Instant) -> Duration {
        self.ended.unwrap_or(now).since(self.seen) + self.before
    }
}

/// The moment of a look.
pub(super) struct Moment<'a> {
    pub(super) now: Instant,
    /// Who is in the view.
    pub(super) view: &'a BTreeSet<ReplicaId>,
    /// An overlap that was over sooner was none: rows that came in another order than they were written look like that.
    pub(super) shortest: Duration,
    /// The time by the clock of the cluster, as tokens have it.
    pub(super) stamp: &'a mut dyn FnMut() -> Stamp,
}

impl Service {
    /// Looks at every role of a picture; what came to an end is told.
    pub(super) fn look<'a>(&mut self, moment: &mut Moment<'_>, picture: impl Iterator<Item = Seen<'a>>) -> Vec<Event> {
        let mut told = Vec::new();
        let mut former = std::mem::take(&mut self.roles);
        for seen in picture {
            let fresh = Watched { allowed: seen.count, ..Watched::default() };
            let (name, mut watched) = former.remove_entry(seen.role).unwrap_or_else(|| (seen.role.to_owned(), fresh));
            watched.look_at_handovers(moment, &seen);
            told.extend(watched.look_at_overlap(moment, &seen));
            told.extend(watched.look_at_gap(moment.now, &seen));
            self.roles.insert(name, watched);
        }
        told
    }

    /// What has lasted for long is told of, once, and what is over for good. To be called from time to time.
    pub(super) fn lasting(&mut self, now: Instant, shortest: Duration) -> Vec<Event> {
        let mut told = Vec::new();
        for (role, watched) in &mut self.roles {
            told.extend(watched.end_overlap(role, now, shortest));
            let lasts = |span: &&mut Span| !span.told && span.ended.is_none() && span.lasted(now) >= LASTING;
            if let Some(span) = watched.overlap.as_mut().filter(lasts) {
                span.told = true;
                told.push(overlap(role, span, now, false));
            }
            if let Some(span) = watched.gap.as_mut().filter(lasts) {
                span.told = true;
                told.push(gap(role, span, now, false));
            }
        }
        told
    }
}

impl Watched {
    /// Takes note of who yields to whom.
    fn look_at_handovers(&mut self, moment: &Moment<'_>, seen: &Seen<'_>) {
        for Holding { holder, claim, .. } in seen.claims {
            if let ClaimState::Yielding { to } = claim.state {
                self.yielding.insert(*holder, Yielding { token: claim.token, to, ends: None });
            }
        }
        let now = moment.now;
        self.yielding.retain(|holder, yielding| {
            let claim = claim_of(seen.claims, *holder);
            if !moment.view.contains(holder) || claim.is_some_and(|claim| claim.token != yielding.token) {
                return false;
            }
            match claim.map(|claim| &claim.state) {
                Some(ClaimState::Yielding { .. }) => true,
                Some(ClaimState::Draining { to: None }) => {
                    yielding.ends.get_or_insert(now);
                    true
                }
                // Nothing came of it, or the old one ended too soon.
                Some(_) => false,
                None => now.since(*yielding.ends.get_or_insert(now)) < moment.shortest,
            }
        });
    }

    /// When each instance was started. Who hands over and his successor are one.
    fn instances(&self, claims: &[Holding]) -> Vec<FencingToken> {
        let counts = |Holding { holder, claim, .. }: &&Holding| {
            let handed = claim.successor().is_some_and(|to| took_over(claims, claim, to));
            claim.occupies() && !handed && !self.yielding.contains_key(holder)
        };
        claims.iter().filter(counts).map(|holding| holding.claim.token).collect()
    }

    /// How many instances answer.
    fn running(&self, claims: &[Holding]) -> usize {
        let answers = |h: &&Holding| matches!(h.claim.state, ClaimState::Running | ClaimState::Yielding { .. });
        let late = |yielding: &&Yielding| {
            let claim = claim_of(claims, yielding.to);
            yielding.ends.is_some() && claim.is_none_or(|claim| claim.state == ClaimState::Starting)
        };
        claims.iter().filter(answers).count() + self.yielding.values().filter(late).count()
    }

    fn look_at_overlap(&mut self, moment: &mut Moment<'_>, seen: &Seen<'_>) -> Option<Event> {
        let mut starts = self.instances(seen.claims);
        if seen.count > self.allowed || starts.len() <= seen.count {
            self.allowed = seen.count;
        }
        let now = moment.now;
        let told = self.end_overlap(seen.role, now, moment.shortest);
        if starts.len() <= self.allowed {
            if let Some(span) = &mut self.overlap {
                span.ended.get_or_insert(now);
            }
            return told;
        }
        let allowed = self.allowed;
        let span = self.overlap.get_or_insert_with(|| {
            // Of those that run now, the first that was one too many.
            starts.sort_unstable();
            let began = starts[allowed].stamp.as_millis();
            let before = Duration::from_millis((moment.stamp)().as_millis().saturating_sub(began));
            Span::new(now, before)
        });
        span.most = span.most.max(starts.len());
        span.ended = None;
        told
    }

    /// An overlap that has been over for long enough.
    fn end_overlap(&mut self, role: &str, now: Instant, shortest: Duration) -> Option<Event> {
        let is_over = |span: &mut Span| span.ended.is_some_and(|ended| now.since(ended) >= AGAIN);
        let over = self.overlap.take_if(is_over)?;
        let real = over.told || over.lasted(now) >= shortest;
        real.then(|| overlap(role, &over, now, true))
    }

    fn look_at_gap(&mut self, now: Instant, seen: &Seen<'_>) -> Option<Event> {
        // Nobody is to run it here, so nothing is missed, and nothing was when more of the others come into sight.
        if seen.held_back {
            (self.ran, self.gap) = (0, None);
            return None;
        }
        // With a place for none, that is what is wrong, and it is told elsewhere.
        if seen.placed == 0 {
            return None;
        }
        let running = self.running(seen.claims);
        let wanted = self.ran.min(seen.placed);
        if running < wanted {
            let span = self.gap.get_or_insert(Span::new(now, Duration::ZERO));
            span.most = span.most.max(wanted - running);
            return None;
        }
        self.ran = self.ran.max(running).min(seen.placed);
        self.gap.take().map(|over| gap(seen.role, &over, now, true))
    }
}

fn overlap(role: &str, span: &Span, now: Instant, over: bool) -> Event {
    let instances = u32::try_from(span.most).unwrap_or(u32::MAX);
    Event::RoleOverlap { role: role.to_owned(), instances, lasted: span.lasted(now), over }
}

fn gap(role: &str, span: &Span, now: Instant, over: bool) -> Event {
    let missing = u32::try_from(span.most).unwrap_or(u32::MAX);
    Event::RoleGap { role: role.to_owned(), missing, lasted: span.lasted(now), over }
}

fn claim_of(claims: &[Holding], holder: ReplicaId) -> Option<&Claim> {
    claims.iter().find(|holding| holding.holder == holder).map(|holding| &holding.claim)
}

fn took_over(claims: &[Holding], former: &Claim, to: ReplicaId) -> bool {
    claims.iter().any(|other| other.holder == to && other.claim.occupies() && other.claim.token > former.token)
}

impl Engine {
    /// Measures how the roles of the picture are served. Who leaves sees less and less, and says nothing any more.
    pub(super) fn measure_service(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        let (shortest, store, now) = (self.shortest_overlap(), &self.store, self.now);
        let drawn = self.work.drawn();
        let stamp = &mut || store.estimated(now);
        let mut moment = Moment { now: now.instant, view: &drawn.in_view, shortest, stamp };
        let picture = drawn.roles.iter().map(|spec| Seen {
            role: &spec.name,
            count: spec.count as usize,
            placed: drawn.assignment.hosts(&spec.name).len(),
            held_back: drawn.is_held_back(spec),
            claims: drawn.claims_of(&spec.name),
        });
        let told = self.service.look(&mut moment, picture);
        told.into_iter().for_each(|event| self.event(event));
    }

    /// Tells of what has lasted for long, or is over.
    pub(super) fn tell_lasting(&mut self) {
        if self.leaving.is_none() {
            let told = self.service.lasting(self.now.instant, self.shortest_overlap());
            told.into_iter().for_each(|event| self.event(event));
        }
    }

    fn shortest_overlap(&self) -> Duration {
        self.config.timing.settle + self.config.timing.digest_busy
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
