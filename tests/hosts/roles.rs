//! Twenty roles on three hosts: a death, silent cuts, and a leave; what counts is who answers calls.

use std::collections::BTreeSet;

use super::support::line::Line;
use super::*;

const HOSTS: [&str; 3] = ["anna", "bela", "cora"];
const ROLES: u32 = 20;

/// Three nodes that run twenty gates.
async fn three(lab: &Lab) -> Result<Stage, Failure> {
    let mut stage = Stage::new();
    parking_lot();
    for node in HOSTS {
        start_with(lab, &mut stage, node, ROLES)?;
    }
    whole(&mut stage).await?;
    Ok(stage)
}

/// All three agree, each gate runs once, and answers everybody.
async fn whole(stage: &mut Stage) -> Result<(), Failure> {
    stage.settle("three run twenty gates", PATIENCE, &HOSTS, ROLES).await?;
    for node in HOSTS {
        stage.roll(node, ROLES).await?;
    }
    Ok(())
}

/// Lets these nodes call all gates until each of them has heard all, and returns when that was. What was under way to a node
/// that died is asked again, as an application would that may ask twice.
async fn all_answer(stage: &mut Stage, nodes: &[&str]) -> Result<Instant, Failure> {
    let mut missing: Vec<&str> = nodes.to_vec();
    let mut at = Instant::now();
    let give_up = at + PATIENCE;
    for node in nodes {
        stage.tell(node, "roll").await?;
    }
    while let [node, ..] = missing[..] {
        let answered = |seen: &Seens| seen[node].answer.is_some() || seen[node].ended;
        let heard = stage.until(&format!("{node} answers `roll`"), PATIENCE, answered).await?;
        match stage.answer(node, "roll").await? {
            Line::Roll { answered, .. } if answered.len() == ROLES as usize => {
                at = at.max(heard);
                missing.remove(0);
            }
            told if Instant::now() > give_up => return Err(format!("{node} cannot reach all gates: {told}")),
            _ => stage.tell(node, "roll").await?,
        }
    }
    Ok(at)
}

/// The gates that run anywhere.
fn run(seen: &Seens) -> BTreeSet<&String> {
    seen.values().flat_map(|seen| &seen.gates).collect()
}

fn in_turn(round: usize) -> (&'static str, Vec<&'static str>) {
    let lost = HOSTS[round % HOSTS.len()];
    (lost, HOSTS.into_iter().filter(|node| *node != lost).collect())
}

fn worst(spans: &[Duration]) -> Duration {
    spans.iter().copied().max().unwrap_or_default()
}

#[test]
fn after_a_kill_every_role_answers_every_survivor() {
    let _alone = alone();
    let Some(lab) = lab(3) else { return };
    play(async {
        let mut stage = three(&lab).await?;
        let (mut running, mut answering, mut back) = (vec![], vec![], vec![]);
        for round in 0..rounds() {
            let (lost, rest) = in_turn(round);
            let killed = stage.kill(lost).await?;
            answering.push(all_answer(&mut stage, &rest).await?.saturating_duration_since(killed));
            let moved = |seen: &Seens| run_once(seen, &rest, ROLES);
            let up = stage.until("each gate runs once", PATIENCE, moved).await?;
            running.push(up.saturating_duration_since(killed));
            let again = start_with(&lab, &mut stage, lost, ROLES)?;
            whole(&mut stage).await?;
            back.push(again.elapsed());
        }
        tell(&spans("kill -9 of one of three with 20 roles → each runs once on the others", &running));
        tell(&spans("... → each answers a call from both", &answering));
        tell(&spans("... started again → all agree, and each answers everybody", &back));
        let promise = Duration::from_millis(250);
        if median(&answering) < promise { Ok(()) } else { Err(format!("not within {promise:?}: {answering:?}")) }
    });
}

/// horde: after a cut that healed, of twenty children 0 to 20 were left.
#[test]
fn after_silent_cuts_and_heals_each_role_runs_once_and_answers_everybody() {
    let _alone = alone();
    let Some(lab) = lab(3) else { return };
    play(async {
        let mut stage = three(&lab).await?;
        let mut healed = vec![];
        for round in 0..rounds() {
            let (lost, rest) = in_turn(round);
            lab.cut(host_of(lost))?;
            let apart = |seen: &Seens| run_once(seen, &rest, ROLES) && run_once(seen, &[lost], ROLES);
            stage.until("each side runs each gate once", LONG, apart).await?;
            let heals = Instant::now();
            lab.heal()?;
            let once = |seen: &Seens| run_once(seen, &HOSTS, ROLES);
            let mut at = stage.until("each gate runs once", PATIENCE, once).await?;
            at = at.max(all_answer(&mut stage, &HOSTS).await?);
            healed.push(at.saturating_duration_since(heals));
            whole(&mut stage).await?;
            // What was moved less than a minute ago stays until then; moves for balance make before they break.
            throughout(&mut stage, "no gate is gone", Duration::from_millis(500), |seen| {
                run(seen).len() == ROLES as usize
            })
            .await?;
        }
        tell(&spans("healed → exactly 20 instances, each answers everybody", &healed));
        let promise = Duration::from_secs(4);
        if worst(&healed) < promise { Ok(()) } else { Err(format!("not within {promise:?}: {healed:?}")) }
    });
}

#[test]
fn while_a_node_leaves_every_role_goes_on_answering() {
    let _alone = alone();
    let Some(lab) = lab(3) else { return };
    play(async {
        let mut stage = three(&lab).await?;
        let (mut gone, mut slowest) = (vec![], vec![]);
        for round in 0..rounds() {
            let (leaver, rest) = in_turn(round);
            let began = Instant::now();
            let mut leaves = stage.begin_leave(leaver).await?;
            let mut calls = 0;
            while leaves.is_there() {
                slowest.push(stage.roll(rest[calls % 2], ROLES).await?);
                calls += 1;
            }
            leaves.ended().await?;
            gone.push(began.elapsed());
            assert!(calls > 3, "{leaver} left in no time");
            start_with(&lab, &mut stage, leaver, ROLES)?;
            whole(&mut stage).await?;
        }
        tell(&spans("leave → gone, its roles answering elsewhere", &gone));
        tell(&spans("... meanwhile the slowest answer of all 20, call after call", &slowest));
        let promise = Duration::from_millis(500);
        if worst(&slowest) < promise { Ok(()) } else { Err(format!("not within {promise:?}: {slowest:?}")) }
    });
}
