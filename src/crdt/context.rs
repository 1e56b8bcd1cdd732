//! To come: the causal context.

/// Which writes are known.
#[derive(Clone, Debug, Default)]
pub struct Context;
