//! The fencing tokens that were given for each role, as far as they matter: those of the instances that live, and the
//! highest of those that have ended.
//!
//! ```text
//!   start ─▶ row (role, token) ─▶ all members          highest:  every later start is above it
//!   raise ─▶ row (role, token) ─┘                      ended:    the instances that are to stay rise above it
//! ```
//!
//! Each token is a row of its own in a system table, whose key is the role and the token. So concurrent writes never
//! replace each other, the highest is the same in whatever order rows arrive and islands meet, and it stays when the node
//! that wrote it is gone. A row below one of an instance that has ended says nothing any more, and the first member of a
//! converged view removes it. What remains is one row for each instance that lives, and one more.

use std::collections::BTreeMap;

use super::{Assignment, FencingToken, Holding, InstanceId, Picture};
use crate::id::ReplicaId;
use crate::time::Stamp;

/// No clock gets here (the year 6429): a token beyond is rubbish, and nothing could be above the highest of them.
pub(super) const LAST_TOKEN: Stamp = Stamp(u64::MAX / 2);

/// How many bytes of the key of a row are its token.
const TOKEN_BYTES: usize = 16;

/// The tokens that were given, by role, and to which instance each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    roles: BTreeMap<String, BTreeMap<FencingToken, InstanceId>>,
}

/// The key of the row of a token.
pub(crate) fn token_key(role: &str, token: FencingToken) -> Vec<u8> {
    [role.as_bytes(), &token.as_u128().to_be_bytes()].concat()
}

/// The role and the token in the key of a row; `None` if it is none, or rubbish.
pub(crate) fn split_token_key(key: &[u8]) -> Option<(&str, FencingToken)> {
    let (role, token) = key.split_at_checked(key.len().checked_sub(TOKEN_BYTES)?)?;
    let (stamp, replica) = token.split_first_chunk::<8>()?;
    let stamp = Stamp(u64::from_be_bytes(*stamp));
    let replica = ReplicaId(u64::from_be_bytes(replica.try_into().ok()?));
    let role = std::str::from_utf8(role).ok().filter(|role| !role.is_empty())?;
    (stamp <= LAST_TOKEN).then_some((role, FencingToken { stamp, replica }))
}

impl Given {
    /// A token was given, or with `None` its row is gone.
    pub fn set(&mut self, role: &str, token: FencingToken, to: Option<InstanceId>) {
        match to {
            Some(to) => drop(self.roles.entry(role.to_owned()).or_default().insert(token, to)),
            None => {
                if let Some(tokens) = self.roles.get_mut(role) {
                    tokens.remove(&token);
                    if tokens.is_empty() {
                        self.roles.remove(role);
                    }
                }
            }
        }
    }

