//! 128 bits that stand for everything that role assignment reads.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Stands for everything that role assignment reads. Nodes with equal fingerprints compute equal assignments.
///
/// 16 bytes on the wire. xxh3 guards against accidents, not against a member that wants to deceive; such a member
/// could report any fingerprint anyway.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "[u8; 16]", into = "[u8; 16]")]
pub struct Fingerprint(pub u128);

impl From<[u8; 16]> for Fingerprint {
    fn from(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl From<Fingerprint> for [u8; 16] {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0.to_be_bytes()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Builds a [`Fingerprint`] from sections of byte strings, in the order given.
///
/// Every piece is hashed with a tag and its length, so that `"ab", "c"` and `"a", "bc"` differ, and so do an empty section
/// and a missing one.
///
/// ```
/// use unisono::convergence::FingerprintBuilder;
///
/// let mut builder = FingerprintBuilder::new();
/// builder.section("view").bytes(b"larry").bytes(b"sally");
/// let fingerprint = builder.finish();
/// assert_eq!(fingerprint.to_string().len(), 32);
/// ```
#[derive(Clone)]
pub struct FingerprintBuilder {
    hash: Xxh3,
}

impl FingerprintBuilder {
    const SECTION: u8 = 0;
    const BYTES: u8 = 1;

    /// Starts with nothing.
    pub fn new() -> Self {
        Self { hash: Xxh3::new() }
    }

    /// Starts a section.
    pub fn section(&mut self, name: &str) -> &mut Self {
        self.piece(Self::SECTION, name.as_bytes())
    }

    /// Adds a byte string to the section.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.piece(Self::BYTES, bytes)
    }

    /// The fingerprint of all that was added.
    pub fn finish(&self) -> Fingerprint {
        Fingerprint(self.hash.digest128())
    }

    fn piece(&mut self, tag: u8, bytes: &[u8]) -> &mut Self {
        let mut head = [tag; 9];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.hash.update(&head);
        self.hash.update(bytes);
        self
    }
}

impl Default for FingerprintBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FingerprintBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FingerprintBuilder").field(&self.finish()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sections: &[(&str, &[&str])]) -> Fingerprint {
        let mut builder = FingerprintBuilder::new();
        for (name, pieces) in sections {
            builder.section(name);
            for piece in *pieces {
                builder.bytes(piece.as_bytes());
            }
        }
        builder.finish()
    }

    /// Members of different releases compare fingerprints: the encoding must not drift. The first is the published XXH3-128 of nothing.
    #[test]
    fn golden_vectors() {
        assert_eq!(of(&[]).to_string(), "99aa06d3014798d86001c324468d497f");
        assert_eq!(
            of(&[("view", &["larry", "sally"]), ("roles", &[])]).to_string(),
            "62a2aa648fbad06146b434554fd6f7c7"
        );
    }

    #[test]
    fn pieces_and_sections_do_not_run_into_each_other() {
        let all = [
            of(&[("view", &["ab", "c"])]),
            of(&[("view", &["a", "bc"])]),
            of(&[("view", &["abc"])]),
            of(&[("view", &["abc", ""])]),
            of(&[("view", &["abc"]), ("roles", &[])]),
            of(&[("view", &["abc", "roles"])]),
            of(&[("view", &[]), ("abc", &[])]),
            of(&[("roles", &[]), ("view", &["abc"])]),
            of(&[("view", &["abc\u{1}def"])]),
            of(&[("view", &["abc", "def"])]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn it_travels_as_sixteen_bytes() {
        let fingerprint = of(&[("view", &["larry"])]);
        let bytes = postcard::to_stdvec(&fingerprint).unwrap();
        assert_eq!(bytes.len(), 16);
        assert_eq!(postcard::from_bytes::<Fingerprint>(&bytes).unwrap(), fingerprint);
    }
}
