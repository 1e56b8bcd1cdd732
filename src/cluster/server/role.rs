//! A server as a role: it runs where the role runs, and the role's supervision restarts it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Stop;
use super::desk::{Desk, Outside};
use super::door::{Answer, Answers, Message};
use super::life::live;
use super::{CallError, DistrServer, ServerContext, ServerHandle, ServerLookupError, ServerState};
use crate::cluster::mail::{self, Mailbox, Responder};
use crate::cluster::{Cluster, RoleContext, RoleResult};

/// What gives a server the messages to its role.
pub(in crate::cluster) struct Reached<S: DistrServer>(fn(&RoleContext) -> Box<dyn Outside<S>>);

/// The messages of other nodes, for a server whose messages can be encoded.
pub(in crate::cluster) fn reached<S: DistrServer>() -> Reached<S>
where
    S::Call: Serialize + DeserializeOwned,
    S::Reply: Serialize + DeserializeOwned,
    S::Cast: Serialize + DeserializeOwned,
{
    Reached(|context| Box::new(context.mailbox::<S>()))
}

impl<S: DistrServer> Outside<S> for Mailbox<S>
where
    S::Call: Serialize + DeserializeOwned,
    S::Reply: Serialize + DeserializeOwned,
    S::Cast: Serialize + DeserializeOwned,
{
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Message<S>>> + Send + '_>> {
        Box::pin(async {
            let message = Mailbox::next(self).await?;
            Some(match message {
                mail::Message::Call(call, responder) => Message::Call(call, Answer::Role(Box::new(responder))),
                mail::Message::Cast(cast) => Message::Cast(cast),
            })
        })
    }
}

impl<R: Serialize + Send + 'static> Answers<R> for Responder<R> {
    fn is_gone(&self) -> bool {
        Responder::is_gone(self)
    }

    fn answer(self: Box<Self>, answer: Result<R, CallError>) {
        match answer {
            Ok(reply) => self.reply(reply),
            Err(error) => self.refuse(error.to_string()),
        }
    }
}

/// The task of a role that is a server, and of one that `reached` gives the messages to the role.
pub(in crate::cluster) async fn as_role<S, F>(
    factory: Arc<F>,
    reached: Option<Reached<S>>,
    context: RoleContext,
) -> RoleResult
where
    S: DistrServer,
    F: Fn(&RoleContext) -> S,
{
    let starting = context.starting();
    let cluster = context.cluster().clone();
    let server = factory(&context);
    let config = server.config();
    config.check()?;
    let table = cluster.table(config.table().clone())?;
    let node = &cluster.node;
    let shared = node.servers.role(context.role(), config, table, node.local.gone());
    let desk = Desk::open(&shared).with_outside(reached.map(|Reached(reached)| reached(&context)));
    let context = ServerContext { cluster: cluster.clone(), shared, stop: Stop::Role(context) };
    let judge = |why: &str| ServerState::Restarting { why: why.to_owned() };
    let doors = context.shared.doors();
    let up = async {
        let _ = doors.wait_for(|door| door.state == ServerState::Running).await;
        drop(starting);
        std::future::pending().await
    };
    tokio::select! {
        biased;
        ended = live(&context, desk, || server, judge) => Ok(ended?),
        never = up => never,
    }
}

impl Cluster {
    /// The server that a role is, while the role runs on this node: see
    /// [`Builder::server_kind`](super::super::Builder::server_kind). The handle outlives restarts of the role on this node;
    /// when the role has moved away, its calls say so.
    ///
    /// # Errors
    ///
    /// [`ServerLookupError`] if it does not run here now, or is another server than `S`.
    pub fn server<S: DistrServer>(&self, role: &str) -> Result<ServerHandle<S>, ServerLookupError> {
        self.node.servers.of_role(role).map(ServerHandle::new)
    }
}
