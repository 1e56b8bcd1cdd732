//! Each rule does to packets what it says, composes with the others, and ends with its guard.

use rand::SeedableRng;

use super::*;

const A: NodeIndex = NodeIndex(0);
const B: NodeIndex = NodeIndex(1);
const C: NodeIndex = NodeIndex(2);

fn random() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

fn arriving(network: &Network, packets: usize) -> Vec<Copy> {
    let mut random = random();
    (0..packets).flat_map(|_| network.copies(&mut random, Instant::ZERO, (A, B), 100)).collect()
}

#[test]
fn a_rule_ends_with_its_guard_and_others_stay() {
    let network = Network::default();
    let one = network.cut(&[A], &[B]);
    let other = network.cut_one_way(&[A], &[B, C]);
    assert_eq!((network.way(A, B), network.way(B, A), network.way(A, C)), (Way::Silent, Way::Silent, Way::Silent));
    one.heal();
    assert_eq!((network.way(A, B), network.way(B, A), network.way(C, A)), (Way::Silent, Way::Open, Way::Open));
    other.keep();
    assert_eq!(network.way(A, B), Way::Silent);
    network.heal();
    assert_eq!(network.way(A, B), Way::Open);
    assert!(!network.is_hurt());
}

#[test]
fn a_bridge_is_a_cut_that_leaves_one_out() {
    let network = Network::default();
    let _cut = network.cut(&[A], &[C]);
    assert_eq!((network.way(A, C), network.way(A, B), network.way(B, C)), (Way::Silent, Way::Open, Way::Open));
}

#[test]
fn losses_and_copies_come_in_their_share() {
    let network = Network::default();
    let loss = network.add(Rule::loss(0.3));
    let lost = 10_000 - arriving(&network, 10_000).len();
    assert!((2_800..3_200).contains(&lost), "{lost}");
    loss.heal();
    let _copies = network.add(Rule::duplication(0.3));
    let copies = arriving(&network, 10_000).len() - 10_000;
    assert!((2_800..3_200).contains(&copies), "{copies}");
}

#[test]
fn delays_add_up_and_flips_are_counted() {
    let network = Network::default();
    let _one = network.add(Rule::delay(Delay::Fixed(Duration::from_millis(3))));
    let _other = network.add(Rule::delay(Delay::Exponential { mean: Duration::from_millis(20) }));
    let _late = network.add(Rule::reordering(0.5, Duration::from_millis(50)));
    let _flips = network.add(Rule::flips(0.5));
    let copies = arriving(&network, 10_000);
    let mean = copies.iter().map(|copy| copy.after).sum::<Duration>() / 10_000;
    // 0.3 of the base, 3, 20, and half of the time 25 on average.
    assert!((Duration::from_millis(34)..Duration::from_millis(37)).contains(&mean), "{mean:?}");
    let damaged = copies.iter().filter(|copy| copy.flips > 0).count();
    assert!((4_800..5_200).contains(&damaged), "{damaged}");
}

#[test]
fn a_slow_link_makes_bytes_wait_and_drops_what_its_queue_cannot_hold() {
    let network = Network::default();
    let _slow = network.add(Rule::slow(100_000, 1_000).from(&[A]));
    let copies = arriving(&network, 100);
    // 100 bytes take 1 ms; besides the one under way ten of them fit.
    assert_eq!(copies.len(), 11);
    assert!(copies[10].after >= Duration::from_millis(11), "{copies:?}");
    let mut random = random();
    let frame = network.frame(&mut random, Instant::ZERO, (A, C), 100_000);
    assert!(frame.after >= Duration::from_secs(1), "a stream waits, on a link of its own");
    let back = network.copies(&mut random, Instant::ZERO, (B, A), 100_000);
    assert!(back[0].after < Duration::from_millis(1), "the other way is fast");
}

#[test]
fn beacons_stay_in_their_domain_and_everything_else_does_not() {
    let network = Network::default();
    let _domain = network.add(Rule::no_broadcast().between(&[A], &[B]));
    assert!(!network.hears_beacons(B, A) && network.hears_beacons(A, C));
    assert_eq!(network.way(A, B), Way::Open);
}
