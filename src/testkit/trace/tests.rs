//! What is recorded is repeated step by step, survives its file, and tells when an engine answers otherwise.

use std::time::Duration;

use super::*;
use crate::store::TableName;
use crate::testkit::{NodeOptions, Simulation, TraceError};

fn recorded() -> Trace {
    let mut simulation = Simulation::new(7);
    simulation.record();
    let nodes = ["larry", "gary", "mary"].map(|name| simulation.add(NodeOptions::named(name)));
    simulation.run_until(Duration::from_secs(10), Simulation::all_converged).unwrap();
    let lot = TableName::new("lot").unwrap();
    simulation.put(nodes[0], &lot, b"ABC 123", b"gate 1").unwrap();
    simulation.run_for(Duration::from_secs(1));
    simulation.remove(nodes[1], &lot, b"ABC 123").unwrap();
    simulation.kill(nodes[2]);
    simulation.restart(nodes[2]);
    simulation.run_for(Duration::from_secs(5));
    simulation.take_trace().unwrap()
}

#[test]
fn a_trace_repeats_without_the_simulation() {
    let trace = recorded();
    let mut outputs = 0;
    trace.replay(|_, brought| outputs += brought.len()).unwrap();
    assert!(outputs > 100, "{outputs}");
}

#[test]
fn a_trace_survives_its_file() {
    let trace = recorded();
    let mut file = Vec::new();
    trace.write(&mut file).unwrap();
    let read = Trace::read(&file[..]).unwrap();
    assert_eq!((read.seed, read.records.len()), (7, trace.records.len()));
    read.replay(|_, _| {}).unwrap();
    let half = Trace::read(&file[..file.len() / 2]);
    assert!(matches!(half, Err(TraceError::Damaged { records }) if records > 0), "{half:?}");
    assert!(matches!(Trace::read(&b"something else altogether"[..]), Err(TraceError::NotATrace)));
}

#[test]
fn a_step_that_answers_otherwise_is_named() {
    let mut trace = recorded();
    let changed = trace.records.iter().position(|record| matches!(record.step, Step::Write(_))).unwrap();
    let Step::Write((_, key, _)) = &mut trace.records[changed].step else { unreachable!() };
    key[0] ^= 1;
    let diverged = trace.replay(|_, _| {}).unwrap_err();
    // The write itself asks for nothing; the engine sends it when it is told of it.
    assert!(diverged.step > changed && diverged.step < changed + 10, "{diverged}");
}
