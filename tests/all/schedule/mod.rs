//! The replicated map under hostile schedules.
//!
//! ```text
//!   profile ──▶ world ──────────▶ heal ──▶ check                 variants: which rule is broken, and is it caught
//!                │  ▲               │        ▲
//!      replica ◀─┘  └─ network      └────────┴── oracle          islands: groups that wrote before they met
//! ```
//!
//! Every run follows from its seed. A cluster of a few replicas with a few keys writes, sends, loses, repeats and
//! reorders, is interrupted and crashes with amnesia; then everything heals, and all must hold the same: what the
//! oracle makes of the story of all writes. Bucket repair (rule 7) must never be needed where no islands met, otherwise
//! it would hide that a rule is broken.

#![allow(clippy::print_stdout, reason = "what a sweep found is for people to read")]

mod counts;
mod heal;
mod islands;
mod network;
mod oracle;
mod profile;
mod replica;
pub(crate) mod variants;
mod world;

// What a schedule is drawn from. The fuzz target of the same name puts bytes in its place.
use unisono::testkit::Rng;
