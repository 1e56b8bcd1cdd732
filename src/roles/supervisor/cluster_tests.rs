//! Several supervisors together: never too many instances, and the right number in the end, while nodes join, crash, leave,
//! part and meet again, tasks fail, roles come, change and go, and clocks are wrong.

use proptest::prelude::*;

use super::sim::{Op, ROLES, World};
use crate::sabotage::{Rule, Sabotage};

fn op() -> impl Strategy<Value = Op> {
    let spec = (0..ROLES.len(), any::<bool>(), any::<bool>(), 1_u32..4, any::<bool>());
    prop_oneof![
        2 => Just(Op::Join),
        2 => any::<u64>().prop_map(Op::Crash),
        1 => any::<u64>().prop_map(Op::Leave),
        3 => any::<u64>().prop_map(Op::Fail),
        3 => spec.prop_map(|(role, kind, arguments, count, gently)| Op::Spec { role, kind, arguments, count, gently }),
        1 => (0..ROLES.len()).prop_map(Op::Unspec),
        1 => Just(Op::Rest),
    ]
}

fn play(seed: u64, ops: &[(Op, u64)], sabotage: Sabotage) -> Result<usize, String> {
    let mut world = World::new(seed, sabotage);
    for (op, steps) in ops {
        world.run(*steps)?;
        world.apply(op)?;
    }
    world.rest()?;
    Ok(world.starts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn never_too_many_and_in_the_end_exactly_enough(
        seed in any::<u64>(),
        ops in proptest::collection::vec((op(), 0_u64..80), 0..12),
    ) {
        let played = play(seed, &ops, Sabotage::default());
        prop_assert!(played.is_ok(), "{}", played.unwrap_err());
    }

    #[test]
    fn after_a_partition_the_spare_instances_go(
        seed in any::<u64>(),
        ops in proptest::collection::vec(
            (prop_oneof![op(), any::<u64>().prop_map(Op::Part), Just(Op::Heal)], 0_u64..80), 0..12),
    ) {
        let played = play(seed, &ops, Sabotage::default());
        prop_assert!(played.is_ok(), "{}", played.unwrap_err());
    }
}

#[test]
fn two_and_two_meet_again() {
    for seed in 0..100 {
        let split = [(Op::Join, 30), (Op::Rest, 0), (Op::Part(0b0101), 0), (Op::Heal, 100)];
        play(seed, &split, Sabotage::default()).unwrap();
    }
}

#[test]
fn a_role_that_makes_before_it_breaks_is_never_gone() {
    for seed in 0..200 {
        let mut world = World::new(seed, Sabotage::default());
        world.rest().unwrap();
        // A newcomer takes some over; then one after the other leaves.
        for op in [Op::Join, Op::Leave(seed), Op::Join, Op::Leave(seed + 1), Op::Join] {
            world.apply(&op).unwrap();
            for step in 0..400 {
                world.run(1).unwrap();
                for (role, count) in [("x", 1), ("y", 2)] {
                    assert!(world.running(role) >= count, "seed {seed}, {op:?}, {step} steps later: {role}");
                }
            }
        }
        world.rest().unwrap();
    }
}

/// The checker is worth something only if it catches a supervisor that does not wait for the old holder to stop.
#[test]
fn starting_before_the_other_stopped_is_caught() {
    let joins = [(Op::Rest, 0), (Op::Join, 0), (Op::Rest, 0), (Op::Join, 0), (Op::Rest, 0)];
    let caught = (0..20)
        .filter(|seed| {
            play(*seed, &joins, Rule::StartBeforeStopped.into()).is_err_and(|why| why.contains("instances of"))
        })
        .count();
    assert!(caught > 0);
    assert!((0..20).all(|seed| play(seed, &joins, Sabotage::default()).is_ok()));
}
