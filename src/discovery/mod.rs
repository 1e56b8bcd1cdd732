//! Where others may be: strategies that yield addresses, for ever.
//!
//! In comes what a strategy can ask of the world outside (a list, a subnet, a name server); out go addresses at which a
//! member *may* listen. Discovery knows nothing of members, views or the engine, and cannot remove anybody: an address
//! that answers nobody costs a datagram, a strategy that fails costs a warning and a restart.
//!
//! ```text
//!   StaticList ──┐
//!   Broadcast ───┼─▶ Context::found ─▶ (own address and repeats dropped) ─▶ driver ─▶ Input::Discovered
//!   your own ────┘        ▲
//!                         └── Context::alone: look every second while nobody else is there, seldom otherwise
//! ```

mod beacon;
mod beacon_socket;
mod broadcast;
mod interfaces;
mod pace;
mod static_list;
mod strategy;

#[cfg(feature = "testkit")]
#[doc(hidden)]
pub use beacon::recode_beacon;
pub use broadcast::{BeaconConfig, BeaconCounts, Broadcast};
pub(crate) use broadcast::{BroadcastSetup, Stranger, is_beacon};
pub use interfaces::{NoInterface, own_address};
pub use static_list::StaticList;
pub use strategy::{Context, Run, Strategy};
