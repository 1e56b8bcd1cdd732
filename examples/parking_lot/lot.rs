//! The car park: a table of the cars inside, and the promise that there are never more of them than spaces.
//!
//! ```text
//!   enter 1 "ABC 123", typed at harry
//!     └─ call ─▶ role gate-1, wherever it runs
//!                  └─ call ─▶ role attendant, the only one that admits cars
//!                               1. is there space?  writes the car into its copy of the table
//!                               2. waits until every node that it sees holds the row
//!                  ◀─ admitted ─┘
//!     ◀─ opened ─┘
//! ```
//!
//! # What is promised, and why it holds
//!
//! **While the nodes see each other, gates open for no more cars than there are spaces.**
//!
//! - Two gates never take the last space together: the attendant, one role with one instance, admits one car after the
//!   other, and a car takes its space when it is written, before anybody is told.
//! - The next attendant knows every car that was admitted. A planned move breaks before it makes: the old instance
//!   finishes what it began, and ends, before the new one starts. When the old one's node dies, the cars it answered for
//!   are on every other node. In both cases the new one opens only when all nodes in sight hold the same as it does
//!   ([`Cluster::tables_converged`]), so that cars that were written and not answered for are counted too. That comes
//!   about however busy the lot is: while nobody is admitted, no more cars go out than there are.
//! - An answer that got lost is no harm. Whoever asks does so again with the very same [`Car`], and an attendant that
//!   finds it inside has admitted it. So a car is let in once, also if the gate or the attendant dies in the middle.
//! - If a node does not confirm in time, the car is taken out again and the gate stays closed.
//! - Going out needs no attendant: it only frees a space.
//!
//! # What is not
//!
//! - **When the network is cut**, each side has an attendant and fills the spaces that it believes free. After the cut the
//!   lot may hold more cars than spaces. It keeps them all, and every node says so. So it does when a process was held up
//!   for so long that the others took it for dead: until it notices, there are two attendants. With `--partition majority`
//!   the smaller side admits nobody, and has no gates.
//! - A row that was on its way when its attendant died may arrive after the next one opened. Its gate did not open (whoever
//!   waits asks the new attendant), but it counts as a car until somebody lets it out. So does a car whose terminal
//!   died before it heard the answer.

use serde::{Deserialize, Serialize};
use unisono::{Cluster, Lww, PartitionPolicy, Status, Table, TableError, WriteError};

/// A car inside; its plate is the key. The same three values are the same attempt to come in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Car {
    /// The gate it came in by.
    pub(crate) gate: u32,
    /// The node at which it was asked for.
    pub(crate) entered_by: String,
    /// When, in microseconds since the Unix epoch by that node's clock.
    pub(crate) entered_us: u64,
}

/// Why a car is not let in or out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum Refusal {
    #[error("gate {gate}: there is no such gate; there are 1 to {gates}")]
    NoSuchGate { gate: u32, gates: u32 },
    #[error("{plate} is already inside")]
    AlreadyInside { plate: String },
    #[error("{plate} is not inside")]
    NotInside { plate: String },
    #[error("the lot is full: {cars} cars on {spaces} spaces")]
    Full { cars: usize, spaces: usize },
    #[error("fewer than half of the nodes are in sight, and only the larger side of a cut admits cars")]
    Minority,
    #[error("two sides of a cut meet, and both have an attendant; try again in a moment")]
    TwoAttendants,
    #[error("{plate} stays outside, since not all nodes took note of it: {why}; try again")]
    Unconfirmed { plate: String, why: String },
    #[error("the gate does not open, for {why}; try again")]
    Closed { why: String },
    #[error("not written: {why}")]
    Write { why: String },
    /// Ask again with the same [`Car`], or look.
    #[error("the gate may have opened or not: {why}; look at `lot`")]
    Unsure { why: String },
}

impl From<WriteError> for Refusal {
    fn from(why: WriteError) -> Self {
        Self::Write { why: why.to_string() }
    }
}

/// The car park as one node sees it.
#[derive(Clone, Debug)]
pub(crate) struct Lot {
    cluster: Cluster,
    cars: Table<String, Lww<Car>>,
    rules: Rules,
}

impl Lot {
    /// Opens the table of cars.
    pub(crate) fn open(cluster: Cluster, rules: Rules) -> Result<Self, TableError> {
        let cars = cluster.table("cars")?;
        Ok(Self { cluster, cars, rules })
    }

    /// The node that sees it.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The table of cars.
    pub(crate) fn cars(&self) -> &Table<String, Lww<Car>> {
        &self.cars
    }

