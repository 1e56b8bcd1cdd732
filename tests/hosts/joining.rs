//! Newcomers beside processes that are in trouble.

use std::cell::Cell;
use std::process::Command;

use super::*;

/// How many descriptors a process may have.
fn limit_descriptors(pid: u32, most: usize) -> Result<(), Failure> {
    let status = Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={most}:1024")]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("the descriptors of {pid} cannot be limited: {other:?}")),
    }
}

/// Takes from a process all descriptors that it does not have yet: its host accepts streams, and it does not.
fn starve(pid: u32) -> Result<(), Failure> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_err(|why| format!("{pid}: {why}"))?.count();
    limit_descriptors(pid, open)
}

/// Three of four accept streams and never answer; the newcomer joins by way of the fourth, and nothing but a moment is lost.
#[test]
fn a_newcomer_joins_beside_processes_without_free_descriptors() {
    let _alone = alone();
    let Some(lab) = lab(5) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        let newcomer = NODES[4];
        let mut joined = vec![];
        for round in 0..rounds() {
            stage.kill(newcomer).await?;
            stage.settle("four go on", PATIENCE, &NODES[..4], GATES).await?;
            let starved = (0..4).filter(|at| *at != round % 4).map(|at| stage.pid(NODES[at]));
            let starved = starved.collect::<Result<Vec<u32>, Failure>>()?;
            starved.iter().try_for_each(|pid| starve(*pid))?;
            let began = start(&lab, &mut stage, newcomer)?;
            let alone = Cell::new(false);
            let is_in = |seen: &Seens| {
                alone.set(alone.get() || seen[newcomer].view.len() == 1);
                alone.get() || seen[newcomer].view.len() == 5
            };
            let at = stage.until("the newcomer is in", PATIENCE, is_in).await?;
            if alone.get() {
                return Err(format!("round {round}: the newcomer made a cluster of its own"));
            }
            joined.push(at - began);
            starved.iter().try_for_each(|pid| limit_descriptors(*pid, 1_024))?;
            stage.settle("all have descriptors again", PATIENCE, &NODES, GATES).await?;
        }
        tell(&spans("started beside three without descriptors → in", &joined));
        let promise = Duration::from_secs(2);
        if joined.iter().all(|took| *took < promise) {
            Ok(())
        } else {
            Err(format!("not within {promise:?}: {joined:?}"))
        }
    });
}
