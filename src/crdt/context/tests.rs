//! The causal context against a set of dots, and against the version vectors of the `crdts` crate.

use std::collections::BTreeSet;

use crdts::CvRDT;
use proptest::prelude::*;

use super::*;

fn dot(replica: u64, seq: u64) -> Dot {
    Dot { replica: ReplicaId(replica), seq }
}

/// The oracle: a set of dots.
type Naive = BTreeSet<Dot>;

fn dots() -> impl Strategy<Value = Naive> {
    let ranges = prop::collection::vec((0_u64..4, 1_u64..40, 0_u64..8), 0..12);
    ranges.prop_map(|ranges| {
        ranges
            .into_iter()
            .flat_map(|(replica, first, more)| (first..=first + more).map(move |seq| dot(replica, seq)))
            .collect()
    })
}

fn context(dots: &Naive) -> Context {
    dots.iter().copied().collect()
}

fn expand(context: &Context) -> Naive {
    let all = (0..4).flat_map(|replica| (0..60).map(move |seq| dot(replica, seq)));
    all.filter(|dot| context.contains(*dot)).collect()
}

fn joined(mut a: Context, b: &Context) -> Context {
    a.join(b);
    a
}

proptest! {
    #[test]
    fn a_context_is_a_set_of_dots(a in dots(), b in dots(), shuffled in Just(()).prop_perturb(|(), rng| rng)) {
        use proptest::prelude::Rng;
        let mut rng = shuffled;
        let mut order: Vec<_> = a.iter().copied().collect();
        for last in (1..order.len()).rev() {
            order.swap(last, rng.next_u32() as usize % (last + 1));
        }
        let ours: Context = order.into_iter().collect();
        prop_assert_eq!(&expand(&ours), &a);
        prop_assert_eq!(&ours, &context(&a), "one set, one value, whatever the order");
        let union: Naive = a.union(&b).copied().collect();
        let both = joined(ours.clone(), &context(&b));
        prop_assert_eq!(&both, &context(&union));
        prop_assert_eq!(ours.includes(&context(&b)), b.is_subset(&a));
        for replica in 0..4 {
            let seqs: BTreeSet<_> = union.iter().filter(|dot| dot.replica.0 == replica).map(|dot| dot.seq).collect();
            let base = (1..).find(|seq| !seqs.contains(seq)).unwrap() - 1;
            prop_assert_eq!(both.base(ReplicaId(replica)), base);
            prop_assert_eq!(both.gaps().any(|gap| gap.0 == replica), seqs.iter().any(|seq| *seq > base));
        }
        let everywhere = both.replicas().fold(0_u64, |sum, replica| sum.wrapping_add(context(&union).hash_of(replica)));
        prop_assert_eq!(both.hash_where(|_| true), everywhere);
    }

    #[test]
    fn known_to_another_is_what_it_has_but_for_the_author_left_aside(a in dots(), b in dots(), aside in 0_u64..4) {
        let known = |ours: &Naive, theirs: &Naive, aside: &[ReplicaId]| context(ours).is_known_to(&context(theirs), aside);
        let rest = |dots: &Naive| dots.iter().filter(|dot| dot.replica.0 != aside).copied().collect::<Naive>();
        let union: Naive = a.union(&b).copied().collect();
        let mut less = union.clone();
        less.pop_last();
        for (ours, theirs) in [(&a, &b), (&a, &union), (&union, &less), (&less, &union)] {
            prop_assert_eq!(known(ours, theirs, &[]), ours.is_subset(theirs));
            prop_assert_eq!(known(ours, theirs, &[ReplicaId(aside)]), rest(ours).is_subset(&rest(theirs)));
        }
    }

    #[test]
    fn ranges_add_what_their_dots_add(a in dots(), replica in 0_u64..4, first in 0_u64..50, more in 0_u64..9) {
        let mut by_range = context(&a);
        let mut by_dots = context(&a);
        let news = by_range.add_range(ReplicaId(replica), first, first + more);
        let each = (first..=first + more).map(|seq| by_dots.add(dot(replica, seq)));
        prop_assert_eq!(news, each.fold(false, |any, news| any | news));
        prop_assert_eq!(by_range, by_dots);
    }

    #[test]
    fn joining_is_commutative_associative_and_idempotent(a in dots(), b in dots(), c in dots()) {
        let (a, b, c) = (context(&a), context(&b), context(&c));
        prop_assert_eq!(joined(a.clone(), &b), joined(b.clone(), &a));
        prop_assert_eq!(joined(joined(a.clone(), &b), &c), joined(a.clone(), &joined(b, &c)));
        prop_assert_eq!(joined(a.clone(), &a), a);
    }

    #[test]
    fn contiguous_contexts_are_vector_clocks(a in prop::collection::vec(0_u64..30, 4), b in prop::collection::vec(0_u64..30, 4)) {
        let clock = |seqs: &[u64]| -> crdts::VClock<usize> {
            seqs.iter().enumerate().filter(|(_, seq)| **seq > 0).map(|(actor, seq)| crdts::Dot::new(actor, *seq)).collect()
        };
        let context = |seqs: &[u64]| {
            let mut context = Context::new();
            for (replica, seq) in seqs.iter().enumerate() {
                context.add_range(ReplicaId(replica as u64), 1, *seq);
            }
            context
        };
        let (mut ours, mut oracle) = (context(&a), clock(&a));
        prop_assert!(ours.validate_merge(&context(&b)).is_ok());
        CvRDT::merge(&mut ours, context(&b));
        oracle.merge(clock(&b));
        prop_assert!((0..4).all(|actor| ours.base(ReplicaId(actor as u64)) == oracle.get(&actor)));
        prop_assert_eq!(ours.includes(&context(&a)), oracle >= clock(&a));
    }

    #[test]
    fn bytes_carry_a_context_whole(a in dots()) {
        let context = context(&a);
        let bytes = postcard::to_stdvec(&context).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Context>(&bytes).unwrap(), context);
    }

    #[test]
    fn no_bytes_decode_to_anything_but_the_normal_form(bytes in prop::collection::vec(0_u8..6, 0..30)) {
        if let Ok((context, rest)) = postcard::take_from_bytes::<Context>(&bytes) {
            let again = postcard::to_stdvec(&context).unwrap();
            prop_assert_eq!(&bytes[..bytes.len() - rest.len()], &again[..]);
        }
    }
}

