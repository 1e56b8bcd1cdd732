//! All integration tests as one binary: one link step, one module per subject.

mod schedule;
