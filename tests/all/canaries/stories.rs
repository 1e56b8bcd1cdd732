//! Stories that end well unless one rule is broken, where schedules would take too long to come across it.

use std::time::Duration;

use unisono::crdt::Context;
use unisono::engine::{Event, Phase, Reply, Timing};
use unisono::roles::RoleSpec;
use unisono::sabotage;
use unisono::store::TableName;
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Rule, Simulation};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn options(name: &str, broken: &[sabotage::Rule]) -> NodeOptions {
    broken.iter().fold(NodeOptions::named(name), |options, rule| options.sabotage(*rule))
}

fn start(seed: u64, size: usize, broken: &[sabotage::Rule]) -> (Simulation, Vec<NodeIndex>) {
    let mut simulation = Simulation::new(seed);
    let nodes = (0..size).map(|number| simulation.add(options(&format!("n{number}"), broken))).collect();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    (simulation, nodes)
}

fn nobody_down(simulation: &Simulation) -> Result<(), String> {
    for node in simulation.alive() {
        if let Some(Event::Down { node: down, .. }) =
            simulation.events(node).iter().find(|event| matches!(event, Event::Down { .. }))
        {
            return Err(format!("{down} was found Down at {node:?}, and it is alive and within reach"));
        }
    }
    Ok(())
}

/// A firewall between two of four rejects everything: nobody is dead.
pub(super) fn firewall(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = start(seed, 4, broken);
    simulation.network().reject(&nodes[..1], &nodes[1..2]).keep();
    simulation.run_for(20 * SECOND);
    nobody_down(&simulation)
}

/// A tenth of all datagrams is lost: nobody is dead.
pub(super) fn lossy(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, _) = start(seed, 5, broken);
    simulation.network().add(Rule::loss(0.1)).keep();
    simulation.run_for(120 * SECOND);
    nobody_down(&simulation)
}

/// A quarter of them is lost, and a suspect has little time to answer: suspicions are everyday, and still nobody is dead.
pub(super) fn lossy_and_hasty(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let mut timing = Timing::lan();
    timing.membership.suspicion = Duration::from_millis(480);
    for number in 0..20 {
        simulation.add(options(&format!("n{number}"), broken).timing(timing.clone()));
    }
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    simulation.network().add(Rule::loss(0.25)).keep();
    simulation.run_for(60 * SECOND);
    nobody_down(&simulation)
}

/// A node that was cut off returns, and half of a cluster that was split: no two members of one side are Down to each other.
pub(super) fn returning(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let size = 3 + usize::try_from(seed % 6).unwrap();
    let (mut simulation, nodes) = start(seed, size, broken);
    let (one, other) = nodes.split_at(if seed.is_multiple_of(2) { 1 } else { size / 2 });
    let cut = simulation.network().cut(one, other);
    simulation.run_for(15 * SECOND);
    cut.heal();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    simulation.run_for(10 * SECOND);
    for side in [one, other] {
        let of_side = |replica| side.iter().any(|node| simulation.store(*node).replica() == replica);
        for node in side {
            let down = simulation.events(*node).iter().find_map(|event| match event {
                Event::Down { node, replica } if of_side(*replica) => Some(node),
                _ => None,
            });
            if let Some(down) = down {
                return Err(format!("{down} was found Down at {node:?}, and nothing was ever between them"));
            }
        }
    }
    Ok(())
}

/// A node writes, the datagram is lost, and the node leaves: whoever stays fetches the write.
pub(super) fn last_write_lost(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = start(seed, 3, broken);
    let losing = simulation.network().add(Rule::loss(1.0).from(&nodes[..1]));
    simulation.put(nodes[0], &TableName::new("lot").unwrap(), b"B-AB 1", b"417").unwrap();
    simulation.run_for(Duration::from_millis(1));
    losing.heal();
    simulation.leave(nodes[0], 3 * SECOND);
    simulation.run_for(4 * SECOND);
    match simulation.replies(nodes[0]) {
        [(_, Reply::Left)] => Ok(()),
        other => Err(format!("it left a whole cluster and says {other:?}")),
    }
}