    /// Every role with its tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = FencingToken>)> {
        self.roles.iter().map(|(role, tokens)| (role.as_str(), tokens.keys().copied()))
    }

    /// Every token of every role, in order, and the instance that it was given to.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, FencingToken, InstanceId)> {
        self.roles.iter().flat_map(|(role, tokens)| tokens.iter().map(move |(token, to)| (role.as_str(), *token, *to)))
    }

    /// The highest token of an instance of this role that has ended, or is about to since there is one too many: every
    /// instance that stays is to be above it. Of an instance whose node is out of view it is not known whether it lives.
    ///
    /// Instances that are being handed over have not ended, so that they can still write.
    pub fn ended(&self, picture: &Picture<'_>, assignment: &Assignment, role: &str) -> Option<FencingToken> {
        let claims = picture.of(role);
        let occupied = claims.iter().filter(|h| h.claim.counts(assignment.hosts(role))).count();
        let wanted = picture.spec(role).map_or(0, |spec| spec.count as usize);
        let stays = |h: &Holding| occupied <= wanted || assignment.wants(role, h.holder);
        let lives = |instance: InstanceId| {
            let claim = claims.iter().find(|h| h.holder == instance.replica && h.claim.started == instance);
            claim.is_some_and(|h| h.claim.occupies() && stays(h))
        };
        let mut tokens = self.roles.get(role)?.iter().rev();
        tokens.find(|(_, instance)| !lives(**instance)).map(|(token, _)| *token)
    }

    /// The tokens of a role that say nothing any more, since an instance with a higher one has ended.
    pub(crate) fn obsolete(&self, role: &str, ended: FencingToken) -> impl Iterator<Item = FencingToken> {
        self.roles.get(role).into_iter().flat_map(move |tokens| tokens.range(..ended)).map(|(token, _)| *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::roles::{Balance, Candidate, Claim, ClaimState, RoleSpec, assign};

    fn token(stamp: u64, replica: u64) -> FencingToken {
        FencingToken { stamp: Stamp(stamp), replica: ReplicaId(replica) }
    }

    fn instance(stamp: u64, replica: u64) -> InstanceId {
        InstanceId { stamp: Stamp(stamp), replica: ReplicaId(replica) }
    }

    fn claim(started: u64, holder: u64, state: ClaimState) -> Holding {
        let (started, token) = (instance(started, holder), token(started, holder));
        let claim = Claim { started, token, state, pinned: false, handed: None };
        Holding { role: "r".into(), holder: ReplicaId(holder), claim }
    }

    /// Of a role with this count, which ran at 1, 2 and 3.
    fn ended(count: u32, holdings: &[Holding]) -> Option<u64> {
        let mut given = Given::default();
        for number in 1..=3 {
            given.set("r", token(number, number), Some(instance(number, number)));
        }
        let node = |number: u64| Candidate {
            node: NodeId::new(format!("n{number}")).unwrap(),
            replica: ReplicaId(number),
            kinds: ["r".to_owned()].into(),
            labels: BTreeMap::new(),
            load: 0,
        };
        let roles = [RoleSpec::new("r").count(count)];
        let (candidates, balance) = ([1, 2, 3].map(node), Balance::Sticky);
        let picture = Picture { candidates: &candidates, roles: &roles, holdings, roster: 3, balance, calm: true };
        given.ended(&picture, &assign(&picture), "r").map(|token| token.stamp.0)
    }

    #[test]
    fn the_key_of_a_row_is_read_back_and_rubbish_is_not() {
        let given = token(7, u64::MAX);
        for role in ["r", "gate-1", "ä"] {
            assert_eq!(split_token_key(&token_key(role, given)), Some((role, given)));
        }
        assert_eq!(split_token_key(&token_key("", given)), None);
        assert_eq!(split_token_key(&token_key("r", token(LAST_TOKEN.0 + 1, 1))), None, "no room above it");
        assert_eq!(split_token_key(b"short"), None);
    }

    #[test]
    fn who_lives_has_not_ended_and_who_is_one_too_many_is_about_to() {
        let running = |number| claim(number, number, ClaimState::Running);
        assert_eq!(ended(1, &[running(1)]), Some(3));
        assert_eq!(ended(1, &[running(3)]), Some(2));
        assert_eq!(ended(3, &[running(1), running(2), running(3)]), None);
        assert_eq!(ended(2, &[running(1), running(3)]), Some(2));
        assert_eq!(ended(1, &[running(1), running(3)]), Some(3), "the youngest of two is to go");
        let drains = |to| claim(3, 3, ClaimState::Draining { to });
        assert_eq!(ended(1, &[running(1), drains(None)]), Some(3));
        let to = Some(ReplicaId(2));
        assert_eq!(ended(2, &[running(1), drains(to)]), Some(2), "it is being handed over");
        let stopped = claim(3, 3, ClaimState::Stopped { to });
        assert_eq!(ended(2, &[running(1), stopped]), Some(3));
        let restarted = claim(4, 3, ClaimState::Running);
        assert_eq!(ended(2, &[running(1), restarted]), Some(3), "another start of the same node");
    }

    #[test]
    fn only_what_is_below_one_that_ended_is_obsolete() {
        let mut given = Given::default();
        for number in 1..=4 {
            given.set("r", token(number, 1), Some(instance(number, 1)));
        }
        assert_eq!(given.obsolete("r", token(3, 1)).collect::<Vec<_>>(), [token(1, 1), token(2, 1)]);
        assert_eq!(given.obsolete("s", token(3, 1)).count(), 0);
        (1..=4).for_each(|number| given.set("r", token(number, 1), None));
        assert_eq!(given, Given::default());
    }
}
