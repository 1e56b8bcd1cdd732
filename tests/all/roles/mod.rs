//! Roles of whole clusters: placed, handed over, added and removed.

mod registry;
mod service;

use std::time::Duration;

use unisono::cluster::{Builder, Events};
use unisono::{Event, RoleContext, RoleSpec};

pub(crate) use registry::lower_revision_came_later;

const LONG: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const FOUR: [&str; 4] = ["larry", "moe", "curly", "shemp"];

async fn serve(context: RoleContext) -> Result<(), unisono::RoleError> {
    context.stopped().await;
    Ok(())
}

fn builds_gates(builder: Builder) -> Builder {
    builder.role_kind("gate", serve)
}

fn gate(count: u32, revision: u64) -> RoleSpec {
    RoleSpec::new("gate").count(count).revision(revision)
}

/// The events that have come so far.
async fn told(events: &mut Events) -> Vec<Event> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        told.push(event.expect("nothing was missed"));
    }
    told
}
