//! Whether running roles are moved to make nodes host alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether the cluster moves running roles to make its nodes host alike: [`Config::balance`](crate::Config::balance).
///
/// It never decides where a *new* instance goes: that is always the least busy node that can take it. Nor does it keep roles
/// where they must not be: a role moves whenever its node leaves, cannot run it any more, or hosts a role that it must be kept
/// apart from.
///
/// One value counts for all nodes: that of the member in view which moves the least, [`Off`](Self::Off) before
/// [`Sticky`](Self::Sticky) before [`Even`](Self::Even). So the first node that is restarted with `Off` stops the moves, and
/// they begin once the last one is restarted with `Even`. A node whose own value is not the one that counts says so
/// ([`Event::BalanceDiffers`](crate::Event::BalanceDiffers)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// A running role never moves for the sake of balance: neither between nodes, nor between zones, nor to make way for a
    /// role that could run nowhere else. The first node keeps what it started when others join.
    Off,
    /// A node gives roles up only when it hosts more than a quarter above the mean: more than ⌈1.25 · mean⌉, where the taker
    /// then has a quarter less; above ⌈1.25 · mean⌉ + 1, whenever that makes both more even. At once, whoever comes or goes.
    Sticky,
    /// A role moves from a node to one that hosts at least two fewer and is not busier, until no such move is left: of nodes
    /// with equal loads that can run the same roles, none hosts two more than another.
    ///
    /// Only while the cluster is calm: for [`Balance::CALM`] no node in view has come, gone, left or changed what it can run.
    /// At most a tenth of all instances move at a time ([`Balance::at_once`]), each at most once a minute.
    #[default]
    Even,
}

impl Balance {
    /// How long no member may have come or gone before [`Balance::Even`] moves roles.
    pub const CALM: std::time::Duration = std::time::Duration::from_secs(10);

    /// How many of so many instances [`Balance::Even`] moves at a time: a tenth, but at least one.
    ///
    /// ```
    /// assert_eq!([4, 30, 500].map(unisono::Balance::at_once), [1, 3, 50]);
    /// ```
    pub fn at_once(instances: usize) -> usize {
        (instances / 10).max(1)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Sticky => "sticky",
            Self::Even => "even",
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Balance {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = [Self::Off, Self::Sticky, Self::Even].into_iter().find(|balance| balance.name() == text);
        found.ok_or("no such balance; there are `even`, `sticky` and `off`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_read_as_it_is_written_and_off_moves_least() {
        let all = [Balance::Off, Balance::Sticky, Balance::Even];
        assert!(all.is_sorted());
        for balance in all {
            assert_eq!(balance.to_string().parse(), Ok(balance));
            assert_eq!(serde_json::to_string(&balance).unwrap(), format!("\"{balance}\""));
        }
        assert!("on".parse::<Balance>().is_err());
        assert_eq!(Balance::default(), Balance::Even);
    }
}
