//! How well a node suits a role: part of the protocol, for all members must compute the same, on any machine.
//!
//! The least busy node wins; of equally busy ones, the one with the highest hash of both names (rendezvous hashing). How busy
//! a node is, is counted in roles: those that it hosts, plus what its published load amounts to. No floating point: a bucket
//! stands for a number out of a table.

use xxhash_rust::xxh3::xxh3_64;

use crate::id::NodeId;

/// Loads beyond this bucket count as this one.
const MOST_LOAD: u8 = 48;

/// What a load amounts to, in roles: 1.25^load - 1, rounded down. One role is 0.1 in the score of a node, and bucket b begins at
/// 0.1 · (1.25^b - 1); so a load of 10 weighs as much as 8 hosted roles.
const IN_ROLES: [u64; MOST_LOAD as usize + 1] = {
    const DIGITS: u32 = 32;
    let mut table = [0; MOST_LOAD as usize + 1];
    let (mut power, mut load) = (1_u64 << DIGITS, 0);
    while load < table.len() {
        table[load] = (power >> DIGITS) - 1;
        power += power / 4;
        load += 1;
    }
    table
};

/// What a load weighs among nodes of which the least busy has the load `base`. Within one bucket of it they count as equally
/// busy, so that loads which tremble about the edge of a bucket do not tell nodes apart.
pub(super) fn in_roles(load: u8, base: u8) -> u64 {
    let counted = if load <= base.saturating_add(1) { base } else { load };
    IN_ROLES[usize::from(counted.min(MOST_LOAD))]
}

/// What rendezvous hashing goes by: the highest is the best.
pub(super) fn hash(role: &str, node: &NodeId) -> u64 {
    xxh3_64(&[role.as_bytes(), &[0], node.as_str().as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members of different versions must place alike.
    #[test]
    fn scores_are_part_of_the_protocol() {
        let node = |name: &str| NodeId::new(name).unwrap();
        assert_eq!(hash("gate-1", &node("larry")), 1_974_209_050_096_512_713);
        assert_ne!(hash("gate-1", &node("larry")), hash("gate-2", &node("larry")));
        let weights = [0, 1, 2, 3, 4, 5, 6, 10, 20, 48, 255].map(|load| in_roles(load, 0));
        assert_eq!(weights, [0, 0, 0, 0, 1, 2, 2, 8, 85, 44_840, 44_840]);
    }

    #[test]
    fn loads_within_one_bucket_of_the_least_are_equal() {
        let weights = [7, 8, 9].map(|load| in_roles(load, 7));
        assert_eq!(weights, [3, 3, 6]);
        assert_eq!(in_roles(255, 255), in_roles(254, 255));
    }
}
