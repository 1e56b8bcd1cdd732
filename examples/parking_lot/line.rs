//! What a node says: one JSON object per line for scripts (`--json`), or a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};
use unisono::{Event, Explanation, Liveness, Member, Move, Snapshot};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The node may write.
    Ready { node: String, address: String },
    /// Something happened in the cluster.
    Event {
        #[serde(flatten)]
        event: Event,
    },
    /// A car is inside now, says this node's copy of the table.
    Entered { plate: String, gate: u32, by: String, entered_us: u64, seen_us: u64 },
    /// A car is no longer inside.
    Exited { plate: String },
    /// There are more cars than spaces: two sides of a cut network let them in.
    Overfull { cars: usize, spaces: usize },
    /// This node was too slow to hear everything; what it shows is right, what it told in between is not complete.
    Missed { lines: u64 },
    /// The answer to `enter` and `exit`, when it was done.
    Done { what: String },
    /// The answer to anything that could not be done.
    Refused { why: String },
    /// The answer to `lot`.
    Lot { cars: Vec<Parked>, spaces: usize },
    /// The answer to `gates`; and the nodes that run the attendant.
    Gates { gates: Vec<Gate>, attendant: Vec<String> },
    /// The answer to `roll`: the gates that answered, those that did not and why, and how long the slowest took.
    Roll { answered: Vec<u32>, missing: Vec<(u32, String)>, slowest_us: u64 },
    /// The answer to `cars-at`: what that node says.
    CarsAt { node: String, cars: usize },
    /// The answer to `rush`: how many came in and how many stay outside; those of which nobody knows, and why; the median
    /// and the longest wait for an answer.
    Rush { admitted: usize, refused: usize, unsure: Vec<String>, median_us: u64, slowest_us: u64 },
    /// The answer to `explain`.
    Explained { explanation: Box<Explanation> },
    /// The answer to `what-if`.
    Moves { moves: Vec<Move> },
    /// The answer to `members`.
    Members { members: Vec<Member> },
    /// The answer to `snapshot`.
    Snapshot { snapshot: Box<Snapshot> },
    /// The answer to `help`.
    Help { text: String },
    /// The node is gone from the cluster.
    Gone { how: String },
}

/// A car in the answer to `lot`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) plate: String,
    pub(crate) gate: u32,
    pub(crate) by: String,
}

/// A gate in the answer to `gates`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) gate: u32,
    /// The nodes that run it.
    pub(crate) nodes: Vec<String>,
}

impl Line {
    /// As a line for a script.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|why| format!("{{\"line\":\"refused\",\"why\":\"{why}\"}}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { node, address } => write!(f, "{node} is ready, at {address}"),
            Self::Event { event } => event_text(f, event),
            Self::Entered { plate, gate, by, .. } => write!(f, "{plate} came in by gate {gate}, at {by}"),
            Self::Exited { plate } => write!(f, "{plate} went out"),
            Self::Overfull { cars, spaces } => write!(f, "OVERFULL: {cars} cars on {spaces} spaces"),
            Self::Missed { lines } => write!(f, "({lines} messages missed)"),
            Self::Done { what } => f.write_str(what),
            Self::Refused { why } => f.write_str(why),
            Self::Lot { cars, spaces } => {
                write!(f, "{} of {spaces} spaces taken", cars.len())?;
                cars.iter().try_for_each(|car| write!(f, "\n  {:12} gate {}, at {}", car.plate, car.gate, car.by))
            }
            Self::Gates { gates, attendant } => {
                let place = |nodes: &[String]| if nodes.is_empty() { "nowhere".to_owned() } else { nodes.join(", ") };
                f.write_str("gates")?;
                gates.iter().try_for_each(|gate| write!(f, "\n  {}  {}", gate.gate, place(&gate.nodes)))?;
                write!(f, "\n  attendant  {}", place(attendant))
            }
            Self::Roll { answered, missing, slowest_us } => {
                let all = answered.len() + missing.len();
                write!(f, "{} of {all} gates answered, the slowest after {}", answered.len(), us(*slowest_us))?;
                missing.iter().try_for_each(|(gate, why)| write!(f, "\n  gate {gate}: {why}"))
            }
            Self::CarsAt { node, cars } => write!(f, "{node} knows of {cars} cars"),
            Self::Rush { admitted, refused, unsure, median_us, slowest_us } => {
                let (median, slowest) = (us(*median_us), us(*slowest_us));
                write!(
                    f,
                    "{admitted} cars came in, {refused} did not; answered after {median} (median), {slowest} (longest)"
                )?;
                unsure.iter().try_for_each(|why| write!(f, "\n  one may be inside or not: {why}"))
            }
            Self::Explained { explanation } => f.write_str(explanation.to_string().trim_end()),
            Self::Moves { moves } if moves.is_empty() => f.write_str("no role would move"),
            Self::Moves { moves } => {
                let name =
                    |node: &Option<unisono::NodeId>| node.as_ref().map_or("nowhere".to_owned(), ToString::to_string);
                f.write_str("these would move")?;
                let mut moves = moves.iter();
                moves.try_for_each(|it| write!(f, "\n  {:12} {} → {}", it.role, name(&it.from), name(&it.to)))
            }
            Self::Members { members } => {
                f.write_str("members")?;
                members.iter().try_for_each(|member| {
                    let liveness = match member.liveness {
                        Liveness::Alive => "alive",
                        Liveness::Suspect => "does not answer",
                        Liveness::Down => "down",
                    };
                    let view = if member.in_view { "" } else { ", not in the view" };
                    write!(f, "\n  {:12} {}  {liveness}{view}", member.node, member.address)
                })
            }
            Self::Snapshot { snapshot } => f.write_str(snapshot.to_string().trim_end()),
            Self::Help { text } => f.write_str(text),
            Self::Gone { how } => write!(f, "gone: {how}"),
        }
    }
}

