//! Trials of every plan end well, and repeat.

use super::*;

#[test]
fn every_plan_heals_and_repeats() {
    for plan in Plan::ALL {
        let trial = Trial::new(1).nodes(4).plan(plan);
        let report = trial.clone().run().unwrap_or_else(|violation| panic!("{}", violation.story()));
        assert_eq!(report.plan, plan);
        assert_eq!(trial.run().unwrap(), report);
    }
}

#[test]
fn a_recorded_trial_replays() {
    let (report, trace) = Trial::new(3).nodes(3).record();
    report.unwrap();
    assert!(trace.records.len() > 100);
    trace.replay(|_, _| {}).unwrap();
}
