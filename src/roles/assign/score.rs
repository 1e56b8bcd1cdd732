//! How well a node suits a role: part of the protocol, for all members must compute the same, on any machine.
//!
//! Weighted rendezvous hashing: with h the hash of both names as a fraction and w the weight of the node, the least -ln(h) / w
//! wins, and then each node wins in proportion to its weight. No floating point: the logarithm is one of base 2 in fixed
//! point, and 1 / w comes out of a table.

use std::cmp::Reverse;

use xxhash_rust::xxh3::xxh3_64;

use crate::id::NodeId;

/// Binary digits behind the point of a logarithm, and of an entry of [`STRETCH`].
const LOG_DIGITS: u32 = 24;
const STRETCH_DIGITS: u32 = 16;

/// Loads beyond this one count as this one: such a node gets a role where nobody else can have it.
pub(in crate::roles) const MOST_LOAD: u8 = 48;

/// 1 / weight by load: each bucket is a quarter above the one below.
const STRETCH: [u64; MOST_LOAD as usize + 1] = {
    let mut table = [1 << STRETCH_DIGITS; MOST_LOAD as usize + 1];
    let mut load = 1;
    while load < table.len() {
        table[load] = table[load - 1] * 5 / 4;
        load += 1;
    }
    table
};

/// How badly a node suits a role: the least is the best. Where all loads are equal, this is the order of the hashes, the
/// highest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Fit {
    pub(super) cost: u64,
    pub(super) hash: Reverse<u64>,
}

impl Fit {
    pub(super) fn new(hash: u64, load: u8) -> Self {
        // Below 2^30 · 2^32.
        let cost = (minus_log2(hash) * STRETCH[usize::from(load.min(MOST_LOAD))]) >> STRETCH_DIGITS;
        Self { cost, hash: Reverse(hash) }
    }
}

/// What plain rendezvous hashing goes by.
pub(super) fn hash(role: &str, node: &NodeId) -> u64 {
    xxh3_64(&[role.as_bytes(), &[0], node.as_str().as_bytes()].concat())
}

/// -log2(hash / 2^64), in fixed point. It never rises where the hash does, for each step of the long multiplication keeps
/// the order.
fn minus_log2(hash: u64) -> u64 {
    let hash = hash.max(1);
    let zeros = hash.leading_zeros();
    let mut log = u64::from(63 - zeros);
    // 1 to 2, with 63 digits behind the point.
    let mut mantissa = u128::from(hash << zeros);
    for _ in 0..LOG_DIGITS {
        mantissa = (mantissa * mantissa) >> 63;
        log <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log |= 1;
        }
    }
    (64 << LOG_DIGITS) - log
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    /// Members of different versions must place alike.
    #[test]
    fn scores_are_part_of_the_protocol() {
        assert_eq!(hash("gate-1", &node("larry")), 1_974_209_050_096_512_713);
        assert_ne!(hash("gate-1", &node("larry")), hash("gate-2", &node("larry")));
        let costs = [0, 1, 4, 10, 48, 255].map(|load| Fit::new(1_974_209_050_096_512_713, load).cost);
        assert_eq!(costs, [54_090_072, 67_612_590, 132_055_839, 503_752_586, 2_425_475_018_922, 2_425_475_018_922]);
        assert_eq!([1, 1 << 32, 1 << 63, u64::MAX].map(minus_log2), [64 << 24, 32 << 24, 1 << 24, 1]);
        assert_eq!(Fit::new(0, 255), Fit { cost: ((64 << 24) * STRETCH[48]) >> 16, hash: Reverse(0) });
    }

    /// A node of a load of 3, which is 1.25³ ≈ 1.95 times as busy, wins about half as often.
    #[test]
    fn nodes_win_in_proportion_to_their_weights() {
        let wins = |load: u8| {
            let first =
                |role: &String| Fit::new(hash(role, &node("larry")), load) < Fit::new(hash(role, &node("gary")), 0);
            (0..6_000).map(|n| format!("role-{n}")).filter(first).count()
        };
        for (load, share) in [(0_u8, 0.5), (3, 1.0 / 2.953), (10, 1.0 / 10.31)] {
            let wins = f64::from(u32::try_from(wins(load)).unwrap()) / 6_000.0;
            assert!((wins - share).abs() < 0.02, "load {load}: {wins} of all, expected {share}");
        }
    }

    proptest! {
        #[test]
        fn equal_loads_give_the_order_of_the_hashes(one in any::<u64>(), step in 0..1_000_u64, load in any::<u8>()) {
            for other in [one.saturating_add(step), one.rotate_left(17)] {
                let (low, high) = (one.min(other), one.max(other));
                prop_assert!(minus_log2(high) <= minus_log2(low));
                prop_assert_eq!(Fit::new(high, load) < Fit::new(low, load), high > low);
            }
        }

        #[test]
        fn the_logarithm_is_one(hash in 1..u64::MAX) {
            #[expect(clippy::cast_precision_loss, reason = "a test of fewer digits")]
            let (exact, found) = (64.0 - (hash as f64).log2(), minus_log2(hash) as f64 / f64::from(1 << LOG_DIGITS));
            prop_assert!((exact - found).abs() < 1e-6, "{exact} {found}");
        }
    }
}
