//! Which protocol versions the others speak, and in which one each of them is written to.
//!
//! To whom nothing is known of, everything is written in the lowest version that this node speaks. What arrives tells by
//! its front which versions its sender speaks, whether it can be read or not; what cannot be is answered with nothing but
//! such a front. So two that have a version in common find it, and two that have none both learn that.
//!
//! Where members of different ranges are in one cluster, all of them have a version in common: nobody is admitted who
//! has none with a single one of them. Else two members could not hear each other, would hold each other for dead, and
//! could keep neither roles nor tables together. (Two newcomers that two members admit in the same moment can slip
//! through: then those two say that they do not understand each other.)

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::message::{Control, FrameBody, Refusal, kind};
use super::strangers::Said;
use super::{Engine, Event, Output, StreamId};
use crate::id::ReplicaId;
use crate::time::Instant;
use crate::wire::{self, Front, MAX_MEMBERS, Malformed, Versions};

/// How seldom an address is told which versions this node speaks.
const ANSWER_AGAIN: Duration = Duration::from_secs(60);

/// How long the event is not repeated.
const SAY_AGAIN: Duration = Duration::from_secs(3_600);

/// For so long a node that was refused for its versions counts as kept out.
const REFUSED: Duration = Duration::from_secs(3);

/// So many that are no members are remembered besides.
const STRANGERS: usize = 256;

/// What is known of the versions of others.
#[derive(Debug)]
pub(super) struct Speech {
    own: Versions,
    /// By address, since that is what a process writes to and is heard from.
    heard: BTreeMap<SocketAddr, Versions>,
    /// Whether anybody spoke other versions than this node, lately.
    mixed: bool,
    /// What a member said last that all of its cluster speak: it may have heard of members of whom this node has not.
    told: Versions,
    answered: Said<SocketAddr>,
    said: Said<SocketAddr>,
    /// Who kept this node out of the cluster, and when.
    refused: Option<(SocketAddr, Versions, Instant)>,
}

impl Speech {
    pub(super) fn new(own: Versions) -> Self {
        let (answered, said) = (Said::default(), Said::default());
        Self { own, heard: BTreeMap::new(), mixed: false, told: own, answered, said, refused: None }
    }

    /// The version in which to write to an address.
    pub(super) fn version_for(&self, to: SocketAddr) -> u8 {
        let shared = self.heard.get(&to).and_then(|theirs| self.own.shared(*theirs));
        shared.map_or(self.own.low, |shared| shared.high)
    }

    /// Takes note of what somebody speaks.
    pub(super) fn hear(&mut self, from: SocketAddr, versions: Versions) {
        if self.heard.len() < MAX_MEMBERS + STRANGERS || self.heard.contains_key(&from) {
            self.heard.insert(from, versions);
            self.mixed |= versions != self.own;
        }
    }

    /// Completes a datagram for whoever is at an address.
    pub(super) fn seal_for(&self, to: SocketAddr, datagram: Vec<u8>) -> bytes::Bytes {
        wire::seal_in(self.version_for(to), self.own, datagram)
    }

    /// Completes a datagram in a version.
    pub(super) fn seal_in(&self, version: u8, datagram: Vec<u8>) -> bytes::Bytes {
        wire::seal_in(version, self.own, datagram)
    }
}

impl Engine {
    /// Whether what has this front can be read here.
    pub(super) fn reads(&self, front: Front) -> bool {
        front.kind != wire::VERSIONS && self.speech.own.has(front.version)
    }

    /// A datagram came that cannot be read: its sender is told why, unless that is what it says itself.
    pub(super) fn unread(&mut self, from: SocketAddr, front: Front) {
        self.stats.other_protocol += 1;
        self.misheard(from, front);
        if front.kind == wire::BEACON && self.speech.own.shared(front.versions).is_some() {
            // It calls in a version that is not understood, and can be spoken to in one that is.
            self.discovered(from);
        }
        if front.kind != wire::VERSIONS && self.speech.answered.is_due(self.now.instant, from, ANSWER_AGAIN) {
            // As long as the shortest datagram there is.
            let answer = self.speech.seal_in(self.speech.own.low, wire::open(wire::VERSIONS));
            self.put_out(from, answer);
        }
    }

    fn misheard(&mut self, from: SocketAddr, front: Front) {
        self.speech.hear(from, front.versions);
        if self.speech.own.shared(front.versions).is_none() {
            self.say_no_common_protocol(from, front.versions);
        }
    }

    fn say_no_common_protocol(&mut self, address: SocketAddr, theirs: Versions) {
        if self.speech.said.is_due(self.now.instant, address, SAY_AGAIN) {
            let ours = self.speech.own;
            self.event(Event::NoCommonProtocol { address, theirs, ours });
        }
    }

    /// Forgets what those speak that are no members, once there are many of them.
    pub(super) fn forget_speech(&mut self) {
        if self.speech.heard.len() > self.live().len() + STRANGERS {
            let swim = &self.swim;
            self.speech.heard.retain(|address, _| swim.at(*address).is_some());
        }
        let own = self.speech.own;
        self.speech.mixed = self.speech.heard.values().any(|theirs| *theirs != own);
    }