/// Two clusters that formed without each other meet.
pub(super) fn two_clusters(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let nodes = ["n0", "n1", "n2", "n3"].map(|name| simulation.add(options(name, broken)));
    let cut = simulation.network().cut(&nodes[..2], &nodes[2..]);
    let both = |simulation: &Simulation| simulation.converged(&nodes[..2]) && simulation.converged(&nodes[2..]);
    simulation.run_until(20 * SECOND, both).unwrap();
    cut.heal();
    let one = simulation.run_until(60 * SECOND, Simulation::all_converged);
    one.map(drop).map_err(|timeout| format!("they did not become one cluster: {timeout}"))
}

/// The halves of a cluster meet again soon, not only when the next beacon comes.
pub(super) fn silent_discovery(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = start(seed, 4, broken);
    let cut = simulation.network().cut(&nodes[..2], &nodes[2..]);
    simulation.run_for(15 * SECOND);
    cut.heal();
    let one = simulation.run_until(5 * SECOND, Simulation::all_converged);
    one.map(drop).map_err(|timeout| format!("they did not become one cluster again: {timeout}"))
}

/// A cluster is parted for a while and meets again: nobody had to go for that, and nothing was lost.
pub(super) fn partition(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = start(seed, 4, broken);
    let cut = simulation.network().cut(&nodes[..2], &nodes[2..]);
    simulation.run_for(15 * SECOND);
    cut.heal();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    for node in nodes {
        if let Some(event) = simulation.events(node).iter().find(|event| matches!(event, Event::Evicted { .. })) {
            return Err(format!("a member was evicted from the roster: {event:?}"));
        }
        match simulation.store(node).stats().resurrected {
            0 => {}
            rows => return Err(format!("{rows} rows came back at {node:?}, as if they had been lost there")),
        }
    }
    Ok(())
}

/// Two that evicted each other from the roster meet again: what one removed and collected, the other still holds.
pub(super) fn islands(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let timing = Timing { evict_after: 5 * SECOND, ..Timing::lan() };
    let nodes = ["n0", "n1"].map(|name| simulation.add(options(name, broken).timing(timing.clone())));
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    let table = TableName::new("lot").unwrap();
    for key in 0..9_u8 {
        simulation.put(nodes[0], &table, &[key], b"value").unwrap();
    }
    simulation.run_for(SECOND);
    let cut = simulation.network().cut(&nodes[..1], &nodes[1..]);
    simulation.run_for(15 * SECOND);
    for (key, node) in [(1, nodes[0]), (2, nodes[1])] {
        simulation.remove(node, &table, &[key]).unwrap();
    }
    let forgot = |simulation: &Simulation| nodes.iter().all(|node| simulation.store(*node).stats().tombstones == 0);
    simulation.run_until(20 * SECOND, forgot).unwrap();
    cut.heal();
    let one = simulation.run_until(60 * SECOND, Simulation::all_converged);
    one.map(drop).map_err(|timeout| format!("the islands did not become one: {timeout}"))
}

/// Rows of one owner replace each other before they are sent: the receivers know of all of them.
pub(super) fn coalesced(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = start(seed, 3, broken);
    let load = TableName::new("@load").unwrap();
    for round in 0..10_u8 {
        let now = simulation.now_at(nodes[0]);
        for value in 0..3 {
            simulation.store(nodes[0]).put_own(now, &load, b"cpu", &[round, value]).unwrap();
        }
        simulation.wrote(nodes[0]);
        simulation.run_for(Duration::from_millis(10));
        for node in &nodes {
            if !simulation.store(*node).gaps().is_empty() {
                return Err(format!("{node:?} misses writes although nothing was lost"));
            }
        }
        simulation.run_for(SECOND);
    }
    Ok(())
}

