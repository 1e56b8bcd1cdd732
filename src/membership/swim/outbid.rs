//! Two processes that were told to be at one address, and each of which moves past the other.
//!
//! A process whose clock is behind that of its predecessor moves past it, once. Two that live at one address would go on
//! for ever: whoever has moved three times within ten seconds does not do so again for a minute.

use std::time::Duration;

use crate::membership::Identity;
use crate::time::Instant;

/// So many moves within [`WINDOW`] are no accident.
const MOST: usize = 3;

/// See [`MOST`].
const WINDOW: Duration = Duration::from_secs(10);

/// How long the other is left the address.
const QUIET: Duration = Duration::from_secs(60);

/// Who moved past whom at our address.
#[derive(Debug, Default)]
pub(super) struct Outbid {
    /// When we moved, lately.
    moves: Vec<Instant>,
    rival: Option<Identity>,
    /// We gave way.
    quiet_until: Option<Instant>,
}

/// What follows from that somebody is ahead of us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Move past him.
    Move,
    /// Leave him the address, and say so.
    GiveWay,
    /// It was said.
    Nothing,
}

impl Outbid {
    /// Somebody is ahead of us at our address.
    pub(super) fn answer(&mut self, now: Instant, rival: &Identity) -> Answer {
        if self.quiet_until.is_some_and(|until| now < until) {
            return Answer::Nothing;
        }
        self.quiet_until = None;
        self.moves.retain(|at| now.since(*at) < WINDOW);
        self.rival = Some(rival.clone());
        if self.moves.len() < MOST {
            self.moves.push(now);
            return Answer::Move;
        }
        self.moves.clear();
        self.quiet_until = Some(now + QUIET);
        Answer::GiveWay
    }

    /// Who fell silent after we had moved past him that often: we keep the address.
    pub(super) fn outlasted(&mut self, now: Instant) -> Option<Identity> {
        let is_over = self.moves.len() == MOST && self.moves.last().is_some_and(|last| now.since(*last) >= WINDOW);
        if !is_over {
            return None;
        }
        self.moves.clear();
        self.rival.take()
    }
}
