//! Fencing tokens that were given, as rows of a system table: written with each start and each raise, removed when they say
//! nothing any more.

use super::Engine;
use crate::roles::{FencingToken, InstanceId, TOKEN_MEMORY, token_key};
use crate::store::Key;
use crate::wire;

impl Engine {
    /// Tells all members that a token was given, and removes those that it makes obsolete.
    pub(super) fn give_token(&mut self, role: &str, token: FencingToken, started: InstanceId) {
        let table = self.work.system.tables.tokens.clone();
        let key = token_key(role, token);
        let wrote = self.store.put(self.now, &table, &key, &wire::encode(&started.stamp)).is_ok();
        self.stats.own_writes_refused += u64::from(!wrote);
        self.work.note_tokens(&table, &Key::from(key));
        let (drawn, given) = (&self.work.drawn, self.work.system.given());
        let Some(ended) = given.ended(&drawn.picture(), &drawn.assignment, role) else { return };
        let obsolete: Vec<FencingToken> = given.obsolete(role, ended).collect();
        obsolete.into_iter().for_each(|token| self.remove_token(role, token));
    }

    /// Removes the tokens of roles that are not asked for and that no node claims any more, once the clock alone is above
    /// them. The first member of a converged view does so for all. To be called from time to time.
    pub(super) fn forget_tokens(&mut self) {
        let is_first = self.work.view().next() == Some(self.own);
        if !is_first || !self.work.converged() || self.leaving.is_some() {
            return;
        }
        let memory_ms = u64::try_from(TOKEN_MEMORY.as_millis()).unwrap_or(u64::MAX);
        let young = self.store.estimated(self.now).as_millis().saturating_sub(memory_ms);
        let mut old = Vec::new();
        for (role, tokens) in self.work.system.given().iter() {
            let asked = self.work.drawn.roles.binary_search_by(|spec| spec.name.as_str().cmp(role)).is_ok();
            if !asked && !self.work.system.claims().keys().any(|(claimed, _)| claimed == role) {
                old.extend(
                    tokens.filter(|token| token.stamp.as_millis() < young).map(|token| (role.to_owned(), token)),
                );
            }
        }
        old.into_iter().for_each(|(role, token)| self.remove_token(&role, token));
    }

    fn remove_token(&mut self, role: &str, token: FencingToken) {
        let table = self.work.system.tables.tokens.clone();
        let key = token_key(role, token);
        let removed = self.store.remove(self.now, &table, &key).is_ok();
        self.stats.own_writes_refused += u64::from(!removed);
        self.work.note_tokens(&table, &Key::from(key));
    }
}