    /// The versions that this node and all members that live have in common, as far as is known. There always are some,
    /// but where members of two sides of a cut were updated without each other: then those of this node alone.
    pub(super) fn spoken_by_all(&self) -> Versions {
        let own = self.speech.own;
        if !self.speech.mixed && self.speech.told == own {
            // As almost always: and it is asked for with every digest.
            return own;
        }
        let of = |member| self.speech.heard.get(&self.address_of(member)?);
        // Of whom nothing was heard yet the others may know.
        let each = self.live().iter().map(|member| of(*member).copied().unwrap_or(self.speech.told));
        each.filter(|theirs| *theirs != own).try_fold(own, Versions::shared).unwrap_or(own)
    }

    /// A member says what all of its cluster speak, as far as it knows. What others say counts once they are members.
    pub(super) fn told_spoken(&mut self, member: ReplicaId, spoken: Versions) {
        if !self.formed() || self.roster.is_admitted(member) {
            self.speech.told = spoken;
        }
    }

    /// Why a node that speaks these, with those that are members of its cluster, must not be admitted here.
    pub(super) fn refused_for_versions(&self, spoken: Versions) -> Option<Refusal> {
        let all = self.spoken_by_all();
        if all.shared(spoken).is_some() {
            return None;
        }
        let addresses = self.live().iter().filter_map(|member| self.address_of(*member));
        let ranges = addresses.filter_map(|address| Some((address, *self.speech.heard.get(&address)?)));
        let culprit = ranges.into_iter().find(|(_, theirs)| theirs.shared(spoken).is_none());
        let (address, theirs) = culprit.unwrap_or_else(|| (self.swim.identity().address, all));
        Some(Refusal::Protocol(theirs, address))
    }

    /// The cluster of this sender speaks these, and cannot become one with that of this node. It is for those to say who
    /// have no version in common with the other side, of a member that they know if they know one.
    pub(super) fn say_if_not_understood(&mut self, sender: ReplicaId, spoken: Versions) {
        let own = self.speech.own;
        if own.shared(spoken).is_some() {
            return;
        }
        let known = self.swim.members().filter_map(|(identity, _)| {
            let address = identity.address;
            Some((address, *self.speech.heard.get(&address)?))
        });
        let culprit = known.into_iter().find(|(_, theirs)| own.shared(*theirs).is_none());
        let culprit = culprit.or_else(|| Some((self.address_of(sender)?, spoken)));
        culprit.into_iter().for_each(|(address, theirs)| self.say_no_common_protocol(address, theirs));
    }

    /// This node is not admitted, since a member does not understand it.
    pub(super) fn refused_by_speaker(&mut self, address: SocketAddr, theirs: Versions) {
        self.speech.refused = Some((address, theirs, self.now.instant));
        self.say_no_common_protocol(address, theirs);
    }

    /// Why this node is not ready, if it is for what it speaks.
    pub(super) fn speech_trouble(&self) -> Option<String> {
        let (address, theirs, at) = self.speech.refused?;
        let ours = self.speech.own;
        let is_kept_out = !self.formed() && self.now.instant.since(at) < REFUSED;
        is_kept_out.then(|| {
            format!("the member at {address} speaks protocol versions {theirs}, this node {ours}; update the older")
        })
    }

    /// Sends the first frame of this side of a stream, which any version can tell for what it is.
    pub(super) fn first_frame(&mut self, stream: StreamId, version: u8, control: &Control) {
        let bytes = self.speech.seal_in(version, wire::encode_onto(wire::open(kind::MESSAGE), control));
        self.stats.stream_bytes += bytes.len() as u64;
        self.outputs.push_back(Output::Frame { stream, bytes });
    }

    /// Reads the first frame of the other side; `None` if it is of a version that this node does not speak.
    pub(super) fn read_first<'a>(
        &mut self,
        from: SocketAddr,
        outgoing: bool,
        bytes: &'a [u8],
    ) -> Result<(Front, Option<FrameBody<'a>>), Malformed> {
        let (front, body) = wire::unseal_first(bytes)?;
        if !self.reads(front) {
            self.stats.other_protocol += 1;
            // The port of whoever opened a stream says nothing.
            if outgoing {
                self.misheard(from, front);
            }
            return Ok((front, None));
        }
        if outgoing {
            self.speech.hear(from, front.versions);
        }
        if front.kind == kind::MESSAGE {
            Ok((front, Some(FrameBody::Control(wire::decode(body)?))))
        } else {
            Err(Malformed)
        }
    }

    /// Whoever opened this stream speaks another version: he is told which ones this node speaks, and no more.
    pub(super) fn close_unread(&mut self, stream: StreamId, outgoing: bool) {
        if !outgoing {
            let bytes = self.speech.seal_in(self.speech.own.low, wire::open(wire::VERSIONS));
            self.outputs.push_back(Output::Frame { stream, bytes });
        }
        self.drop_stream(stream, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_unknown_is_written_to_in_the_lowest_version_and_others_in_the_highest_in_common() {
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let mut speech = Speech::new(Versions { low: 2, high: 5 });
        speech.hear(address(1), Versions { low: 1, high: 3 });
        speech.hear(address(2), Versions { low: 4, high: 9 });
        speech.hear(address(3), Versions { low: 6, high: 9 });
        assert_eq!([1, 2, 3, 4].map(|port| speech.version_for(address(port))), [3, 5, 2, 2]);
        (0..u16::MAX).for_each(|port| speech.hear(address(port), Versions::OURS));
        assert_eq!(speech.heard.len(), MAX_MEMBERS + STRANGERS);
    }
}
