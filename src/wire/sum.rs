//! A sum over the bytes that cross the wire.
//!
//! UDP and TCP have sums of 16 bits, which hardware that damages packets passes often enough to matter (Stone and
//! Partridge, "When the CRC and TCP Checksum Disagree", 2000). A value with a flipped bit under a right dot and rank
//! would differ between members for ever, since digests do not cover values; and gossip spreads what is wrong, as the
//! outage of Amazon S3 on 20 July 2008 showed. It keeps accidents out and nobody who means harm.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The length of a sum.
pub(super) const SUM_BYTES: usize = 4;

/// The sum of a body and of what stands before it and says what it is.
pub(super) fn sum(front: u64, body: &[u8]) -> [u8; SUM_BYTES] {
    let [.., a, b, c, d] = xxh3_64_with_seed(body, front).to_be_bytes();
    [a, b, c, d]
}

/// Whether a sum is right. Fuzzers are let through, or they would find nothing but wrong sums.
pub(super) fn is_sum(of: &[u8], front: u64, body: &[u8]) -> bool {
    cfg!(fuzzing) || of == sum(front, body)
}
