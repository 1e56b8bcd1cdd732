//! Fresh engines that are given what those of the recorded run were given.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Record, Step};
use crate::engine::{Engine, Input, Output};
use crate::signals::Gauge;
use crate::store::{Store, StoreConfig};
use crate::testkit::host::NodeIndex;
use crate::testkit::simulation::faults::gauge;

/// A step brought about something else than when it was recorded: the engine was changed since, or does not only depend
/// on its inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {step} ({record}) brought about something else than when it was recorded: {outputs:?}")]
pub struct Diverged {
    /// The number of the step, from 0.
    pub step: usize,
    /// What was done in it.
    pub record: String,
    /// What it brings about now.
    pub outputs: Vec<String>,
}

/// The processes of the cluster, at one step of the trace.
#[derive(Default)]
pub(super) struct Replay {
    processes: BTreeMap<NodeIndex, (Engine, Arc<Store>)>,
    gauges: BTreeMap<NodeIndex, Arc<Gauge>>,
}

impl Replay {
    pub(super) fn step(&mut self, record: &Record) -> Vec<Output> {
        match &record.step {
            Step::Boot { config, packing: (datagram, frame) } => {
                let store = Arc::new(Store::new(StoreConfig::new(config.identity.replica, config.seed)));
                let mut engine = Engine::new(record.now, (**config).clone(), Arc::clone(&store));
                engine.set_packing(*datagram, *frame);
                self.processes.insert(record.host, (engine, store));
                self.gauges.remove(&record.host);
            }
            Step::Input(input) => {
                if let Some((engine, _)) = self.processes.get_mut(&record.host) {
                    engine.handle(record.now, input.clone());
                }
            }
            Step::Write((table, key, value)) => {
                if let Some((_, store)) = self.processes.get(&record.host) {
                    // That it was refused is no news: it was when it was recorded.
                    let _ = match value {
                        Some(value) => store.put(record.now, table, key, value).map(drop),
                        None => store.remove(record.now, table, key).map(drop),
                    };
                }
            }
            Step::Sample(value) => {
                if let Some((engine, _)) = self.processes.get_mut(&record.host) {
                    let gauge = self.gauges.entry(record.host).or_insert_with(|| gauge(engine));
                    // It was taken when it was recorded.
                    let _ = gauge.set(*value);
                }
            }
            Step::End => drop(self.processes.remove(&record.host)),
        }
        let engine = self.processes.get_mut(&record.host).map(|(engine, _)| engine);
        engine.map_or_else(Vec::new, |engine| std::iter::from_fn(|| engine.poll_output()).collect())
    }
}

/// An input, in words that fit a line.
pub(super) fn input_in_words(input: &Input) -> String {
    match input {
        Input::Datagram { from, bytes } => format!("hears a datagram of {} bytes from {from}", bytes.len()),
        Input::Frame { stream, bytes } => format!("hears a frame of {} bytes on stream {}", bytes.len(), stream.0),
        Input::Mail(letters) => format!("sends {} letters", letters.len()),
        other => format!("{other:?}"),
    }
}

/// Outputs, in words that fit a line each.
pub fn in_words(outputs: &[Output]) -> Vec<String> {
    let word = |output: &Output| match output {
        Output::Datagram { to, bytes } => format!("sends a datagram of {} bytes to {to}", bytes.len()),
        Output::Frame { stream, bytes } => format!("sends a frame of {} bytes on stream {}", bytes.len(), stream.0),
        Output::Status(status) => format!(
            "sees {} members, {} in its view, agreed: {}",
            status.members.len(),
            status.members.iter().filter(|member| member.in_view).count(),
            status.agreed
        ),
        other => format!("{other:?}"),
    };
    outputs.iter().map(word).collect()
}