/// One writes more than datagrams carry, and what he pushes to another is always under way: whoever asks a third for what
/// differs gets nothing, and goes on lacking it until it comes.
pub(super) fn pushed(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = start(seed, 3, broken);
    let (table, millisecond) = (TableName::new("lot").unwrap(), Duration::from_millis(1));
    simulation.network().add(Rule::delay(Delay::Fixed(30 * millisecond)).from(&nodes[..1]).to(&nodes[1..2])).keep();
    for round in 0..2_000_u32 {
        let now = simulation.now_at(nodes[0]);
        for number in 0..10 {
            simulation.store(nodes[0]).put(now, &table, &(round * 10 + number).to_be_bytes(), &[7; 600]).unwrap();
        }
        simulation.wrote(nodes[0]);
        simulation.run_for(millisecond);
    }
    simulation.run_until(20 * SECOND, Simulation::all_converged).map_err(|timeout| timeout.to_string())?;
    let repairs = nodes.iter().map(|node| simulation.engine(*node).unwrap().stats().bucket_pulls).sum::<u64>();
    if repairs > 0 { Err(format!("bucket repair was needed {repairs} times")) } else { Ok(()) }
}

/// One clock is a minute ahead: the others' stamps stay where they belong.
pub(super) fn wrong_clock(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let wrong = simulation.add(options("n0", broken).skew_ms(60_000));
    simulation.run_for(SECOND);
    let others = ["n1", "n2"].map(|name| simulation.add(options(name, broken)));
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    let table = TableName::new("lot").unwrap();
    simulation.store(wrong).put(simulation.now_at(wrong), &table, b"k", b"v").unwrap();
    simulation.wrote(wrong);
    simulation.run_for(SECOND);
    for node in others {
        let now = simulation.now_at(node);
        let ahead = simulation.store(node).tick(now).as_millis().saturating_sub(now.wall_ms);
        if ahead > 1_000 {
            return Err(format!("{node:?} stamps its writes {ahead} ms ahead of time"));
        }
    }
    Ok(())
}

/// A newcomer holds nothing but what its sponsor gave it, however much is written meanwhile.
pub(super) fn newcomer(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = start(seed, 3, broken);
    let table = TableName::new("lot").unwrap();
    let slow = Delay::Uniform(Duration::from_millis(1), Duration::from_millis(30));
    simulation.network().set_base_delay(slow);
    let newcomer = simulation.add(options("n9", broken).role(RoleSpec::new("any")));
    for number in 0..2_000_u16 {
        let node = nodes[usize::from(number) % 3];
        simulation.store(node).put(simulation.now_at(node), &table, &number.to_be_bytes(), b"v").unwrap();
        simulation.wrote(node);
        simulation.run_for(Duration::from_micros(500));
        if simulation.status(newcomer).is_some_and(|status| status.phase != Phase::Joining) {
            return Ok(());
        }
        let known = simulation.store(newcomer).context();
        let sponsors = nodes.iter().map(|node| simulation.store(*node).context());
        let within = |of: &Context| {
            let mut joined = of.clone();
            !joined.join(&known)
        };
        if !sponsors.into_iter().any(|sponsor| within(&sponsor)) {
            return Err(format!("seed {seed}: the newcomer knows of writes before its first pull is complete"));
        }
    }
    Ok(())
}

/// How often a node said of itself that it flaps.
fn unready(simulation: &Simulation, node: NodeIndex) -> usize {
    simulation.events(node).iter().filter(|event| matches!(event, Event::Unready { .. })).count()
}

