//! One start of a server, from the wait for its node to its end, whoever started it.
//!
//! ```text
//!   ready ─▶ is the table there? ─ no, and it is on us ─▶ created ─▶ init ─▶ call │ cast │ change ─▶ terminate
//!                    └──────────── yes ──────────────────────────────▲       ▲      one at a time
//!                                                     changes are kept from here on
//! ```

use super::context::Stop;
use super::creation::{self, Right};
use super::desk::Desk;
use super::door::Message;
use super::{DistrServer, ServerContext, ServerState};
use crate::cluster::role::describe;
use crate::cluster::{Change, Lagged, Scope, Watch};
use crate::driver::guard::caught;
use crate::table::TableValue;

type ValueOf<S> = <<S as DistrServer>::Value as TableValue>::Value;
type ChangeOf<S> = Result<Change<<S as DistrServer>::Key, ValueOf<S>>, Lagged>;
type Changes<S> = Option<Watch<<S as DistrServer>::Key, ValueOf<S>>>;

/// Builds a server and runs it until it is asked to end or fails; a panic is a failure. Whoever waits at the desk for an
/// answer has one when this returns. `judge` says what becomes of a server that failed.
pub(super) async fn live<S: DistrServer>(
    context: &ServerContext<S>,
    mut desk: Desk<S>,
    build: impl FnOnce() -> S,
    judge: impl FnOnce(&str) -> ServerState,
) -> Result<(), String> {
    let ended = caught(serve(context, build, &mut desk)).await.and_then(|ended| ended);
    let table = context.table().name();
    match &ended {
        Ok(()) => desk.close(ServerState::Stopped, ""),
        Err(why) if context.stop.is_requested() => {
            tracing::warn!(table, why, "a server failed while it ended");
            desk.close(ServerState::Stopped, why);
        }
        Err(why) => {
            tracing::warn!(table, why, "a server failed");
            desk.close(judge(why), why);
        }
    }
    ended
}

async fn serve<S: DistrServer>(
    context: &ServerContext<S>,
    build: impl FnOnce() -> S,
    desk: &mut Desk<S>,
) -> Result<(), String> {
    let mut server = build();
    let right = tokio::select! {
        biased;
        () = context.stop.requested() => return Ok(()),
        right = right(context) => right?,
    };
    if let Some(right) = right {
        server.created(context).await.map_err(|error| describe(&*error))?;
        right.record()?;
    }
    if context.stop.is_requested() {
        return Ok(());
    }
    let mut changes = context.shared.config().wants_changes().then(|| context.table().watch());
    server.init(context).await.map_err(|error| describe(&*error))?;
    context.shared.run();
    work(&mut server, context, desk, &mut changes).await?;
    desk.close(ServerState::Stopping, "");
    server.terminate(context).await;
    Ok(())
}

/// Waits until the table is created, or to be created here.
async fn right<S: DistrServer>(context: &ServerContext<S>) -> Result<Option<Right>, String> {
    let (cluster, table) = (context.cluster(), context.table());
    match table.scope() {
        Scope::Local => Ok(creation::own_right(&cluster.node, table.name()).await),
        Scope::Replicated => creation::right(cluster, table.name()).await,
    }
}

/// Deals with one thing after the other until asked to end.
async fn work<S: DistrServer>(
    server: &mut S,
    context: &ServerContext<S>,
    desk: &mut Desk<S>,
    changes: &mut Changes<S>,
) -> Result<(), String> {
    let mut changes_first = false;
    loop {
        // Neither the callers nor the changes can keep the others waiting for ever.
        changes_first = !changes_first;
        let done = match next(&context.stop, desk, changes, changes_first).await {
            Next::Stop => return Ok(()),
            Next::Message(Message::Call(call, answer)) => {
                desk.take(answer);
                server.handle_call(call, context).await.map(|reply| desk.answer(reply))
            }
            Next::Message(Message::Cast(cast)) => server.handle_cast(cast, context).await,
            Next::Change(change) => server.handle_change(change, context).await,
        };
        done.map_err(|error| describe(&*error))?;
    }
}

enum Next<S: DistrServer> {
    Stop,
    Message(Message<S>),
    Change(ChangeOf<S>),
}

/// What is there, or comes first. Cancel safe. Of several the order decides and not chance, so that a simulated run repeats.
async fn next<S: DistrServer>(
    stop: &Stop,
    desk: &mut Desk<S>,
    changes: &mut Changes<S>,
    changes_first: bool,
) -> Next<S> {
    let change = async {
        match changes {
            Some(watch) => match watch.next().await {
                Some(change) => change,
                // The node is gone, and who runs this will notice.
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    };
    if changes_first {
        tokio::select! {
            biased;
            () = stop.requested() => Next::Stop,
            change = change => Next::Change(change),
            message = desk.next() => Next::Message(message),
        }
    } else {
        tokio::select! {
            biased;
            () = stop.requested() => Next::Stop,
            message = desk.next() => Next::Message(message),
            change = change => Next::Change(change),
        }
    }
}
