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

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Engine, Event};
use crate::id::ReplicaId;
use crate::roles::{Claim, ClaimState, FencingToken, Handover, Holding};
use crate::time::{Instant, Stamp};

/// What lasts for so long is told of although it is not over.
const LASTING: Duration = Duration::from_secs(10);

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
    pub(super) handover: Handover,
    /// The claims on it.
    pub(super) claims: &'a [Holding],
}

#[derive(Debug)]
struct Watched {
    /// How many may be there: the count, and where it was lowered, what it was before until as many have ended.
    allowed: usize,
    /// So many of those that have a place ran at once: what never ran is not missed.
    ran: usize,
    overlap: Option<Span>,
    gap: Option<Span>,
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
}

impl Span {
    fn lasted(&self, now: Instant) -> Duration {
        now.since(self.seen) + self.before
    }
}

/// The moment of a look.
pub(super) struct Moment<'a> {
    pub(super) now: Instant,
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
            let fresh = Watched { allowed: seen.count, ran: 0, overlap: None, gap: None };
            let (name, mut watched) = former.remove_entry(seen.role).unwrap_or_else(|| (seen.role.to_owned(), fresh));
            told.extend(watched.look_at_overlap(moment, &seen));
            told.extend(watched.look_at_gap(moment.now, &seen));
            self.roles.insert(name, watched);
        }
        told
    }

    /// What has lasted for long is told of, once.
    pub(super) fn lasting(&mut self, now: Instant) -> Vec<Event> {
        let mut told = Vec::new();
        for (role, watched) in &mut self.roles {
            let lasts = |span: &&mut Span| !span.told && span.lasted(now) >= LASTING;
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
    fn look_at_overlap(&mut self, moment: &mut Moment<'_>, seen: &Seen<'_>) -> Option<Event> {
        let mut starts = instances(seen.claims);
        if seen.count > self.allowed || starts.len() <= seen.count {
            self.allowed = seen.count;
        }
        let now = moment.now;
        if starts.len() <= self.allowed {
            let over = self.overlap.take()?;
            let real = over.told || over.lasted(now) >= moment.shortest;
            return real.then(|| overlap(seen.role, &over, now, true));
        }
        let allowed = self.allowed;
        let span = self.overlap.get_or_insert_with(|| {
            // Of those that run now, the first that was one too many.
            starts.sort_unstable();
            let began = starts[allowed].stamp.as_millis();
            let before = Duration::from_millis((moment.stamp)().as_millis().saturating_sub(began));
            Span { seen: now, before, most: 0, told: false }
        });
        span.most = span.most.max(starts.len());
        None
    }

    fn look_at_gap(&mut self, now: Instant, seen: &Seen<'_>) -> Option<Event> {
        // With a place for none, that is what is wrong, and it is told elsewhere.
        if seen.placed == 0 {
            return None;
        }
        let running = seen.claims.iter().filter(|holding| serves(seen, holding)).count();
        let wanted = self.ran.min(seen.placed);
        if running < wanted {
            let span = self.gap.get_or_insert(Span { seen: now, before: Duration::ZERO, most: 0, told: false });
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

/// When each instance was started. Who hands over and his successor are one.
fn instances(claims: &[Holding]) -> Vec<FencingToken> {
    let counts = |holding: &&Holding| {
        let handed = holding.claim.successor().is_some_and(|to| took_over(claims, &holding.claim, to));
        holding.claim.occupies() && !handed
    };
    claims.iter().filter(counts).map(|holding| holding.claim.token).collect()
}

/// Whether an instance answers. One that was made before the other is ended does so already if the other ends: its claim
/// is only late.
fn serves(seen: &Seen<'_>, holding: &Holding) -> bool {
    let follows = |former: &Holding| {
        let ends = matches!(former.claim.state, ClaimState::Draining { .. } | ClaimState::Stopped { .. });
        ends && former.claim.successor() == Some(holding.holder) && former.claim.token < holding.claim.token
    };
    match holding.claim.state {
        ClaimState::Running | ClaimState::Yielding { .. } => true,
        ClaimState::Starting => seen.handover == Handover::MakeBeforeBreak && seen.claims.iter().any(follows),
        _ => false,
    }
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
        let (store, now) = (&self.store, self.now);
        let timing = &self.config.timing;
        let shortest = timing.settle + timing.digest_busy;
        let mut moment = Moment { now: now.instant, shortest, stamp: &mut || store.estimated(now) };
        let drawn = self.work.drawn();
        let picture = drawn.roles.iter().map(|spec| Seen {
            role: &spec.name,
            count: spec.count as usize,
            placed: drawn.assignment.hosts(&spec.name).len(),
            handover: spec.handover,
            claims: drawn.claims_of(&spec.name),
        });
        let told = self.service.look(&mut moment, picture);
        told.into_iter().for_each(|event| self.event(event));
    }

    /// Tells of what has lasted for long.
    pub(super) fn tell_lasting(&mut self) {
        if self.leaving.is_none() {
            let told = self.service.lasting(self.now.instant);
            told.into_iter().for_each(|event| self.event(event));
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
