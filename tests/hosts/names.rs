//! Two processes of one name, on hosts of their own: which of them keeps it, who notices, and how long a successor takes.

use std::collections::BTreeSet;

use tokio::process::Command;

use super::*;

/// A process under a name, on any host.
fn process(lab: &Lab, host: u8, name: &str) -> Command {
    let mut command = lab.on(host, parking_lot());
    command.args(["node", name, "--json", "--net", NET]);
    command.args(["--gates", &GATES.to_string(), "--spaces", &SPACES.to_string()]);
    command.into()
}

/// Whether these processes agree on these names, and each gate runs on one of them.
fn agreed(seen: &Seens, processes: &[&str], names: &[&str]) -> bool {
    let view: BTreeSet<String> = names.iter().map(|&name| name.to_owned()).collect();
    let agrees = |process: &&str| seen.get(*process).is_some_and(|seen| seen.ready && seen.view == view);
    processes.iter().all(agrees) && run_once(seen, processes, GATES)
}

fn nobody_is_down(seen: &Seens) -> bool {
    seen.values().all(|seen| seen.down.is_empty() && !seen.ended)
}

#[test]
fn a_process_under_a_name_in_use_is_refused_within_two_seconds_and_nothing_else_happens() {
    let _alone = alone();
    let Some(lab) = lab(6) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        let name = next_with_a_gate(&stage, 0);
        let gates = |seen: &Seens| NODES.map(|node| seen[node].gates.clone());
        let before = gates(stage.seen());
        let mut refused = vec![];
        for _ in 0..rounds() {
            let mut command = process(&lab, 6, name);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
            let began = Instant::now();
            let mut newcomer = command.spawn().map_err(|why| why.to_string())?;
            let stdin = newcomer.stdin.take();
            let ended = tokio::time::timeout(PATIENCE, newcomer.wait_with_output()).await;
            drop(stdin);
            let ended = ended.map_err(|_| "it was not refused".to_owned())?.map_err(|why| why.to_string())?;
            refused.push(began.elapsed());
            let said = String::from_utf8_lossy(&ended.stderr);
            if ended.status.success() || !said.contains(&format!("is called {name} too")) {
                return Err(format!("it ended with {:?} and said {said}", ended.status));
            }
        }
        // Longer than it takes to lose a host that really is gone.
        throughout(&mut stage, "nobody is taken for dead", Duration::from_secs(5), nobody_is_down).await?;
        let keeps: Vec<_> = NODES.into_iter().filter(|node| stage.seen()[*node].keeps_name.is_some()).collect();
        tell(&spans("started under a name in use → refused", &refused));
        match refused.iter().max() {
            Some(longest) if *longest > Duration::from_secs(2) => Err(format!("not within 2 s: {refused:?}")),
            _ if keeps != [name] || stage.seen()[name].keeps_name != Some(true) => Err(format!("{keeps:?} were told")),
            _ if gates(stage.seen()) != before => Err("gates moved".to_owned()),
            _ => Ok(()),
        }
    });
}

#[test]
fn a_process_that_was_killed_or_left_is_replaced_on_another_host_at_once() {
    let _alone = alone();
    let Some(lab) = lab(6) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        let (mut killed, mut left) = (vec![], vec![]);
        let name = "cora";
        for round in 0..2 * rounds() {
            let leaves = round % 2 == 1;
            if leaves {
                stage.leave(name).await?;
            } else {
                stage.kill(name).await?;
            }
            let host = if leaves { host_of(name) } else { 6 };
            let began = stage.start(name, process(&lab, host, name))?;
            let is_ready = |seen: &Seens| seen[name].ready;
            let ready = stage.until("it is ready", PATIENCE, is_ready).await? - began;
            if leaves { &mut left } else { &mut killed }.push(ready);
            stage.settle("all agree", PATIENCE, &NODES, GATES).await?;
        }
        tell(&spans("killed and started at once on another host → ready", &killed));
        tell(&spans("left and started on another host → ready", &left));
        let promise = Duration::from_secs(1);
        let worst = killed.iter().chain(&left).max().copied().unwrap_or_default();
        if worst < promise { Ok(()) } else { Err(format!("not within {promise:?}: {killed:?}, {left:?}")) }
    });
}

#[test]
fn a_process_that_stands_still_is_replaced_and_stops_its_gates_when_it_goes_on() {
    let _alone = alone();
    let Some(lab) = lab(6) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        let still = next_with_a_gate(&stage, 0);
        let mut processes = others(still);
        processes.push("successor");
        stage.signal(still, "STOP").await?;
        let began = stage.start("successor", process(&lab, 6, still))?;
        let is_there = |seen: &Seens| agreed(seen, &processes, &NODES);
        let replaced = stage.until("the successor is in the view", PATIENCE, is_there).await? - began;
        let goes_on = stage.signal(still, "CONT").await?;
        let is_over = |seen: &Seens| seen[still].keeps_name == Some(false) && seen[still].gates.is_empty();
        let over = stage.until("it says so, and its gates end", PATIENCE, is_over).await?;
        let knows = |seen: &Seens| seen["successor"].keeps_name == Some(true);
        stage.until("its successor knows of it", PATIENCE, knows).await?;
        stage.until("all others agree as before", PATIENCE, is_there).await?;
        let over = over.saturating_duration_since(goes_on);
        tell(&spans("SIGSTOP, its successor started → all agree, each gate runs once", &[replaced]));
        tell(&spans("SIGCONT → it says that it was superseded, and its gates end", &[over]));
        let promise = Duration::from_secs(2);
        if over < promise { Ok(()) } else { Err(format!("not within {promise:?}: {over:?}")) }
    });
}

#[test]
fn of_two_that_were_started_on_the_two_sides_of_a_cut_the_earlier_stands_when_it_heals() {
    let _alone = alone();
    let Some(lab) = lab(7) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        lab.split(&[1, 2, 6])?;
        let (two, three) = NODES.split_at(2);
        stage.settle("one side agrees, and runs every gate", LONG, two, GATES).await?;
        stage.settle("the other side agrees, and runs every gate", LONG, three, GATES).await?;
        for (side, host) in [("west", 6), ("east", 7)] {
            stage.start(side, process(&lab, host, "carl"))?;
            stage.until("it is ready", PATIENCE, |seen| seen[side].ready).await?;
        }
        let heal = Instant::now();
        lab.heal()?;
        let told = |seen: &Seens| (seen["west"].keeps_name, seen["east"].keeps_name) == (Some(true), Some(false));
        let gave_way = stage.until("the later gives way, and both are told", LONG, told).await? - heal;
        stage.kill("east").await?;
        let processes = [&NODES[..], &["west"]].concat();
        let names = [&NODES[..], &["carl"]].concat();
        stage.until("all agree", LONG, |seen| agreed(seen, &processes, &names)).await?;
        tell(&spans("split healed → the later of two of one name gave way", &[gave_way]));
        if NODES.iter().all(|node| stage.seen()[*node].keeps_name.is_none()) {
            Ok(())
        } else {
            Err("others were told of a name that is not theirs".to_owned())
        }
    });
}
