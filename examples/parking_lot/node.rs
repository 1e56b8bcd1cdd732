//! One node: a member of the cluster with a terminal around it.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use unisono::{Change, Cluster, Event, LeaveError, NodeId, WhatIf};

use crate::command::{Command, HELP};
use crate::gate::{self, Here};
use crate::line::{Gate, Line, Parked};
use crate::lot::{ATTENDANT, Car, Lot, Refusal, Rules, role_of};
use crate::options::Options;
use crate::rush::{Rush, rush};

/// Joins the cluster. This is all that an application has to do.
pub(crate) async fn start(name: &str, options: &Options) -> Result<Lot, Box<dyn Error>> {
    let rules = Rules { gates: options.gates, spaces: options.spaces, partition: options.partition };
    let here = Here::default();
    let mut builder = Cluster::builder()
        .name(options.cluster.as_deref().unwrap_or("parking"))
        .node(name)
        .net(&options.net)
        .port(options.port.unwrap_or(4870));
    if let Some(preset) = options.preset {
        builder = builder.preset(preset);
    }
    let cluster = gate::car_park(builder, rules, here.clone()).start().await?;
    let lot = Lot::open(cluster, rules)?;
    Ok(here.get_or_init(|| lot).clone())
}

/// Runs a node until it is told to leave, its terminal ends, or somebody presses Ctrl-C.
pub(crate) async fn run(name: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let json = options.json;
    let say = move |line: Line| if json { println!("{}", line.json()) } else { println!("{line}") };
    let lot = start(name, options).await?;
    let cluster = lot.cluster();
    let mut events = cluster.events();
    let mut changes = lot.cars().watch();
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    let mut overfull = None;
    let mut agreed = Vec::new();
    let (commands, mut ordered) = mpsc::unbounded_channel();
    let worker = tokio::spawn({
        let lot = lot.clone();
        async move {
            while let Some(command) = ordered.recv().await {
                say(match command {
                    Ok(command) => answer(command, &lot).await,
                    Err(why) => Line::Refused { why },
                });
            }
        }
    });

    let ready = cluster.ready(Duration::from_secs(30));
    tokio::pin!(ready);
    let mut is_ready = false;
    loop {
        tokio::select! {
            result = &mut ready, if !is_ready => {
                result?;
                is_ready = true;
                say(Line::Ready { node: name.to_owned(), address: cluster.address().to_string() });
            }
            event = events.next() => match event {
                Some(Ok(Event::Ready)) => {} // said above, with the address
                // Each move of a gate is agreed on anew; people want to know who agrees, not how often.
                Some(Ok(Event::Converged { view })) if !json && view == agreed => {}
                Some(Ok(event)) => {
                    if let Event::Converged { view } = &event {
                        agreed.clone_from(view);
                    }
                    say(Line::Event { event });
                }
                Some(Err(lagged)) => say(Line::Missed { lines: lagged.missed }),
                None => break,
            },
            change = changes.next() => {
                match change {
                    Some(Ok(change)) => say(seen(change)),
                    Some(Err(lagged)) => say(Line::Missed { lines: lagged.missed }),
                    None => break,
                }
                let now = lot.overfull();
                if let Some((cars, spaces)) = now.filter(|_| now != overfull) {
                    say(Line::Overfull { cars, spaces });
                }
                overfull = now;
            }
            line = typed.next_line() => match line?.as_deref().map(Command::parse) {
                None | Some(Ok(Some(Command::Leave))) => {
                    // What was typed before is carried out before.
                    drop(commands);
                    worker.await?;
                    break;
                }
                Some(Ok(None)) => {}
                Some(Ok(Some(command))) => commands.send(Ok(command))?,
                Some(Err(why)) => commands.send(Err(why))?,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    say(Line::Gone { how: leave(cluster).await });
    Ok(())
}

/// Leaves, and says what became of the cars.
async fn leave(cluster: &Cluster) -> String {
    let others =
        cluster.members().iter().filter(|member| member.in_view && member.replica != cluster.replica()).count();
    match cluster.leave().await {
        Ok(()) if others == 0 => "nobody else was there".to_owned(),
        Ok(()) => "the others have everything that was written here".to_owned(),
        // The table of cars is all that is written here.
        Err(LeaveError::Unsaved { rows }) => format!("cars that nobody else has, and that are lost: {}", rows.len()),
        Err(why) => why.to_string(),
    }
}

/// Waits until everybody sees the same.
async fn converged(cluster: &Cluster) -> Line {
    match cluster.converged().await {
        Ok(()) => Line::Done { what: "all see the same".to_owned() },
        Err(why) => Line::Refused { why: why.to_string() },
    }
}

/// Carries out a command.
async fn answer(command: Command, lot: &Lot) -> Line {
    let cluster = lot.cluster();
    let done = |what: String, result: Result<(), Refusal>| match result {
        Ok(()) => Line::Done { what },
        Err(why) => Line::Refused { why: why.to_string() },
    };
    match command {
        Command::Enter { gate, plate } => {
            done(format!("gate {gate} opens for {plate}"), gate::enter(lot, &plate, car(lot, gate)).await)
        }
        Command::Exit { gate, plate } => {
            done(format!("gate {gate} lets {plate} out"), gate::exit(lot, gate, &plate).await)
        }
        Command::Lot => {
            let parked = |(plate, car): (String, Car)| Parked { plate, gate: car.gate, by: car.entered_by };
            let mut cars: Vec<_> = lot.cars().iter().map(parked).collect();
            cars.sort();
            Line::Lot { cars, spaces: lot.rules().spaces }
        }
        Command::Gates => {
            let gates = 1..=lot.rules().gates;
            let gates = gates.map(|gate| Gate { gate, nodes: lot.hosts_of(&role_of(gate)) }).collect();
            Line::Gates { gates, attendant: lot.hosts_of(ATTENDANT) }
        }
        Command::Roll => {
            let gate::Roll { answered, missing, slowest } = gate::roll(cluster, lot.rules().gates).await;
            Line::Roll { answered, missing, slowest_us: us(slowest) }
        }
        Command::CarsAt { node } => cars_at(lot, node).await,
        Command::Rush { cars, every_ms } => {
            let every = Duration::from_millis(every_ms.into());
            let Rush { admitted, refused, unsure, waits } = rush(lot.clone(), cars, every).await;
            let median = waits.get(waits.len() / 2).copied().unwrap_or_default();
            let slowest = waits.last().copied().unwrap_or_default();
            Line::Rush { admitted, refused, unsure, median_us: us(median), slowest_us: us(slowest) }
        }
        Command::Explain { role } => match cluster.explain(role).await {
            Ok(explanation) => Line::Explained { explanation: Box::new(explanation) },
            Err(why) => Line::Refused { why: why.to_string() },
        },
        Command::WhatIf { without } => match NodeId::new(without) {
            Ok(node) => match cluster.what_if(WhatIf::new().without_node(node)).await {
                Ok(moves) => Line::Moves { moves },
                Err(why) => Line::Refused { why: why.to_string() },
            },
            Err(why) => Line::Refused { why: why.to_string() },
        },
        Command::Members => Line::Members { members: cluster.members() },
        Command::Snapshot => Line::Snapshot { snapshot: Box::new(cluster.snapshot()) },
        Command::Converged => converged(cluster).await,
        Command::Help | Command::Leave => Line::Help { text: HELP.to_owned() },
    }
}

/// Asks another node what it knows.
async fn cars_at(lot: &Lot, node: String) -> Line {
    let name = match NodeId::new(node.as_str()) {
        Ok(name) => name,
        Err(why) => return Line::Refused { why: why.to_string() },
    };
    match lot.cluster().on_node(&name).call::<_, Option<usize>>(gate::CARS, &()).await {
        Ok(Some(cars)) => Line::CarsAt { node, cars },
        Ok(None) => Line::Refused { why: format!("{node} is only just starting; try again") },
        Err(why) => Line::Refused { why: why.to_string() },
    }
}

/// A car that drives up to a gate now, called from this node.
pub(crate) fn car(lot: &Lot, gate: u32) -> Car {
    Car { gate, entered_by: lot.cluster().node().to_string(), entered_us: now_us() }
}

/// A change of the table of cars, as a line.
fn seen(change: Change<String, Car>) -> Line {
    match change.new {
        Some(car) => Line::Entered {
            plate: change.key,
            gate: car.gate,
            by: car.entered_by,
            entered_us: car.entered_us,
            seen_us: now_us(),
        },
        None => Line::Exited { plate: change.key },
    }
}

/// Microseconds since the Unix epoch.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    us(since)
}

/// A span in microseconds.
fn us(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
