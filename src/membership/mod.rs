//! *Internal.*
//! Who is there: SWIM through `foca`, and what `foca` does not do.
//!
//! ```text
//!   datagrams ──▶ ┌──────────────────────── Swim ─────────────────────────┐ ──▶ datagrams
//!   deadlines ──▶ │ Foca ── Tap (codec: sees all that is applied or sent) │ ──▶ Change: Up, Suspected, Refuted,
//!   push-pull ──▶ │   └─ Collector (timers, outbox) ─▶ filter ─▶ MemberList│            Down, Replaced, Renewed
//!                 └────────────────────────────────────────────────────────┘
//!   Change ──(engine)──▶ Watchers: idle streams to three successors on a ring ──▶ Open, Close, Tell, Ask,
//!                            ▲ opened, refused, ended, told                        Suspect, Down ──(engine)──▶ Swim
//!   Change ──(engine)──▶ view: members that declared themselves ready and are not Down (drawn in the engine)
//! ```
//!
//! In come bytes, records and the time; out go bytes, changes and the next deadline. Nothing here knows a socket, a
//! stream or a clock, and nothing knows what the members replicate. The two machines do not know each other: the
//! engine carries what one says to the others.
//!
//! The protocol is SWIM with suspicion (Das, Gupta, Motivala: "SWIM", 2002) and the local health and the direct notice
//! to suspects of Lifeguard (Dadgar, Phillips, Currey: "Lifeguard", 2017).

mod collector;
mod direct;
mod health;
mod identity;
mod list;
mod ring;
mod swim;
mod tap;
mod timing;
mod watch;

#[cfg(test)]
mod tests;

pub use identity::Identity;
pub use list::{Change, Liveness, Record};
pub use swim::{Malformed, Swim, SwimOutput, SwimStats};
pub use timing::{Timing, TimingError};
pub(crate) use timing::{at_least_a_millisecond, leave_room};
pub use watch::{WatchOutput, Watchers};
