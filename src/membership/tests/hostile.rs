//! Bytes from anybody.

use proptest::prelude::*;

use super::network::identity;
use crate::membership::{Identity, Liveness, Record, Swim, SwimOutput, Timing, direct};
use crate::time::Instant;

fn swim() -> Swim {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    let record = |number| Record { identity: identity(number), incarnation: 0, state: Liveness::Alive };
    swim.apply(Instant::ZERO, (1..4).map(record).collect());
    while swim.poll().is_some() {}
    swim
}

/// A datagram that node 1 would send to node 0.
fn datagram(about: usize, state: Liveness) -> Vec<u8> {
    let own = Record { identity: identity(1), incarnation: 0, state: Liveness::Alive };
    let about = Record { identity: identity(about), incarnation: 3, state };
    direct::ping(&own, &identity(0), about).unwrap().to_vec()
}

fn exercise(swim: &mut Swim, bytes: &[u8]) {
    let before = swim.stats().malformed;
    let refused = swim.handle_datagram(Instant::ZERO, bytes).is_err();
    assert_eq!(swim.stats().malformed - before, u64::from(refused));
    assert!(swim.mirrors_foca());
    while let Some(output) = swim.poll() {
        if let SwimOutput::Send { bytes, .. } = output {
            assert!(bytes.len() <= crate::wire::MAX_DATAGRAM - 4);
        }
    }
    for _ in 0..5 {
        if let Some(at) = swim.poll_timeout() {
            swim.handle_deadline(at, |_| true);
        }
    }
    assert!(swim.mirrors_foca());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1_500)) {
        exercise(&mut swim(), &bytes);
        // The slow path of a full list reads the same bytes.
        let _ = direct::thin_out(&bytes, |_, _| true);
    }

    #[test]
    fn damaged_datagrams_never_panic(
        about in 0_usize..6,
        state in prop::sample::select(vec![Liveness::Alive, Liveness::Suspect, Liveness::Down]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = datagram(about, state);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !tail.is_empty() {
            bytes.truncate(cut.index(bytes.len()));
            bytes.extend(tail);
        }
        exercise(&mut swim(), &bytes);
        let _ = direct::thin_out(&bytes, |_, _| false);
    }

    #[test]
    fn arbitrary_records_never_panic(
        raw in prop::collection::vec((0_u16..8, any::<u64>(), any::<u64>(), any::<u16>(), any::<u16>(), 0_u8..3), 0..20)
    ) {
        let mut swim = swim();
        let records = raw.into_iter().map(|(number, replica, boot, renewal, incarnation, state)| Record {
            identity: Identity { replica: crate::ReplicaId(replica), boot, renewal, ..identity(number.into()) },
            incarnation,
            state: [Liveness::Alive, Liveness::Suspect, Liveness::Down][usize::from(state)],
        });
        swim.apply(Instant::ZERO, records.collect());
        prop_assert!(swim.mirrors_foca());
    }
}

#[test]
fn a_thinned_datagram_is_the_same_where_all_are_wanted() {
    let bytes = datagram(2, Liveness::Suspect);
    let (thin, dropped) = direct::thin_out(&bytes, |_, _| true).unwrap();
    assert_eq!((&thin[..], dropped), (&bytes[..], 0));
    let (thin, dropped) = direct::thin_out(&bytes, |identity, _| identity.node.as_str() != "node-2").unwrap();
    assert!(thin.len() < bytes.len() && dropped == 1);
}
