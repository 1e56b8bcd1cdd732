//! One node: a member of the cluster with a terminal around it.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt, BufReader};
use unisono::{Change, Cluster, Event, LeaveError, RoleContext, RoleResult, RoleSpec};

use crate::command::{Command, HELP};
use crate::line::{Gate, Line, Parked};
use crate::lot::{Car, Lot, role_of};
use crate::options::Options;

/// Joins the cluster. This is all that an application has to do.
pub(crate) async fn start(name: &str, options: &Options) -> Result<Cluster, Box<dyn Error>> {
    let mut builder = Cluster::builder()
        .name(options.cluster.as_deref().unwrap_or("parking"))
        .node(name)
        .net(&options.net)
        .port(options.port.unwrap_or(4870))
        .role_kind("gate", gate);
    if let Some(preset) = options.preset {
        builder = builder.preset(preset);
    }
    for number in 1..=options.gates {
        builder = builder.role(RoleSpec::new(role_of(number)).kind("gate"));
    }
    Ok(builder.start().await?)
}

/// What a gate does: it stays open until the cluster wants it elsewhere. A real one would drive its barrier here.
async fn gate(context: RoleContext) -> RoleResult {
    context.stopped().await;
    Ok(())
}

/// Runs a node until it is told to leave, its terminal ends, or somebody presses Ctrl-C.
pub(crate) async fn run(name: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let json = options.json;
    let say = move |line: Line| if json { println!("{}", line.json()) } else { println!("{line}") };
    let cluster = start(name, options).await?;
    let lot = Lot::open(cluster.clone(), options.gates, options.spaces)?;
    let mut events = cluster.events();
    let mut changes = lot.cars().watch();
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    let mut overfull = None;
    let mut agreed = Vec::new();

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
                None | Some(Ok(Some(Command::Leave))) => break,
                Some(Ok(None)) => {}
                Some(Ok(Some(Command::Converged))) => {
                    let cluster = cluster.clone();
                    tokio::spawn(async move { say(converged(&cluster).await) });
                }
                Some(Ok(Some(command))) => say(answer(command, &cluster, &lot, options)),
                Some(Err(why)) => say(Line::Refused { why }),
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    say(Line::Gone { how: leave(&cluster).await });
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

/// Carries out a command that needs no waiting.
fn answer(command: Command, cluster: &Cluster, lot: &Lot, options: &Options) -> Line {
    let done = |what: String, result: Result<(), crate::lot::Refusal>| match result {
        Ok(()) => Line::Done { what },
        Err(why) => Line::Refused { why: why.to_string() },
    };
    match command {
        Command::Enter { gate, plate } => {
            done(format!("gate {gate} opens for {plate}"), lot.enter(gate, &plate, now_us()))
        }
        Command::Exit { gate, plate } => done(format!("gate {gate} lets {plate} out"), lot.exit(gate, &plate)),
        Command::Lot => {
            let parked = |(plate, car): (String, Car)| Parked { plate, gate: car.gate, by: car.entered_by };
            let mut cars: Vec<_> = lot.cars().iter().map(parked).collect();
            cars.sort();
            Line::Lot { cars, spaces: options.spaces }
        }
        Command::Gates => {
            let gates = (1..=options.gates).map(|gate| Gate { gate, nodes: lot.hosts_of(gate) }).collect();
            Line::Gates { gates }
        }
        Command::Members => Line::Members { members: cluster.members() },
        Command::Snapshot => Line::Snapshot { snapshot: Box::new(cluster.snapshot()) },
        Command::Help | Command::Converged | Command::Leave => Line::Help { text: HELP.to_owned() },
    }
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
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
