//! Five nodes on five hosts: broadcast, a silent death, a cut, a split and a firewall.
//!
//! The hosts are network namespaces on 10.77.0.0/24 (see `support::lab`), which needs root, iproute2 and nftables. Where
//! that is not to be had the tests say so and pass; with `UNISONO_HOSTS=required` in the environment they fail instead,
//! so that CI cannot skip them unnoticed.
//!
//! ```text
//! sudo -E env UNISONO_HOSTS=required cargo test --test hosts -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core")]

mod support;

use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::lab::{Lab, NET};
use support::stage::{Failure, Seens, Stage, all_see};
use support::{parking_lot, play, throughout};

const NODES: [&str; 5] = ["anna", "bela", "cora", "dora", "elsa"];
const GATES: u32 = 5;
/// Enough for each side of the split, not enough for both.
const SPACES: usize = 30;
/// For what nodes tell each other: far above what it takes, so that a slow machine does not fail.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what costs a suspicion timeout before anything can happen.
const LONG: Duration = Duration::from_secs(60);

/// One lab at a time: a busy computer looks like a bad network.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lab of so many hosts, or nothing, having said why.
fn lab(hosts: u8) -> Option<Lab> {
    match Lab::new(hosts) {
        Ok(lab) => Some(lab),
        Err(why) => {
            let required = std::env::var("UNISONO_HOSTS").is_ok_and(|value| value == "required");
            assert!(!required, "UNISONO_HOSTS=required, and there can be no hosts: {why}");
            eprintln!("SKIPPED: no network namespaces here ({why}); run it as root with iproute2 and nftables");
            None
        }
    }
}

/// A node on each host, that knows of nothing but the subnet, and all of them agreeing.
async fn five(lab: &Lab) -> Result<Stage, Failure> {
    let mut stage = Stage::new();
    for (host, node) in (1..).zip(NODES) {
        let mut command = lab.on(host, parking_lot());
        command.args(["node", node, "--json", "--net", NET]);
        command.args(["--gates", &GATES.to_string(), "--spaces", &SPACES.to_string()]);
        stage.start(node, command.into())?;
    }
    stage.settle("five find each other by broadcast", PATIENCE, &NODES, GATES).await?;
    Ok(stage)
}

/// Lets a car in at one node and waits until all the others see it.
async fn enter(stage: &mut Stage, node: &str, plate: &str, witnesses: &[&str]) -> Result<(), Failure> {
    stage.order(node, &format!("enter 1 \"{plate}\"")).await?;
    stage.until(&format!("{witnesses:?} see {plate}"), PATIENCE, |seen| all_see(seen, witnesses, plate)).await?;
    Ok(())
}

/// All nodes hold the same cars, by what they answer.
async fn one_lot(stage: &mut Stage, cars: usize) -> Result<(), Failure> {
    let first = stage.lot(NODES[0]).await?;
    if first.len() != cars {
        return Err(format!("{} holds {first:?}, which should be {cars} cars", NODES[0]));
    }
    for node in &NODES[1..] {
        let lot = stage.lot(node).await?;
        if lot != first {
            return Err(format!("{node} holds {lot:?}, {} holds {first:?}", NODES[0]));
        }
    }
    Ok(())
}

#[test]
fn a_host_cut_off_without_a_word_is_down_everywhere_and_comes_back() {
    let _alone = alone();
    let Some(lab) = lab(5) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        enter(&mut stage, "bela", "BEFORE 1", &NODES).await?;

        lab.cut(5)?;
        let rest = &NODES[..4];
        let down = |seen: &Seens| rest.iter().all(|&node| seen[node].down.contains("elsa"));
        stage.until("elsa is down everywhere", LONG, down).await?;
        stage.settle("elsa's gate runs elsewhere", PATIENCE, rest, GATES).await?;
        enter(&mut stage, "anna", "DURING 2", rest).await?;
        // The other side of the cut goes on as well: it agrees with itself, runs every gate, and lets cars in.
        stage.settle("elsa runs all gates for herself", LONG, &["elsa"], GATES).await?;
        enter(&mut stage, "elsa", "DURING 3", &["elsa"]).await?;

        lab.heal()?;
        stage.settle("the cut heals", LONG, &NODES, GATES).await?;
        one_lot(&mut stage, 3).await
    });
}