/// The packets of one of five are two seconds late: after a while it stops its roles by its own judgement, and when they
/// are not late any more it hosts roles as before.
pub(super) fn late(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let roles: Vec<String> = (0..10).map(|number| format!("r{number}")).collect();
    let nodes: Vec<NodeIndex> = (0..5)
        .map(|number| {
            let with_role = |options: NodeOptions, role: &String| options.role(RoleSpec::new(role.as_str()));
            simulation.add(roles.iter().fold(options(&format!("n{number}"), broken), with_role))
        })
        .collect();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    simulation.run_for(5 * SECOND);
    let rule = Rule::delay(Delay::Fixed(2 * SECOND)).between(&nodes[..1], &nodes[1..]);
    let slow = simulation.network().add(rule);
    let (tick, mut doubled) = (Duration::from_millis(100), Duration::ZERO);
    let downs = |simulation: &Simulation| {
        let count = |node: &NodeIndex| {
            simulation.events(*node).iter().filter(|event| matches!(event, Event::Down { .. })).count()
        };
        nodes.iter().map(count).collect::<Vec<_>>()
    };
    for step in 0..600_u32 {
        simulation.run_for(tick);
        let twice = roles.iter().any(|role| simulation.running(role).len() > 1);
        if twice {
            doubled += tick;
        }
        if twice && step >= 250 {
            return Err(format!("a role ran twice {:?} after the packets became late", tick * step));
        }
    }
    println!("seed {seed}: a role ran twice for {doubled:?} of 60 s, Down was told {:?} times", downs(&simulation));
    slow.heal();
    let hosts = |simulation: &Simulation| {
        simulation.all_converged() && roles.iter().all(|role| simulation.running(role).len() == 1)
    };
    simulation.run_until(20 * SECOND, hosts).map_err(|timeout| format!("roles are not as before: {timeout}"))?;
    Ok(())
}

/// All of three are cut off from each other again and again: each says that others should rather build roles, and since
/// there are no others, they do.
#[test]
fn roles_run_though_everybody_flaps() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(options(name, &[]).role(RoleSpec::new("one"))));
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
        for _ in 0..3 {
            let pairs = [(0, 1), (0, 2), (1, 2)];
            let cuts = pairs.map(|(one, other)| simulation.network().cut(&[nodes[one]], &[nodes[other]]));
            simulation.run_for(4 * SECOND);
            drop(cuts);
            simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
            simulation.run_for(SECOND / 2);
            assert_eq!(simulation.running("one").len(), 1, "seed {seed}");
            simulation.run_for(5 * SECOND);
        }
        assert!(nodes.iter().all(|node| unready(&simulation, *node) > 0), "seed {seed}");
    }
}

/// One of three is cut off again and again: in the end it takes its roles back only after a while, and is back in the view
/// at once all the same.
pub(super) fn flapping(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let everywhere = RoleSpec::new("everywhere").count(3);
    let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(options(name, broken).role(everywhere.clone())));
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    let all_run = |simulation: &Simulation| simulation.running("everywhere").len() == 3;
    for flap in 0..3 {
        simulation.run_until(20 * SECOND, all_run).unwrap();
        simulation.run_for(10 * SECOND);
        let cut = simulation.network().cut(&nodes[..1], &nodes[1..]);
        simulation.run_for(4 * SECOND);
        cut.heal();
        let is_back = |simulation: &Simulation| simulation.view(nodes[1]).len() == 3;
        simulation.run_until(5 * SECOND, is_back).unwrap();
        if flap == 2 {
            let gives_up = |simulation: &Simulation| simulation.running("everywhere") == nodes[1..];
            let gave_up = simulation.run_until(2 * SECOND, gives_up);
            gave_up.map_err(|_| "it took its role back at once".to_owned())?;
        }
    }
    // The others were lost to it as it was to them, and it is not they who flap.
    assert_eq!(nodes.map(|node| unready(&simulation, node)), [2, 0, 0]);
    simulation.run_until(5 * SECOND, all_run).map_err(|_| "it never builds roles again".to_owned())?;
    // Each return is told as such, and only so.
    let told = simulation.events(nodes[1]).iter().filter_map(|event| match event {
        Event::Joined { node, .. } if node.as_str() == "n0" => Some("joined"),
        Event::Down { node, .. } if node.as_str() == "n0" => Some("down"),
        Event::Rejoined { node, .. } if node.as_str() == "n0" => Some("back"),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["joined", "down", "back", "down", "back", "down", "back"]);
    Ok(())
}
