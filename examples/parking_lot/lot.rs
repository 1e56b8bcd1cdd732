//! The car park: a table of the cars inside, and who may come in.
//!
//! A node decides by what it sees: it reads its own copy of the table, and a write is done when it is in that copy. The
//! others have it a moment later. So as long as the nodes see each other, no more cars are let in than there are spaces
//! (but for two that take the last one in the same instant), and when the network is cut, each side fills the spaces it
//! believes free. After the cut the lot may hold more cars than spaces; it keeps them all, and says so.

use serde::{Deserialize, Serialize};
use unisono::{Cluster, Lww, Table, TableError, WriteError};

/// A car inside; its plate is the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Car {
    /// The gate it came in by.
    pub(crate) gate: u32,
    /// The node at which it was let in.
    pub(crate) entered_by: String,
    /// When, in microseconds since the Unix epoch by that node's clock.
    pub(crate) entered_us: u64,
}

/// Why a car is not let in or out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("gate {gate}: there is no such gate; there are 1 to {gates}")]
    NoSuchGate { gate: u32, gates: u32 },
    #[error("gate {gate} runs nowhere at the moment; try again, or try another one")]
    GateClosed { gate: u32 },
    #[error("{plate} is already inside")]
    AlreadyInside { plate: String },
    #[error("{plate} is not inside")]
    NotInside { plate: String },
    #[error("the lot is full: {cars} cars on {spaces} spaces")]
    Full { cars: usize, spaces: usize },
    #[error("not written: {0}")]
    Write(#[from] WriteError),
}

/// The car park as one node sees it.
pub(crate) struct Lot {
    cluster: Cluster,
    cars: Table<String, Lww<Car>>,
    rules: Rules,
}

impl Lot {
    /// Opens the table of cars.
    pub(crate) fn open(cluster: Cluster, gates: u32, spaces: usize) -> Result<Self, TableError> {
        let cars = cluster.table("cars")?;
        Ok(Self { cluster, cars, rules: Rules { gates, spaces } })
    }

    /// The table of cars.
    pub(crate) fn cars(&self) -> &Table<String, Lww<Car>> {
        &self.cars
    }

    /// Lets a car in.
    pub(crate) fn enter(&self, gate: u32, plate: &str, now_us: u64) -> Result<(), Refusal> {
        let plate = plate.to_owned();
        self.rules.gate_is_open(gate, self.hosts_of(gate).len())?;
        self.rules.may_enter(&plate, self.cars.contains_key(&plate), self.cars.len())?;
        let car = Car { gate, entered_by: self.cluster.node().to_string(), entered_us: now_us };
        Ok(self.cars.insert(&plate, &car)?)
    }

    /// Lets a car out.
    pub(crate) fn exit(&self, gate: u32, plate: &str) -> Result<(), Refusal> {
        let plate = plate.to_owned();
        self.rules.gate_is_open(gate, self.hosts_of(gate).len())?;
        match self.cars.remove(&plate)? {
            Some(_) => Ok(()),
            None => Err(Refusal::NotInside { plate }),
        }
    }

    /// The nodes that run a gate: one, unless it is just moving.
    pub(crate) fn hosts_of(&self, gate: u32) -> Vec<String> {
        self.cluster.lookup(&role_of(gate)).into_iter().map(|host| host.node.to_string()).collect()
    }

    /// What there is to say when the lot holds more cars than it has spaces.
    pub(crate) fn overfull(&self) -> Option<(usize, usize)> {
        let cars = self.cars.len();
        (cars > self.rules.spaces).then_some((cars, self.rules.spaces))
    }
}

/// The name of the role that is this gate.
pub(crate) fn role_of(gate: u32) -> String {
    format!("gate-{gate}")
}

/// The part that needs no cluster.
struct Rules {
    gates: u32,
    spaces: usize,
}

impl Rules {
    fn gate_is_open(&self, gate: u32, hosts: usize) -> Result<(), Refusal> {
        if !(1..=self.gates).contains(&gate) {
            return Err(Refusal::NoSuchGate { gate, gates: self.gates });
        }
        if hosts == 0 { Err(Refusal::GateClosed { gate }) } else { Ok(()) }
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

    const RULES: Rules = Rules { gates: 4, spaces: 2 };

    #[test]
    fn a_gate_must_exist_and_run_somewhere() {
        assert!(RULES.gate_is_open(4, 1).is_ok());
        assert!(RULES.gate_is_open(9, 1).unwrap_err().to_string().starts_with("gate 9: there is no such gate"));
        assert!(matches!(RULES.gate_is_open(0, 1), Err(Refusal::NoSuchGate { .. })));
        assert!(matches!(RULES.gate_is_open(4, 0), Err(Refusal::GateClosed { gate: 4 })));
    }

    #[test]
    fn a_car_comes_in_once_and_only_while_there_is_space() {
        assert!(RULES.may_enter("ABC 123", false, 1).is_ok());
        assert_eq!(RULES.may_enter("ABC 123", true, 1).unwrap_err().to_string(), "ABC 123 is already inside");
        assert!(RULES.may_enter("ABC 123", false, 2).unwrap_err().to_string().starts_with("the lot is full"));
        // After a cut there may be more cars than spaces; that is no reason to let in another one.
        assert!(matches!(RULES.may_enter("ABC 123", false, 3), Err(Refusal::Full { cars: 3, spaces: 2 })));
    }
}