#[test]
fn a_split_with_writes_on_both_sides_heals_into_one_map() {
    let _alone = alone();
    let Some(lab) = lab(5) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        enter(&mut stage, "anna", "COMMON 1", &NODES).await?;
        enter(&mut stage, "anna", "COMMON 2", &NODES).await?;

        lab.split(&[1, 2])?;
        let (two, three) = NODES.split_at(2);
        stage.settle("one side agrees, and runs every gate", LONG, two, GATES).await?;
        stage.settle("the other side agrees, and runs every gate", LONG, three, GATES).await?;
        for car in 0..20 {
            enter(&mut stage, two[car % 2], &format!("WEST {car}"), two).await?;
            enter(&mut stage, three[car % 3], &format!("EAST {car}"), three).await?;
        }
        stage.order("bela", "exit 1 \"COMMON 1\"").await?;
        stage.order("elsa", "exit 1 \"COMMON 2\"").await?;

        lab.heal()?;
        stage.settle("the split heals", LONG, &NODES, GATES).await?;
        // The two that were let out on either side are out.
        one_lot(&mut stage, 40).await?;
        // Each side had space for its cars; together they are too many, which everybody keeps and says.
        let overfull = |seen: &Seens| NODES.iter().all(|&node| seen[node].overfull);
        stage.until("all say that there are more cars than spaces", PATIENCE, overfull).await?;
        match stage.order("cora", "enter 1 \"ONE MORE\"").await {
            Err(why) if why.contains("the lot is full") => Ok(()),
            other => Err(format!("a full lot should admit nobody: {other:?}")),
        }
    });
}

#[test]
fn a_firewall_that_rejects_packets_between_two_kills_nobody() {
    let _alone = alone();
    let Some(lab) = lab(5) else { return };
    play(async {
        let mut stage = five(&lab).await?;
        let wall = lab.reject(1, 2)?;
        let nobody_is_down = |seen: &Seens| seen.values().all(|seen| seen.down.is_empty() && !seen.ended);
        // Longer than it takes to lose a host that really is gone.
        throughout(&mut stage, "nobody is taken for dead", Duration::from_secs(20), nobody_is_down).await?;
        // Those two cannot speak to each other, and still hear of each other's cars.
        enter(&mut stage, "anna", "DETOUR 1", &NODES).await?;
        enter(&mut stage, "bela", "DETOUR 2", &NODES).await?;
        if wall.packets()? == 0 {
            return Err("the firewall met no packet, so nothing was shown".to_owned());
        }
        drop(wall);
        stage.settle("five agree without the firewall", PATIENCE, &NODES, GATES).await?;
        one_lot(&mut stage, 2).await?;
        if nobody_is_down(stage.seen()) { Ok(()) } else { Err(format!("somebody was killed: {:#?}", stage.seen())) }
    });
}

/// The lab itself, without nodes: what each of its faults does to a connection attempt, and that nothing remains.
#[test]
fn the_lab_cuts_splits_heals_and_leaves_nothing_behind() {
    let _alone = alone();
    let Some(lab) = lab(3) else { return };
    assert_eq!(knock(&lab, 1, 3), Answer::Refused);
    lab.cut(3).unwrap();
    assert_eq!(knock(&lab, 1, 3), Answer::Silence);
    lab.heal().unwrap();
    assert_eq!(knock(&lab, 1, 3), Answer::Refused);
    lab.split(&[2, 3]).unwrap();
    assert_eq!((knock(&lab, 1, 3), knock(&lab, 2, 3)), (Answer::Silence, Answer::Refused));
    lab.heal().unwrap();
    let wall = lab.reject(1, 2).unwrap();
    assert_eq!((knock(&lab, 1, 2), knock(&lab, 1, 3)), (Answer::Refused, Answer::Refused));
    assert_eq!(wall.packets().unwrap(), 1, "the wall rejects, and only between those two");
    drop(wall);
    let name = lab.switch();
    assert!(namespaces().contains(&name));
    drop(lab);
    assert!(!namespaces().contains(&name));
}

#[derive(PartialEq, Eq, Debug)]
enum Answer {
    /// The host answered; nobody listens at that port.
    Refused,
    /// No answer.
    Silence,
}

/// Tries to connect from one host to a port of another one at which nobody listens.
fn knock(lab: &Lab, from: u8, to: u8) -> Answer {
    let attempt = format!("exec 3<>/dev/tcp/{}/9", Lab::address(to));
    let mut command = lab.on(from, "timeout");
    command.args(["0.5", "bash", "-c", &attempt]).stdin(Stdio::null()).stderr(Stdio::null());
    match command.status().unwrap().code() {
        Some(124) => Answer::Silence,
        _ => Answer::Refused,
    }
}

fn namespaces() -> String {
    let list = std::process::Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(list.stdout).unwrap()
}