    /// What this lot is like.
    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }

    /// Lets a car in as far as this node is concerned. Only the attendant calls this, from one task.
    pub(crate) fn admit(&self, plate: &String, car: &Car) -> Result<(), Refusal> {
        self.may_admit()?;
        match self.cars.get(plate) {
            // Asked for again, since the answer was lost. It is written again, so that it stays if the attendant that was
            // asked before still lives, behind a cut, and withdraws what it wrote: that is not this row.
            Some(inside) if inside == *car => {}
            inside => self.rules.may_enter(plate, inside.is_some(), self.cars.len())?,
        }
        Ok(self.cars.insert(plate, car)?)
    }

    /// Whether the attendant that asks this may admit anybody, by what this node sees of the others.
    pub(crate) fn may_admit(&self) -> Result<(), Refusal> {
        let status = self.cluster.status();
        if self.rules.partition == PartitionPolicy::Majority && !is_majority(&status) {
            return Err(Refusal::Minority);
        }
        let mut hosts = status.roles.iter().filter(|role| role.spec.name == ATTENDANT).flat_map(|role| role.running());
        if hosts.any(|host| host.replica != status.replica) { Err(Refusal::TwoAttendants) } else { Ok(()) }
    }

    /// Takes a car out again that was admitted, and for which no gate opened.
    pub(crate) fn withdraw(&self, plate: &String, car: &Car) {
        // An error means that this node is gone, and with it the attendant.
        let _ = self.cars.update(plate, |inside| inside.filter(|inside| inside != car));
    }

    /// Lets a car out. If that was asked `before`, it may be out already.
    pub(crate) fn exit(&self, plate: &String, before: bool) -> Result<(), Refusal> {
        match self.cars.remove(plate)? {
            Some(_) => Ok(()),
            None if before => Ok(()),
            None => Err(Refusal::NotInside { plate: plate.clone() }),
        }
    }

    /// The nodes that run a role: one, unless it is just moving.
    pub(crate) fn hosts_of(&self, role: &str) -> Vec<String> {
        self.cluster.lookup(role).into_iter().map(|host| host.node.to_string()).collect()
    }

    /// What there is to say when the lot holds more cars than it has spaces.
    pub(crate) fn overfull(&self) -> Option<(usize, usize)> {
        let cars = self.cars.len();
        (cars > self.rules.spaces).then_some((cars, self.rules.spaces))
    }
}

/// The name of the role that admits cars.
pub(crate) const ATTENDANT: &str = "attendant";

/// The name of the role that is this gate.
pub(crate) fn role_of(gate: u32) -> String {
    format!("gate-{gate}")
}

/// Whether a node sees more than half of those that it knows, the dead included until they are forgotten.
fn is_majority(status: &Status) -> bool {
    2 * status.members.iter().filter(|member| member.in_view).count() > status.members.len()
}

/// The part that needs no cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    pub(crate) gates: u32,
    pub(crate) spaces: usize,
    /// What becomes of gates and attendant when the network is cut.
    pub(crate) partition: PartitionPolicy,
}

impl Rules {
    pub(crate) fn has_gate(&self, gate: u32) -> Result<(), Refusal> {
        let gates = self.gates;
        if (1..=gates).contains(&gate) { Ok(()) } else { Err(Refusal::NoSuchGate { gate, gates }) }
    }

    fn may_enter(&self, plate: &str, inside: bool, cars: usize) -> Result<(), Refusal> {
        if inside {
            return Err(Refusal::AlreadyInside { plate: plate.to_owned() });
        }
        if cars >= self.spaces { Err(Refusal::Full { cars, spaces: self.spaces }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { gates: 4, spaces: 2, partition: PartitionPolicy::Overlap };

    #[test]
    fn a_gate_must_exist() {
        assert!(RULES.has_gate(4).is_ok());
        assert!(RULES.has_gate(9).unwrap_err().to_string().starts_with("gate 9: there is no such gate"));
        assert_eq!(RULES.has_gate(0), Err(Refusal::NoSuchGate { gate: 0, gates: 4 }));
    }

    #[test]
    fn a_car_comes_in_once_and_only_while_there_is_space() {
        assert!(RULES.may_enter("ABC 123", false, 1).is_ok());
        assert_eq!(RULES.may_enter("ABC 123", true, 1).unwrap_err().to_string(), "ABC 123 is already inside");
        assert!(RULES.may_enter("ABC 123", false, 2).unwrap_err().to_string().starts_with("the lot is full"));
        // After a cut there may be more cars than spaces; that is no reason to let in another one.
        assert_eq!(RULES.may_enter("ABC 123", false, 3), Err(Refusal::Full { cars: 3, spaces: 2 }));
    }
}
