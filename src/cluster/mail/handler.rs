//! Named handlers: functions of a node that others call.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::Post;
use super::inbox::{Inbox, Item};
use super::packet::{self, NotBegun, Target};
use crate::driver::guard::caught;
use crate::id::ReplicaId;

/// So many calls of one handler are dealt with at once; more wait.
const AT_ONCE: usize = 256;

type Handled = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;
type Handler = Arc<dyn Fn(Bytes, ReplicaId) -> Result<Handled, String> + Send + Sync>;

/// The handlers that a builder collects.
#[derive(Clone, Default)]
pub(in crate::cluster) struct Handlers {
    by_name: BTreeMap<String, Handler>,
    /// The first name that was registered a second time; an error when the node starts.
    pub(in crate::cluster) twice: Option<String>,
}

impl Handlers {
    pub(in crate::cluster) fn add<Q, R, F, Fut>(&mut self, name: String, handler: F)
    where
        Q: DeserializeOwned,
        R: Serialize,
        F: Fn(Q, ReplicaId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request: Bytes, from| {
            let answer = handler(packet::decode(&request)?, from);
            Ok(Box::pin(async move { packet::encode(&answer.await) }))
        });
        if self.by_name.insert(name.clone(), handler).is_some() {
            self.twice.get_or_insert(name);
        }
    }

    pub(in crate::cluster) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Runs them until the node is gone.
    pub(in crate::cluster) fn serve(self, post: &Post) {
        for (name, handler) in self.by_name {
            if let Some(inbox) = post.inbox(Target::Handler(&name)) {
                tokio::spawn(serve(inbox, handler));
            }
        }
    }
}

async fn serve(inbox: Arc<Inbox>, handler: Handler) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = running.join_next(), if !running.is_empty() => {}
            item = inbox.next(), if running.len() < AT_ONCE => {
                // Those under way end with the node.
                let Some(item) = item else { return };
                running.spawn(handle(item, Arc::clone(&handler)));
            }
        }
    }
}

async fn handle(item: Item, handler: Handler) {
    let Item { mut body, caller: Some(caller), from, .. } = item else { return };
    let Ok(request) = body.encoded::<()>() else { return };
    // It is called here, so that its panic is this call's.
    let handled = caught(async move {
        match handler(request, from) {
            Ok(answer) => Ok(answer.await),
            Err(why) => Err(why),
        }
    });
    match handled.await {
        Ok(Ok(Ok(reply))) => caller.reply_encoded(reply),
        Ok(Ok(Err(why))) | Err(why) => caller.refuse(&why),
        Ok(Err(why)) => caller.not_begun(NotBegun::NotUnderstood(why), None),
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
