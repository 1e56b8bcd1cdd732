//! Who is to be given work: the members in the order of their load, and a choice that does not send everybody to the same.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::publish;
use super::score::{Part, score};
use crate::id::{NodeId, ReplicaId};

/// How busy a member is, as far as it told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeLoad {
    /// The node.
    pub node: NodeId,
    /// This run of it.
    pub replica: ReplicaId,
    /// Where it listens.
    pub address: SocketAddr,
    /// What its parts add up to; the less, the better. 0 for a node that told nothing yet and hosts nothing.
    pub score: f64,
    /// What the score is made of, by name: what the application signals, `cpu` and `memory`, and last `roles`, if it hosts
    /// any.
    pub parts: Arc<[Part]>,
}

impl NodeLoad {
    /// The load of a member with this row, if it published one, and so many roles. One whose row says what this version
    /// does not understand comes last: it may be as busy as can be.
    pub fn new(node: NodeId, replica: ReplicaId, address: SocketAddr, row: Option<&[u8]>, roles: u32) -> Self {
        let told = row.map_or(Some(Vec::new()), publish::decode);
        let unclear = told.is_none();
        let mut parts = told.unwrap_or_default();
        if roles > 0 {
            parts.push(Part::roles(roles));
        }
        let score = if unclear { f64::MAX } else { score(&parts) };
        Self { node, replica, address, score, parts: parts.into() }
    }

    /// The part of that name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| &*part.name == name)
    }
}

impl fmt::Display for NodeLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.node, shown(self.score))?;
        if !self.parts.is_empty() {
            write!(f, " ({})", parts(self))?;
        }
        Ok(())
    }
}

/// The members in the order of their load, the least busy first; equally busy ones by name. Every node that knows the same
/// has the same list.
///
/// Print it with `{}` for a table that a person can read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AllocationList(Arc<[NodeLoad]>);

impl AllocationList {
    /// Puts members in order.
    pub fn new(members: impl IntoIterator<Item = NodeLoad>) -> Self {
        let mut members: Vec<NodeLoad> = members.into_iter().collect();
        members.sort_by(|one, other| {
            one.score.total_cmp(&other.score).then_with(|| (&one.node, one.replica).cmp(&(&other.node, other.replica)))
        });
        Self(members.into())
    }

    /// One of them by chance, drawn by a number that may be any: two different ones are drawn and the less busy of them
    /// taken.
    ///
    /// What is known of loads is up to a second old. Whoever takes the least busy until he hears more sends everybody there,
    /// and it is the busiest by then. Of two drawn (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing",
    /// 2001) the first of n gets 2/n of the work, those after it evenly less and the last one nothing, however old the news
    /// is (Mitzenmacher, "How Useful Is Old Information?", 2000). To draw by weight would need scores on a scale, and
    /// what a score of 3 means next to one of 0 is known to the application only; two choices ask who is busier, and no more.
    pub fn spread(&self, draw: u64) -> Option<&NodeLoad> {
        let count = self.len() as u64;
        if count < 2 {
            return self.first();
        }
        // Each half of the number is a fraction of 2^32. The second is drawn from all but one; where it is not before the
        // first, it stands for the one behind it, which is as busy or busier, and the first is taken either way.
        let (first, second) = (((draw >> 32) * count) >> 32, ((draw & 0xffff_ffff) * (count - 1)) >> 32);
        let [first, second] =
            [first, second].map(|index| usize::try_from(index).ok().and_then(|index| self.get(index)));
        let (first, second) = (first?, second?);
        Some(if second.score < first.score { second } else { first })
    }
}

impl Deref for AllocationList {
    type Target = [NodeLoad];

