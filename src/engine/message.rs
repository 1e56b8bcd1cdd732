//! What engines say to each other. Bodies of datagrams and of frames; postcard, versioned by the envelope and the
//! first frame of a stream.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::crdt::{Context, Dot, Roster, codec};
use crate::id::{NodeId, ReplicaId};
use crate::membership::{Identity, Record};
use crate::replication::EAGER_TO_ALL;
use crate::store::{BucketHashes, Digest, Report, TableName};
use crate::time::{Instant, Stamp};
use crate::wire::{self, Malformed, Versions};

/// Kinds of datagrams, and of frames where the same stands in both.
pub(super) mod kind {
    /// foca's own bytes.
    pub(crate) const SWIM: u8 = 1;
    /// Rows, one behind the other.
    pub(crate) const ROWS: u8 = 2;
    /// A [`Message`](super::Message) in a datagram, a [`Control`](super::Control) in a frame.
    pub(crate) const MESSAGE: u8 = 3;
    /// Letters, one behind the other; in frames only.
    pub(crate) const MAIL: u8 = 4;
}

/// Small things, in datagrams. Each may be lost, doubled and late.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// Where the sender stands, as a question or as the answer to one.
    Digest(Box<DigestMessage>),
    /// The sender wrote rows that fit no datagram: fetch them.
    Offer(Vec<Dot>),
    /// What changed in the roster.
    Roster(Roster),
    /// Of members found dead by their watchers, and of newcomers by their sponsors; foca's records.
    News(Vec<Record>),
    /// The sender, watching this member, saw its address refuse a connection.
    Refused(ReplicaId),
    /// The sender asks a fellow watcher to look after this member.
    Look(ReplicaId),
    /// The sender leaves the cluster in order.
    Leave,
    /// The sender lives, and has the receiver's name.
    Namesake {
        /// The run that it speaks to.
        to: ReplicaId,
        /// Who it is.
        from: Box<Identity>,
    },
}

/// Where a node stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct DigestMessage {
    /// When it was sent, by the sender's monotone clock; comes back in the answer.
    pub(super) sent: Instant,
    /// In an answer, who asked and `sent` of the question. Another process may listen at the asker's address by now, whose
    /// clock began anew.
    pub(super) answers: Option<(ReplicaId, Instant)>,
    /// The sender's wall clock.
    pub(super) wall_ms: u64,
    /// Contexts and fingerprints of the sender's map.
    pub(super) digest: Digest,
    /// The fingerprint of the sender's roster.
    pub(super) roster: u64,
    /// The fingerprint of the sender's member list.
    pub(super) members: u64,
    /// How much the sender holds of what the receiver wrote, without a hole. `None` from one that leaves itself: nothing
    /// is in good hands there.
    pub(super) base_of_receiver: Option<u64>,
    /// Stable-time reports: the sender's own, and some that it passes on.
    pub(super) reports: Vec<Report>,
    /// Digests of single tables, when asked for: to name the one that differs.
    pub(super) tables: Vec<(TableName, u64)>,
    /// Whether the question asks for `tables`.
    pub(super) detailed: bool,
    /// The protocol versions that all members of the sender's cluster speak.
    pub(super) spoken: Versions,
}

/// Why a stream was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// To notice at once when the other end dies.
    Watch,
    /// To be admitted and pull everything.
    Join,
    /// To pull what is missing here.
    Repair,
    /// To push what is written here.
    Push,
    /// To carry letters of the application, both ways.
    Mail,
}

/// The first frame on a stream, by the side that opened it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The protocol versions that all members of its cluster speak; before it has one, its own.
    pub(super) spoken: Versions,
    /// The name of the cluster.
    pub(super) cluster: String,
    /// Who opens.
    pub(super) identity: Identity,
    /// What for.
    pub(super) purpose: Purpose,
    /// The fingerprint of its roster; 0 before it has one.
    pub(super) roster: u64,
    /// The fingerprint of its member list.
    pub(super) members: u64,
}

