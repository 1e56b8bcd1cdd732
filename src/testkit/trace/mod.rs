//! The flight recorder of a simulation: everything that happened to every engine, to be repeated step by step.
//!
//! ```text
//!   Simulation ── Recorder ─▶ Trace ── write ─▶ file ── read ─▶ Trace ── replay ─▶ fresh engines, no network, no seed
//!                                                                         └ compares what each step brought about
//! ```
//!
//! A trace repeats without the simulator that made it: engines see nothing but their inputs and the time (the design,
//! section 1). So it shows a bug of long ago even when the network of the simulation has changed since.

mod file;
mod replay;

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use file::TraceError;
pub use replay::{Diverged, in_words};

use super::host::NodeIndex;
use crate::engine::{EngineConfig, Input, Output};
use crate::store::TableName;
use crate::time::{Instant, Now};

/// What was done to one engine or store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// A process started.
    Boot {
        /// With this configuration.
        config: Box<EngineConfig>,
        /// With so many bytes at most in a datagram and in a frame.
        packing: (usize, usize),
    },
    /// Its engine was given this.
    Input(Input),
    /// Its application wrote to its store: table, key, and the value or `None` for a removal.
    Write((TableName, Vec<u8>, Option<Vec<u8>>)),
    /// Its application measured this.
    Sample(f64),
    /// Its process ended.
    End,
}

/// One step of a trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When, counted from the start of the simulation.
    pub at: Instant,
    /// The clocks of the host as its process reads them.
    pub now: Now,
    /// Which host.
    pub host: NodeIndex,
    /// What was done.
    pub step: Step,
    /// Covers everything that the engine asked for in answer.
    pub outputs: u64,
}

/// Everything that happened to a cluster.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The seed of the simulation that it was recorded from.
    pub seed: u64,
    /// In the order in which it happened.
    pub records: Vec<Record>,
}

impl Trace {
    /// Repeats the trace with engines of this build, and calls `each` with every record and what it brought about.
    ///
    /// # Errors
    ///
    /// [`Diverged`] at the first step that brings about something else than when it was recorded.
    pub fn replay(&self, mut each: impl FnMut(&Record, &[Output])) -> Result<(), Diverged> {
        let mut replay = replay::Replay::default();
        for (number, record) in self.records.iter().enumerate() {
            let outputs = replay.step(record);
            each(record, &outputs);
            let hash = outputs.iter().fold(0, hash_output);
            if hash != record.outputs {
                return Err(Diverged { step: number, record: record.to_string(), outputs: in_words(&outputs) });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14.6?} host {:<3} ", self.at, self.host.0)?;
        match &self.step {
            Step::Boot { config, .. } => write!(f, "boots {} {}", config.identity.node, config.identity.replica),
            Step::Input(input) => f.write_str(&replay::input_in_words(input)),
            Step::Write((table, key, value)) => {
                let key = String::from_utf8_lossy(key);
                match value {
                    Some(value) => write!(f, "puts {table}/{key} = {}", String::from_utf8_lossy(value)),
                    None => write!(f, "removes {table}/{key}"),
                }
            }
            Step::Sample(value) => write!(f, "measures {value}"),
            Step::End => write!(f, "ends"),
        }
    }
}

/// Takes down what happens.
#[derive(Debug)]
pub(super) struct Recorder(Trace);

impl Recorder {
    pub(super) fn new(seed: u64) -> Self {
        Self(Trace { seed, records: Vec::new() })
    }

    pub(super) fn step(&mut self, at: Instant, now: Now, host: usize, step: impl FnOnce() -> Step) {
        self.0.records.push(Record { at, now, host: NodeIndex(host), step: step(), outputs: 0 });
    }

    /// What the last step brought about.
    pub(super) fn output(&mut self, output: &Output) {
        if let Some(record) = self.0.records.last_mut() {
            record.outputs = hash_output(record.outputs, output);
        }
    }

    pub(super) fn finish(self) -> Trace {
        self.0
    }
}

fn hash_output(before: u64, output: &Output) -> u64 {
    xxh3_64_with_seed(format!("{output:?}").as_bytes(), before)
}

#[cfg(test)]
mod tests;
