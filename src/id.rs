//! *Internal.*
//! Who is who: the stable name of a node and the identity of one run of it.
//!
//! A [`NodeId`] is what people configure and read in logs; it survives restarts. A [`ReplicaId`] is drawn anew each
//! time a process starts, is never stored and never reused: every dot of the replicated map carries one, and a replica
//! that lost its memory must not go on counting under its former name (it would hand out dots that others have already
//! seen, and they would drop its writes as known).

use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The stable name of a node, 1 to 64 bytes of printable text without spaces.
///
/// ```
/// use unisono::NodeId;
///
/// let larry = NodeId::new("larry")?;
/// assert_eq!(larry.as_str(), "larry");
/// assert!(NodeId::new("").is_err());
/// # Ok::<(), unisono::NodeIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// Why a text is no [`NodeId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeIdError {
    /// The text is empty.
    #[error("a node name is empty; give it 1 to {} bytes", NodeId::MAX_BYTES)]
    Empty,
    /// The text is longer than [`NodeId::MAX_BYTES`].
    #[error("a node name has {bytes} bytes; shorten it to {}", NodeId::MAX_BYTES)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The text holds a space or a control character.
    #[error("the node name {name:?} holds a space or a control character; use printable characters only")]
    NotPrintable {
        /// The text.
        name: String,
    },
}

impl NodeId {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 64;

    /// Checks and takes a name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NodeIdError> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(NodeIdError::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(NodeIdError::TooLong { bytes: name.len() });
        }
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain && name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NodeIdError::NotPrintable { name: name.to_owned() });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Checked { what: "the name of a node", check: |name: &str| Self::new(name) })
    }
}

/// Reads a name from the text where it lies: every datagram holds some, and none is worth a copy of its own first.
pub(crate) struct Checked<F> {
    pub(crate) what: &'static str,
    pub(crate) check: F,
}

impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Checked<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E2: serde::de::Error>(self, text: &str) -> Result<T, E2> {
        (self.check)(text).map_err(E2::custom)
    }
}

impl TryFrom<String> for NodeId {
    type Error = NodeIdError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.as_str().to_owned()
    }
}

impl std::str::FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

/// One run of one process: fresh and random at every start, never stored, never reused.
///
/// It is written as 16 hexadecimal digits, in texts and in formats for people such as JSON, whose readers tend to take
/// numbers for floating point and would round it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId(#[serde(with = "word")] pub u64);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:x}", self.0)
    }
}

/// 64 bits: hexadecimal digits in formats for people, a number in all others.
pub(crate) mod word {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(word: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{word:016x}"))
        } else {
            word.serialize(serializer)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(deserializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_readers_that_take_numbers_for_floating_point() {
        let larry = ReplicaId(u64::MAX - 1);
        let text = serde_json::to_string(&larry).unwrap();
        assert_eq!(text, format!("\"{larry}\""));
        assert_eq!(serde_json::from_str::<ReplicaId>(&text).unwrap(), larry);
        assert!(serde_json::from_str::<ReplicaId>("\"moe\"").is_err());
        // On the wire they are the numbers that they are.
        assert_eq!(postcard::to_stdvec(&larry).unwrap(), postcard::to_stdvec(&(u64::MAX - 1)).unwrap());
        assert_eq!(postcard::from_bytes::<ReplicaId>(&postcard::to_stdvec(&larry).unwrap()).unwrap(), larry);
    }

    #[test]
    fn names_are_checked_also_when_they_are_decoded() {
        assert_eq!(NodeId::new(""), Err(NodeIdError::Empty));
        assert!(matches!(NodeId::new("a b"), Err(NodeIdError::NotPrintable { .. })));
        assert_eq!(NodeId::new("x".repeat(65)), Err(NodeIdError::TooLong { bytes: 65 }));
        let bytes = postcard::to_stdvec("a b").unwrap();
        assert!(postcard::from_bytes::<NodeId>(&bytes).is_err());
        let larry = NodeId::new("larry").unwrap();
        let bytes = postcard::to_stdvec(&larry).unwrap();
        assert_eq!(postcard::from_bytes::<NodeId>(&bytes).unwrap(), larry);
    }
}
