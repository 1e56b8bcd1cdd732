//! Something outside the cluster that checks fencing tokens, as a file server or a database would.

/// It remembers the highest token that it was shown, by a read or by a write, and refuses lower ones.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    pub(crate) highest: u128,
    /// One more with each write.
    pub(crate) value: u64,
    /// The writes that were accepted, in order: the token, and by which node.
    pub(crate) accepted: Vec<(u128, String)>,
    /// How many of them were computed from a state which was not the last.
    pub(crate) stale: u64,
    pub(crate) refused: u64,
}

/// The token is lower than one that the resource was shown.
#[derive(Debug)]
pub(crate) struct Refused;

impl Resource {
    fn show(&mut self, token: u128) -> Result<(), Refused> {
        if token < self.highest {
            self.refused += 1;
            return Err(Refused);
        }
        self.highest = token;
        Ok(())
    }

    pub(crate) fn read(&mut self, token: u128) -> Result<u64, Refused> {
        self.show(token).map(|()| self.value)
    }

    pub(crate) fn write(&mut self, token: u128, value: u64, node: &str) -> Result<(), Refused> {
        self.show(token)?;
        self.stale += u64::from(value != self.value + 1);
        self.value = value;
        self.accepted.push((token, node.to_owned()));
        Ok(())
    }

    /// The node whose write was accepted last.
    pub(crate) fn writer(&self) -> Option<&str> {
        self.accepted.last().map(|(_, node)| node.as_str())
    }

    /// No token was accepted after a higher one, no two nodes had one token, and no write lost another.
    pub(crate) fn is_sound(&self) -> Result<(), String> {
        for pair in self.accepted.windows(2) {
            if pair[0].0 > pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1) {
                return Err(format!("accepted one after the other: {pair:?}"));
            }
        }
        if self.stale > 0 || self.value != self.accepted.len() as u64 {
            return Err(format!("{} writes were computed from old state", self.stale));
        }
        Ok(())
    }
}