/// What travels in frames.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum Control {
    /// First, from the side that opened.
    Hello(Box<Hello>),
    /// The answer to it: who is at this end, and what differs from what the hello said.
    Welcome {
        /// Who answers.
        identity: Box<Identity>,
        /// The roster, where it differs.
        roster: Option<Roster>,
        /// The member list, where it differs.
        members: Option<Vec<Record>>,
        /// The protocol versions that all members of its cluster speak.
        spoken: Versions,
    },
    /// The other answer.
    Refuse(Refusal),
    /// What the requester has; rows follow, then `End`.
    Pull {
        /// The requester's roster, where it differs.
        roster: Option<Roster>,
        /// The requester's member list, where it differs.
        members: Option<Vec<Record>>,
        /// The fingerprint of the roster that the requester has now.
        knows: u64,
        /// What it has.
        have: Have,
        /// Authors who are pushing to it: what it lacks of them is on its way.
        #[serde(deserialize_with = "codec::bounded::<_, _, EAGER_TO_ALL>")]
        expected: Vec<ReplicaId>,
    },
    /// The responder's roster, before the first row, where it is not the one that the requester has: rows of members
    /// that the requester does not know would be refused.
    Roster(Roster),
    /// No more rows follow: now, and only now, the snapshot's context may be joined.
    End {
        /// What the responder knew when the session began.
        context: Context,
        /// Up to when it had collected removals: nothing may be stamped below that any more.
        floor: Stamp,
    },
    /// The responder's context long before the last row: breaks a rule.
    #[cfg(feature = "sabotage")]
    Claim(Context),
}

/// What a requester has.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum Have {
    /// These writes.
    Context(Context),
    /// Buckets with these hashes; contexts are ignored.
    Buckets(BucketHashes),
}

/// Why a hello was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// This node has no roster yet; ask again soon.
    NotFormed,
    /// Too many sessions; ask again or elsewhere.
    Busy,
    /// This is another cluster, of this name.
    Cluster(String),
    /// No protocol version in common with a member of this cluster: what that one speaks, and where it is.
    Protocol(Versions, SocketAddr),
    /// A later run of the same node, at another address, lives as far as is known: this one.
    NameTaken(Box<Identity>),
}

/// The row of [`MEMBERS`]: what a member says of itself once it is ready.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct MemberInfo {
    /// Its name.
    pub(super) node: NodeId,
    /// The kinds of roles that it can build, sorted.
    pub(super) kinds: Vec<String>,
    /// Its labels.
    pub(super) labels: BTreeMap<String, String>,
    /// How busy it is, in buckets.
    pub(super) load: u8,
    /// Whether others should rather build them, as long as there are any who can.
    pub(super) unready: bool,
    /// Whether it leaves: what runs there is to move.
    pub(super) leaves: bool,
    /// Whether it answers too late to build any: it is Down to others, and they to it, again and again.
    pub(super) late: bool,
}

/// The name of the table of members' own declarations.
pub(super) const MEMBERS: &str = "@members";
/// The name of the table of claims.
pub(super) const CLAIMS: &str = "@claims";
/// The name of the table of reported fingerprints.
pub(super) const AGREE: &str = "@agree";
/// The name of the table of role specs.
pub(super) const ROLES: &str = "_roles";

/// Puts a control message into a frame.
pub(super) fn control_frame(control: &Control) -> Bytes {
    wire::seal_frame(wire::encode_onto(wire::open_frame(kind::MESSAGE), control))
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum FrameBody<'a> {
    /// Rows, still encoded.
    Rows(&'a [u8]),
    /// A control message.
    Control(Control),
}

/// Splits a frame.
pub(super) fn read_frame(frame: &[u8]) -> Result<FrameBody<'_>, Malformed> {
    match wire::split_frame(frame)? {
        (kind::ROWS, body) => Ok(FrameBody::Rows(body)),
        (kind::MESSAGE, body) => Ok(FrameBody::Control(wire::decode(body)?)),
        _ => Err(Malformed),
    }
}

/// What a body is, for [`recode`].
#[cfg(feature = "testkit")]
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// The body of a datagram.
    Message,
    /// The body of a frame.
    Control,
    /// The row in which a member declares itself.
    MemberInfo,
}

/// Decodes what engines say to each other and encodes it anew, for whoever tests that nothing is lost on the way: these
/// types are the engine's own. With the bytes comes whether they stand for the same value as those given.
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub fn recode(what: Spoken, bytes: &[u8]) -> Result<(Vec<u8>, bool), Malformed> {
    fn through<T: Serialize + serde::de::DeserializeOwned + PartialEq>(
        bytes: &[u8],
    ) -> Result<(Vec<u8>, bool), Malformed> {
        let value: T = wire::decode(bytes)?;
        let again = wire::encode(&value);
        let same = wire::decode(&again).is_ok_and(|decoded: T| decoded == value);
        Ok((again, same))
    }
    match what {
        Spoken::Message => through::<Message>(bytes),
        Spoken::Control => through::<Control>(bytes),
        Spoken::MemberInfo => through::<MemberInfo>(bytes),
    }
}