    fn deref(&self) -> &[NodeLoad] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a AllocationList {
    type Item = &'a NodeLoad;
    type IntoIter = std::slice::Iter<'a, NodeLoad>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for AllocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.iter().map(|load| load.node.as_str().chars().count()).max().unwrap_or_default().max("node".len());
        writeln!(f, "{:<width$}  replica           {:>9}  parts", "node", "score")?;
        for load in self {
            let line =
                format!("{:<width$}  {}  {:>9}  {}", load.node.as_str(), load.replica, shown(load.score), parts(load));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A score that fits a column, however large.
fn shown(score: f64) -> String {
    match score {
        f64::MAX => "unclear".to_owned(),
        _ if score < 1e6 => format!("{score:.2}"),
        _ => format!("{score:.2e}"),
    }
}

fn parts(load: &NodeLoad) -> String {
    load.parts.iter().map(Part::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::score::tests::{part, parts};
    use super::*;
    use crate::signals::{SignalKind, encode};

    fn load(node: &str, replica: u64, row: Option<&[Part]>, roles: u32) -> NodeLoad {
        let row = row.map(encode);
        let address = ([127, 0, 0, 1], 4_871).into();
        NodeLoad::new(NodeId::new(node).unwrap(), ReplicaId(replica), address, row.as_deref(), roles)
    }

    fn queue(value: f64) -> [Part; 1] {
        [part("queue", SignalKind::Amount, 0.5, value)]
    }

    fn names(list: &AllocationList) -> Vec<&str> {
        list.iter().map(|load| load.node.as_str()).collect()
    }

    #[test]
    fn the_least_busy_is_first_and_the_unclear_last() {
        let address = ([127, 0, 0, 1], 4_871).into();
        let unclear = NodeLoad::new(NodeId::new("abel").unwrap(), ReplicaId(1), address, Some(b"\xff"), 1);
        let busy = load("busy", 2, Some(&queue(f64::MAX)), 0);
        let hosts = load("hosts", 3, None, 2);
        let list =
            AllocationList::new([unclear, busy, hosts, load("new", 4, None, 0), load("idle", 5, Some(&queue(0.0)), 0)]);
        assert_eq!(names(&list), ["idle", "new", "hosts", "busy", "abel"]);
        assert_eq!((list[0].score, list[1].score), (0.0, 0.0));
        assert!((list[2].score - 0.2).abs() < 1e-9);
        assert_eq!(list[2].part("roles").map(|part| part.value), Some(2.0));
    }

    #[test]
    fn a_person_can_read_it() {
        let parts = [
            part("battery", SignalKind::PreProcessed, 1.0, 2.0),
            part("queue", SignalKind::Amount, 0.5, 3.0),
            part("ram", SignalKind::Percent, 1.0, 61.0),
            part("requests", SignalKind::Count, 0.5, 16.0),
        ];
        let address = ([127, 0, 0, 1], 4_871).into();
        let unclear = NodeLoad::new(NodeId::new("moe").unwrap(), ReplicaId(3), address, Some(b"\xff"), 0);
        let list = AllocationList::new([load("larry", 1, Some(&parts), 2), load("new", 2, None, 0), unclear]);
        let expected = "\
node   replica               score  parts
new    0000000000000002       0.00
larry  0000000000000001      32.82  battery 2.00, queue 3.00 × 0.5 = 1.50, ram 61.0 % = 21.12, requests 16 × 0.5 = 8.00, \
                        roles 2 × 0.1 = 0.20
moe    0000000000000003    unclear
";
        assert_eq!(list.to_string(), expected);
        assert_eq!(list[0].to_string(), "new 0.00");
        assert!(list[1].to_string().starts_with("larry 32.82 (battery 2.00, "), "{}", list[1]);
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<AllocationList>(&text).unwrap(), list);
    }

    #[test]
    fn of_two_equally_busy_nodes_chance_takes_either() {
        let list = AllocationList::new([load("a", 1, None, 0), load("b", 2, None, 0)]);
        let taken: Vec<&str> = [0, u64::MAX].map(|draw| list.spread(draw).unwrap().node.as_str()).into();
        assert_eq!(taken, ["a", "b"]);
    }

    #[test]
    fn work_is_spread_over_all_but_the_busiest() {
        let members =
            (0..8_u32).map(|busy| load(&format!("node-{busy}"), u64::from(busy), Some(&queue(busy.into())), 0));
        let list = AllocationList::new(members);
        // Every pair of fractions is drawn alike.
        let fraction = |part: u64, whole: u64| (part << 32).div_ceil(whole);
        let pairs = (0..8).flat_map(|first| (0..7).map(move |second| (first, second)));
        let draws = pairs.map(|(first, second)| (fraction(first, 8) << 32) + fraction(second, 7));
        let mut taken = [0; 8];
        for draw in draws {
            let index = list.iter().position(|load| Some(load) == list.spread(draw)).unwrap();
            taken[index] += 1;
        }
        assert_eq!(taken, [14, 12, 10, 8, 6, 4, 2, 0]);
    }

    #[test]
    fn the_only_one_gets_all_and_nobody_nothing() {
        let alone = AllocationList::new([load("a", 1, None, 0)]);
        assert!([0, u64::MAX].iter().all(|draw| alone.spread(*draw) == alone.first()));
        assert_eq!(AllocationList::new([]).spread(7), None);
    }

    proptest! {
        #[test]
        fn the_order_follows_from_what_is_known(
            rows in prop::collection::vec((prop::option::of(parts(3)), 0..4_u32), 0..12),
            draw in any::<u64>(),
        ) {
            let loads = |order: &mut dyn Iterator<Item = usize>| -> Vec<NodeLoad> {
                // Names come twice, as when a node restarts.
                order.map(|n| load(&format!("node-{}", n / 2), n as u64, rows[n].0.as_deref(), rows[n].1)).collect()
            };
            let forth = AllocationList::new(loads(&mut (0..rows.len())));
            let back = AllocationList::new(loads(&mut (0..rows.len()).rev()));
            prop_assert_eq!(&forth, &back);
            prop_assert_eq!(forth.len(), rows.len());
            prop_assert!(forth.is_sorted_by(|one, other| one.score <= other.score));
            if let (Some(taken), Some(last)) = (forth.spread(draw), forth.last()) {
                prop_assert!(forth.len() == 1 || taken != last || forth[forth.len() - 2].score == last.score);
            }
        }
    }
}
