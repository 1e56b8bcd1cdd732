//! The only place where subsystems meet.

mod event;
mod input;
mod output;

pub use event::{Event, Liveness, Member, Phase, RoleHost, RoleStatus, Status};
pub use input::{Command, Input, RoleReport, StreamId};
pub use output::{Output, Reply};
