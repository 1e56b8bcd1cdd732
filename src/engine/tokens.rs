//! Fencing tokens that were given, as rows of a system table: written with each start and each raise, and removed once they
//! say nothing any more.

use super::Engine;
use crate::roles::{FencingToken, InstanceId, TOKEN_MEMORY, token_key};
use crate::store::Key;
use crate::wire;

impl Engine {
    /// Tells all members that a token was given.
    pub(super) fn give_token(&mut self, role: &str, token: FencingToken, started: InstanceId) {
        let table = self.work.system.tables.tokens.clone();
        let key = token_key(role, token);
        let wrote = self.store.put(self.now, &table, &key, &wire::encode(&started.stamp)).is_ok();
        self.stats.own_writes_refused += u64::from(!wrote);
        self.work.note_tokens(&table, &Key::from(key));
    }

    /// Removes the tokens below that of an instance which has ended: those that stay are above it, and so is what comes.
    /// The first member of a converged view does so for all. Returns whether anything was removed.
    pub(super) fn remove_obsolete_tokens(&mut self) -> bool {
        if !self.tends_tokens() {
            return false;
        }
        let (drawn, given) = (&self.work.drawn, self.work.system.given());
        let picture = drawn.picture();
        let mut obsolete: Vec<(String, FencingToken)> = Vec::new();
        for (role, _) in given.iter() {
            let ended = given.ended(&picture, &drawn.assignment, role);
            let below = ended.into_iter().flat_map(|ended| given.obsolete(role, ended));
            obsolete.extend(below.map(|token| (role.to_owned(), token)));
        }
        obsolete.into_iter().fold(false, |any, (role, token)| any | self.remove_token(&role, token))
    }

    /// Removes the tokens of roles that are not asked for and that no node claims, once the clock alone is above them. To
    /// be called from time to time.
    pub(super) fn forget_tokens(&mut self) {
        if !self.tends_tokens() {
            return;
        }
        let memory_ms = u64::try_from(TOKEN_MEMORY.as_millis()).unwrap_or(u64::MAX);
        let young = self.store.estimated(self.now).as_millis().saturating_sub(memory_ms);
        let (drawn, system) = (&self.work.drawn, &self.work.system);
        let mut old: Vec<(String, FencingToken)> = Vec::new();
        for (role, tokens) in system.given().iter() {
            let asked = drawn.roles.binary_search_by(|spec| spec.name.as_str().cmp(role)).is_ok();
            if !asked && !system.claims().keys().any(|(claimed, _)| claimed == role) {
                let tokens = tokens.filter(|token| token.stamp.as_millis() < young);
                old.extend(tokens.map(|token| (role.to_owned(), token)));
            }
        }
        for (role, token) in old {
            self.remove_token(&role, token);
        }
    }

    /// Whether it falls to this node to remove tokens.
    fn tends_tokens(&self) -> bool {
        self.work.view().next() == Some(self.own) && self.work.converged() && self.leaving.is_none()
    }

    fn remove_token(&mut self, role: &str, token: FencingToken) -> bool {
        let table = self.work.system.tables.tokens.clone();
        let key = token_key(role, token);
        let removed = self.store.remove(self.now, &table, &key).is_ok();
        self.stats.own_writes_refused += u64::from(!removed);
        self.work.note_tokens(&table, &Key::from(key));
        removed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Input;
    use crate::engine::tests::{NOW, OWN, engine};
    use crate::roles::RoleSpec;
    use crate::time::{Now, Stamp};

    /// The instance that was started so many milliseconds after the beginning, with its first token.
    fn gives(engine: &mut Engine, role: &str, at_ms: u64) {
        let (stamp, replica) = (Stamp::from_millis(NOW.wall_ms + at_ms), OWN);
        engine.give_token(role, FencingToken { stamp, replica }, InstanceId { stamp, replica });
        engine.handle(NOW, Input::StoreChanged);
    }

    fn given(engine: &Engine, role: &str) -> Vec<u64> {
        let tokens = engine.work.system.given().iter().filter(|(given, _)| *given == role);
        tokens.flat_map(|(_, tokens)| tokens.map(|token| token.stamp.as_millis() - NOW.wall_ms)).collect()
    }

    fn after(engine: &mut Engine, minutes: u64) {
        let passed = Duration::from_secs(60 * minutes);
        let wall_ms = NOW.wall_ms + 60_000 * minutes;
        for settled in [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(20)] {
            let wall_ms = wall_ms + u64::try_from(settled.as_millis()).unwrap();
            engine.handle(Now { instant: NOW.instant + passed + settled, wall_ms }, Input::Deadline);
        }
    }

    #[test]
    fn of_those_that_have_ended_only_the_highest_is_kept() {
        let mut engine = engine(true);
        (1..=5).for_each(|at_ms| gives(&mut engine, "gate", at_ms));
        gives(&mut engine, "lamp", 1);
        assert_eq!(given(&engine, "gate"), [1, 2, 3, 4, 5]);
        after(&mut engine, 0);
        assert_eq!((given(&engine, "gate"), given(&engine, "lamp")), (vec![5], vec![1]));
    }

    #[test]
    fn tokens_of_roles_that_nobody_asks_for_are_kept_for_an_hour() {
        let mut engine = engine(true);
        engine.add_role(RoleSpec::new("gate")).unwrap();
        gives(&mut engine, "gate", 1);
        gives(&mut engine, "lamp", 1);
        after(&mut engine, 59);
        assert_eq!((given(&engine, "gate"), given(&engine, "lamp")), (vec![1], vec![1]));
        after(&mut engine, 61);
        assert_eq!((given(&engine, "gate"), given(&engine, "lamp")), (vec![1], vec![]));
    }
}