fn event_text(f: &mut fmt::Formatter<'_>, event: &Event) -> fmt::Result {
    match event {
        Event::Joined { node, .. } => write!(f, "{node} joined"),
        Event::Suspected { node, .. } => write!(f, "{node} does not answer"),
        Event::Down { node, .. } => write!(f, "{node} is down"),
        Event::Left { node, .. } => write!(f, "{node} left"),
        Event::Rejoined { node, .. } => write!(f, "{node} is back"),
        Event::Ready => f.write_str("ready"),
        Event::NameTaken { node, address, keeps: true, .. } => {
            write!(f, "a second {node} runs at {address}; it is shut out")
        }
        Event::NameTaken { node, address, .. } => {
            write!(f, "another {node} runs at {address} and has the name; start this one under a name of its own")
        }
        Event::OtherCluster { address, name } => {
            let name = name.as_deref().unwrap_or("another name");
            write!(f, "a cluster of {name} is on this network, at {address}; it is ignored")
        }
        Event::Unready { wait } => write!(f, "hosts nothing for {wait:?}, since the others lost it again and again"),
        Event::Converged { view } => {
            let names: Vec<_> = view.iter().map(ToString::to_string).collect();
            write!(f, "all agree: {}", names.join(", "))
        }
        Event::RoleStarted { role, .. } => write!(f, "{role} runs here"),
        Event::RoleStopped { role, why } => write!(f, "{role} no longer runs here: {why}"),
        Event::RoleGap { role, over: false, .. } => write!(f, "{role} runs nowhere"),
        Event::RoleGap { role, lasted, .. } => write!(f, "{role} ran nowhere for {}", ms(*lasted)),
        Event::RoleOverlap { role, over: false, .. } => write!(f, "{role} runs more often than it should"),
        Event::RoleOverlap { role, lasted, .. } => {
            write!(f, "{role} ran more often than it should for {}", ms(*lasted))
        }
        other => write!(f, "{other:?}"),
    }
}

/// Microseconds as people read them.
fn us(us: u64) -> String {
    ms(std::time::Duration::from_micros(us))
}

fn ms(span: std::time::Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_json_with_the_event_beside_its_tag() {
        let view = vec![unisono::NodeId::new("larry").unwrap()];
        let line = Line::Event { event: Event::Converged { view } };
        assert_eq!(line.json(), r#"{"line":"event","event":"converged","view":["larry"]}"#);
        let replica = unisono::ReplicaId(u64::MAX);
        let line = Line::Event { event: Event::Down { node: unisono::NodeId::new("gary").unwrap(), replica } };
        let again: Line = serde_json::from_str(&line.json()).unwrap();
        assert_eq!(again.json(), line.json());
        assert_eq!(again.to_string(), "gary is down");
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let missing = vec![(2, "no".to_owned())];
        let told = Line::Roll { answered: vec![1], missing, slowest_us: 1_500 }.to_string();
        assert_eq!(told, "1 of 2 gates answered, the slowest after 1.5 ms\n  gate 2: no");
    }

    #[test]
    fn a_gate_without_a_host_is_told() {
        let gates = vec![Gate { gate: 1, nodes: vec!["larry".to_owned()] }, Gate { gate: 2, nodes: vec![] }];
        let attendant = vec!["gary".to_owned()];
        let told = Line::Gates { gates, attendant }.to_string();
        assert_eq!(told, "gates\n  1  larry\n  2  nowhere\n  attendant  gary");
    }
}
