//! Roles of whole clusters: placed, handed over, added and removed.

mod registry;

pub(crate) use registry::lower_revision_came_later;