#[test]
fn the_end_of_the_numbers_is_no_edge_to_fall_from() {
    let mut context = Context::new();
    assert!(!context.add(dot(1, 0)), "there is no write 0");
    assert!(context.add(dot(1, u64::MAX)) && !context.add(dot(1, u64::MAX)));
    assert!(context.add_range(ReplicaId(1), 1, u64::MAX - 1));
    assert_eq!((context.base(ReplicaId(1)), context.intervals()), (u64::MAX, 1));
    assert!(!context.add_range(ReplicaId(1), 5, u64::MAX) && context.contains(dot(1, u64::MAX)));
}

#[test]
fn too_many_intervals_are_neither_sent_nor_taken() {
    let dots = (0..Context::MAX_INTERVALS as u64 + 100).map(|n| dot(n % 3, 2 + 2 * (n / 3)));
    let fragmented: Context = dots.collect();
    assert!(fragmented.intervals() > Context::MAX_INTERVALS);
    let sent: Context = postcard::from_bytes(&postcard::to_stdvec(&fragmented).unwrap()).unwrap();
    assert!(sent.intervals() <= Context::MAX_INTERVALS && fragmented.includes(&sent));
    let extra = vec![(2_u64, 0_u64); Context::MAX_INTERVALS];
    let forged = postcard::to_stdvec(&vec![(ReplicaId(1), 0_u64, extra)]).unwrap();
    assert!(postcard::from_bytes::<Context>(&forged).is_err());
}

#[test]
fn hashes_stay_what_they_are() {
    // Golden: a change here makes replicas of different versions repair without end.
    let context: Context = [dot(1, 1), dot(1, 2), dot(2, 1), dot(2, 5), dot(2, 6)].into_iter().collect();
    let hashes = [1, 2, 3].map(|replica| context.hash_of(ReplicaId(replica)));
    assert_eq!(hashes, [13_917_986_115_785_351_914, 7_525_870_729_860_409_596, 0]);
}
