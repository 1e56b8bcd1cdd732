//! Messages to roles, and named handlers on nodes.
//!
//! ```text
//!   RoleRef, NodeRef ─┬─ here ──────────────────────────────────▶ Inbox ─▶ Mailbox of the role, or a handler
//!        ▲            └─ elsewhere ─▶ Post ─ letters ─▶ Post ───▶ Inbox ─▶ ...
//!        └───────────── answer ◀───── Post ◀─ letters ─ Post ◀─ Responder
//! ```
//!
//! In come calls and casts with values of the application, out go answers, or a [`MessageError`]. Whether a message was
//! *begun* is the line along which everything is told apart: it was when the mailbox handed it out, or when its handler
//! was called. What was certainly not begun may be sent again, to another instance; nothing else ever is, so a message
//! is dealt with once, or not at all.
//!
//! `Post` is what a node has for this: it counts its own calls, and knows the inboxes of what runs here. A role has an
//! inbox from its start to its end, so that what comes before it looks is kept, and what is left at its end goes back to
//! whoever sent it. Values stay values within a node, and are encoded on the task that sends them otherwise, and decoded
//! on the task that takes them: the event loop only looks at the front of a letter.

mod error;
mod handler;
mod inbox;
mod mailbox;
mod node_ref;
mod packet;
mod post;
mod role_ref;

pub use error::MessageError;
pub(super) use handler::Handlers;
pub(super) use inbox::Inbox;
pub use mailbox::{Mailbox, Message, Responder};
pub use node_ref::NodeRef;
pub(super) use post::Post;
pub use role_ref::{RoleProtocol, RoleRef};
