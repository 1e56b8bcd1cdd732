//! What may be typed at a node.

/// Printed by `help`.
pub(crate) const HELP: &str = "\
enter GATE PLATE   a car comes in:   enter 1 \"ABC 123\"
exit GATE PLATE    a car goes out:   exit 2 \"ABC 123\"
lot                the cars inside, as this node sees them
gates              which node runs which gate, and who admits cars
roll               calls every gate from here, and says which answered
cars-at NODE       how many cars that node knows of, as it says itself
explain ROLE       why a role is where it is:   explain gate-1
what-if without NODE   which roles would go where if that node died
rush CARS [MS]     so many cars come, by all gates: one each MS milliseconds, or all at once
members            who is in the cluster
converged          waits until all nodes see the same, or says what stands in the way
snapshot           all of it at once, for a closer look
help               this
leave              leave the cluster in order, and end";

/// One line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Enter { gate: u32, plate: String },
    Exit { gate: u32, plate: String },
    Lot,
    Gates,
    Roll,
    CarsAt { node: String },
    Rush { cars: u32, every_ms: u32 },
    Explain { role: String },
    WhatIf { without: String },
    Members,
    Converged,
    Snapshot,
    Leave,
    Help,
}

impl Command {
    /// Reads a line; a blank one is nothing.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let command = match word {
            "" => return Ok(None),
            "enter" => {
                let (gate, plate) = gate_and_plate(word, rest)?;
                Self::Enter { gate, plate }
            }
            "exit" => {
                let (gate, plate) = gate_and_plate(word, rest)?;
                Self::Exit { gate, plate }
            }
            "lot" => alone(line, Self::Lot)?,
            "gates" => alone(line, Self::Gates)?,
            "roll" => alone(line, Self::Roll)?,
            "cars-at" => match rest.split_whitespace().collect::<Vec<_>>()[..] {
                [node] => Self::CarsAt { node: node.to_owned() },
                _ => return Err("cars-at: say which node, as in `cars-at larry`".to_owned()),
            },
            "rush" => rush(rest)?,
            "explain" => match rest.split_whitespace().collect::<Vec<_>>()[..] {
                [role] => Self::Explain { role: role.to_owned() },
                _ => return Err("explain: say which role, as in `explain gate-1`".to_owned()),
            },
            "what-if" => match rest.split_whitespace().collect::<Vec<_>>()[..] {
                ["without", node] => Self::WhatIf { without: node.to_owned() },
                _ => return Err("what-if: say without whom, as in `what-if without larry`".to_owned()),
            },
            "members" => alone(line, Self::Members)?,
            "converged" => alone(line, Self::Converged)?,
            "snapshot" => alone(line, Self::Snapshot)?,
            "leave" => alone(line, Self::Leave)?,
            "help" => alone(line, Self::Help)?,
            other => return Err(format!("{other}: there is no such command; try `help`")),
        };
        Ok(Some(command))
    }
}

/// A command after which nothing may follow: `leave` with more behind it may be a slip.
fn alone(line: &str, command: Command) -> Result<Command, String> {
    match line.split_once(char::is_whitespace) {
        None => Ok(command),
        Some((word, rest)) => Err(format!("{word}: nothing may follow it, so what is `{}` for?", rest.trim())),
    }
}

/// How many cars, and how fast.
fn rush(rest: &str) -> Result<Command, String> {
    let wrong = || "rush: say how many cars, as in `rush 100`, or `rush 100 10` for one each 10 ms".to_owned();
    let numbers = rest.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>().map_err(|_| wrong())?;
    match numbers[..] {
        [cars] => Ok(Command::Rush { cars, every_ms: 0 }),
        [cars, every_ms] => Ok(Command::Rush { cars, every_ms }),
        _ => Err(wrong()),
    }
}

/// A gate, and a plate with or without quotes; blanks inside a plate count as one.
fn gate_and_plate(word: &str, rest: &str) -> Result<(u32, String), String> {
    let rest = rest.trim();
    let (gate, plate) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let gate = gate.parse().map_err(|_| format!("{word}: say which gate, as in `{word} 1 \"ABC 123\"`"))?;
    let plate = plate.trim();
    let bare = plate.strip_prefix('"').and_then(|plate| plate.strip_suffix('"')).unwrap_or(plate);
    if bare.contains('"') {
        return Err(format!("{word}: the quotes do not match; type `{word} {gate} \"ABC 123\"`, or no quotes at all"));
    }
    let plate = bare.split_whitespace().collect::<Vec<_>>().join(" ");
    if plate.is_empty() {
        return Err(format!("{word}: say which car, as in `{word} 1 \"ABC 123\"`"));
    }
    Ok((gate, plate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plate_is_the_same_with_and_without_quotes() {
        let enter = Some(Command::Enter { gate: 1, plate: "ABC 123".to_owned() });
        for line in ["enter 1 \"ABC 123\"", "enter 1 ABC 123", "  enter  1   \"ABC  123\" "] {
            assert_eq!(Command::parse(line).unwrap(), enter, "{line}");
        }
        assert_eq!(Command::parse("exit 2 X").unwrap(), Some(Command::Exit { gate: 2, plate: "X".to_owned() }));
    }

    #[test]
    fn blank_lines_are_nothing_and_mistakes_say_what_to_type() {
        assert_eq!(Command::parse("  ").unwrap(), None);
        assert_eq!(Command::parse("lot").unwrap(), Some(Command::Lot));
        assert_eq!(Command::parse("rush 9").unwrap(), Some(Command::Rush { cars: 9, every_ms: 0 }));
        assert_eq!(Command::parse("rush 9 10").unwrap(), Some(Command::Rush { cars: 9, every_ms: 10 }));
        for line in ["rush", "rush many", "rush 1 2 3"] {
            assert!(Command::parse(line).unwrap_err().contains("how many cars"), "{line}");
        }
        let without = Some(Command::WhatIf { without: "gary".to_owned() });
        assert_eq!(Command::parse("what-if without gary").unwrap(), without);
        assert!(Command::parse("what-if gary").unwrap_err().contains("without whom"));
        let role = Some(Command::Explain { role: "gate-1".to_owned() });
        assert_eq!(Command::parse("explain gate-1").unwrap(), role);
        assert!(Command::parse("explain").unwrap_err().contains("which role"));
        let gary = Some(Command::CarsAt { node: "gary".to_owned() });
        assert_eq!(Command::parse("cars-at gary").unwrap(), gary);
        assert!(Command::parse("cars-at").unwrap_err().contains("which node"));
        assert!(Command::parse("enter ABC").unwrap_err().contains("which gate"));
        assert!(Command::parse("exit 1 \"\"").unwrap_err().contains("which car"));
        assert!(Command::parse("fly").unwrap_err().contains("help"));
        for line in ["enter 1 \"ABC 123", "enter 1 ABC 123\"", "enter 1 \"", "enter 1 A\"B"] {
            assert!(Command::parse(line).unwrap_err().contains("quotes do not match"), "{line}");
        }
        assert_eq!(Command::parse("leave larry").unwrap_err(), "leave: nothing may follow it, so what is `larry` for?");
    }
}
