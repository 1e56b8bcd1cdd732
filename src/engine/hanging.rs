//! Streams that stand still though something is due on them.

use std::time::Duration;

use super::streams::{Stream, StreamPhase};
use super::{Engine, StreamId};

/// How long a stream that should be busy may be silent.
const SILENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Closes streams on which something is due and nothing comes.
    pub(super) fn close_hanging_streams(&mut self) {
        let now = self.now.instant;
        let is_due = |id: StreamId, state: &Stream| match state.phase {
            StreamPhase::Idle => false,
            StreamPhase::Pushing => state.peer.is_some_and(|peer| self.pushing.is_waiting(peer)),
            StreamPhase::Mail => state.peer.is_some_and(|peer| self.mail.is_waiting(peer, id)),
            _ => true,
        };
        let hangs = |id: StreamId, state: &Stream| is_due(id, state) && now.since(state.heard) > SILENCE;
        let hanging = self.streams.open.iter().filter(|(id, state)| hangs(**id, state));
        let hanging: Vec<_> = hanging.map(|(id, _)| *id).collect();
        for stream in hanging {
            self.drop_stream(stream, None);
        }
    }
}
