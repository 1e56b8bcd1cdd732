//! When a node tells the others how busy it is, and in which bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::score::{Part, buckets};
use crate::time::Instant;
use crate::wire;

/// The system table: one row of each node that has something to tell.
pub const TABLE: &str = "@signals";

/// A node tells nothing more often than this.
pub const PAUSE: Duration = Duration::from_secs(1);

/// A part is told when it is further than this from where it was told to be.
const BUCKET: f64 = 1.0;

/// Decides when what a node shows is worth telling: some part lies more than a bucket from where it was told to be, and
/// the last time is long enough ago.
///
/// The distance counts from the last value told and not from the edge of a bucket, so nothing is told again and again of a
/// value that trembles about an edge. What is told is exact: the buckets decide when, not what.
#[derive(Debug, Default)]
pub struct Publisher {
    /// In buckets, by name. What was never told stands at 0, as in the scores of the others.
    told: BTreeMap<Arc<str>, f64>,
    last: Option<Instant>,
}

impl Publisher {
    /// Whether these parts are to be told now.
    pub fn is_due(&self, now: Instant, parts: &[Part]) -> bool {
        let rested = self.last.is_none_or(|last| now.since(last) >= PAUSE);
        rested && parts.iter().any(|part| self.distance(part) > BUCKET)
    }

    /// These parts were told.
    pub fn told(&mut self, now: Instant, parts: &[Part]) {
        self.last = Some(now);
        self.told = parts.iter().map(|part| (Arc::clone(&part.name), buckets(part.score()))).collect();
    }

    fn distance(&self, part: &Part) -> f64 {
        let told = self.told.get(&part.name).copied().unwrap_or_default();
        (buckets(part.score()) - told).abs()
    }
}

/// The row of these parts.
pub fn encode(parts: &[Part]) -> Vec<u8> {
    wire::encode(parts)
}

/// The parts in a row of another node; `None` if they are out of bounds, or of a kind that this version does not know.
pub fn decode(row: &[u8]) -> Option<Vec<Part>> {
    let parts: Vec<Part> = wire::decode(row).ok()?;
    (parts.len() <= Board::MOST && parts.iter().all(Part::is_sound)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::score::tests::{part, parts};
    use super::*;
    use crate::signals::{SignalKind, Spec};

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn ram(value: f64) -> [Part; 1] {
        [part("ram", SignalKind::Percent, 1.0, value)]
    }

    #[test]
    fn what_changes_by_less_than_a_bucket_is_not_told() {
        let mut publisher = Publisher::default();
        assert!(!publisher.is_due(at(0), &[]));
        assert!(!publisher.is_due(at(0), &[part("requests", SignalKind::Count, 1.0, 0.0)]), "it counts nothing");
        assert!(publisher.is_due(at(0), &ram(50.0)));
        publisher.told(at(0), &ram(50.0));
        for (value, due) in [(50.0, false), (54.0, false), (46.0, false), (55.0, true), (45.0, true)] {
            assert_eq!(publisher.is_due(at(5_000), &ram(value)), due, "{value}");
        }
        let more = [ram(50.0), [part("queue", SignalKind::Amount, 1.0, 0.1)]].concat();
        assert!(publisher.is_due(at(5_000), &more), "a part that is new");
    }

    #[test]
    fn nothing_is_told_twice_in_a_second() {
        let mut publisher = Publisher::default();
        publisher.told(at(100), &ram(50.0));
        assert!(!publisher.is_due(at(1_099), &ram(100.0)));
        assert!(publisher.is_due(at(1_100), &ram(100.0)));
    }

    #[test]
    fn rows_out_of_bounds_are_refused() {
        let good = part("ram", SignalKind::Percent, 1.0, 100.0);
        assert_eq!(decode(&encode(std::slice::from_ref(&good))), Some(vec![good.clone()]));
        let name = |name: &str| Part { name: name.into(), ..good.clone() };
        let wrong = [
            Part { value: 100.1, ..good.clone() },
            Part { value: f64::NAN, ..good.clone() },
            Part { value: -1.0, ..good.clone() },
            Part { weight: f64::INFINITY, ..good.clone() },
            Part { weight: -1.0, ..good.clone() },
            name(""),
            name("a\nb"),
            name(&"n".repeat(Spec::MAX_NAME + 1)),
        ];
        for part in wrong {
            assert_eq!(decode(&encode(&[part])), None);
        }
        assert_eq!(decode(&encode(&vec![good.clone(); Board::MOST + 1])), None);
        assert_eq!(decode(b"\xff"), None);
        // The longest row that there may be is one that the store takes.
        let longest = vec![name(&"n".repeat(Spec::MAX_NAME)); Board::MOST];
        let bytes = encode(&longest);
        assert_eq!(decode(&bytes), Some(longest));
        assert!(bytes.len() <= crate::store::MAX_VALUE);
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_they_were(parts in parts(6)) {
            prop_assert_eq!(decode(&encode(&parts)), Some(parts));
        }

        #[test]
        fn any_bytes_are_parts_in_bounds_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for part in decode(&bytes).into_iter().flatten() {
                prop_assert!(part.is_sound());
            }
        }

        /// However values move and whenever it is looked: never two rows in a second, and whoever looked at least that long
        /// after the last change is told of it to within a bucket.
        #[test]
        fn what_is_told_is_seldom_and_true(looks in prop::collection::vec((parts(4), 1..3_000_u64), 1..30)) {
            let mut publisher = Publisher::default();
            let (mut now, mut last) = (0, None);
            for (mut parts, pause) in looks {
                parts.sort_by(|one, other| one.name.cmp(&other.name));
                parts.dedup_by(|one, other| one.name == other.name);
                now += pause;
                if publisher.is_due(at(now), &parts) {
                    prop_assert!(last.is_none_or(|last| now - last >= 1_000));
                    publisher.told(at(now), &parts);
                    last = Some(now);
                } else if last.is_none_or(|last| now - last >= 1_000) {
                    prop_assert!(parts.iter().all(|part| publisher.distance(part) <= BUCKET));
                }
            }
        }
    }
}
