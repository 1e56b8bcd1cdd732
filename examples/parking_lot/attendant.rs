//! The attendant: the role that admits cars, one after the other, see [`lot`](super::lot).
//!
//! ```text
//!   starts ─▶ asks every node in sight for its cars, until all of them are known here ─▶ open ─▶ asked to end ─▶
//!             (starting: calls wait)                                      admits, confirms       confirms, ends
//! ```
//!
//! Cars are written one by one and confirmed in bunches: while one bunch is on its way to all nodes, the next one
//! gathers. So a call costs one round trip, and a thousand calls at once cost not many more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unisono::cluster::Builder;
use unisono::{
    Handover, Message, MessageError, NodeId, ReplicaId, Responder, RoleContext, RoleProtocol, RoleResult, RoleSpec,
    Visible,
};

use super::lot::{ATTENDANT, Car, Lot, Refusal, Rules};

/// How long all nodes may take to confirm a car. Who does not answer has to be taken for dead within that.
const CONFIRM: Duration = Duration::from_secs(5);

/// How long one node may take to tell its cars, before it is asked again.
const TELL: Duration = Duration::from_secs(1);

/// The first and the longest pause between rounds of asking.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// What gates say to the attendant.
pub(crate) struct Attendant;

impl RoleProtocol for Attendant {
    /// A car in front of a gate.
    type Call = (String, Car);
    type Reply = Result<(), Refusal>;
    type Cast = ();
}

/// What a node tells of itself when asked by the name of [`CARS`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Whom it sees.
    pub(crate) view: Vec<(NodeId, ReplicaId)>,
    /// The cars in its copy of the table.
    pub(crate) plates: BTreeSet<String>,
}

/// The name of the handler that tells [`Known`], or nothing while the node starts.
const CARS: &str = "cars";

/// Where the handler of a node finds the lot, once the node has started.
pub(crate) type Here = Arc<OnceLock<Lot>>;

/// What a node needs to host the attendant, and to be asked by it.
pub(crate) fn add_to(builder: Builder, rules: Rules, here: Here) -> Builder {
    let spec = RoleSpec::new(ATTENDANT).kind(ATTENDANT).partition(rules.partition);
    // It may have a bunch to confirm, and has another one by then.
    let spec = spec.handover(Handover::BreakBeforeMake).stop_grace(3 * CONFIRM);
    builder
        .role_kind(ATTENDANT, move |context| attend(context, rules))
        .role(spec)
        .handler(CARS, move |(): (), _| std::future::ready(here.get().map(known)))
}

/// What this node knows.
fn known(lot: &Lot) -> Known {
    // The view first: a car that comes after it came from somebody in it.
    let view = lot.view();
    Known { view, plates: lot.cars().iter().map(|(plate, _)| plate).collect() }
}

/// Asks a node what it knows; nothing while it starts.
pub(crate) async fn ask(lot: &Lot, node: &NodeId) -> Result<Option<Known>, MessageError> {
    lot.cluster().on_node(node).call_within(CARS, &(), TELL).await
}

/// A car that was written, and who waits to hear that it may come in.
struct Admission {
    plate: String,
    car: Car,
    responder: Responder<Result<(), Refusal>>,
}

async fn attend(context: RoleContext, rules: Rules) -> RoleResult {
    let starting = context.starting();
    let lot = Lot::open(context.cluster().clone(), rules)?;
    tokio::select! {
        biased;
        () = context.stopped() => return Ok(()),
        () = know_all(&lot) => drop(starting),
    }
    let mut mailbox = context.mailbox::<Attendant>();
    let mut is_open = true;
    let mut written: Vec<Admission> = Vec::new();
    let mut confirming = None;
    while is_open || !written.is_empty() || confirming.is_some() {
        if confirming.is_none() && !written.is_empty() {
            confirming = Some(Box::pin(confirm(&lot, std::mem::take(&mut written))));
        }
        let confirmed = async {
            match &mut confirming {
                Some(bunch) => bunch.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = confirmed => confirming = None,
            message = mailbox.next(), if is_open => match message {
                Some(Message::Call((plate, car), responder)) => match lot.admit(&plate, &car) {
                    Ok(()) => written.push(Admission { plate, car, responder }),
                    Err(why) => responder.reply(Err(why)),
                },
                Some(Message::Cast(())) => {}
                None => is_open = false,
            },
        }
    }
    Ok(())
}

/// Waits until all nodes hold these cars, and says that they may come in.
async fn confirm(lot: &Lot, bunch: Vec<Admission>) {
    let visible = lot.cluster().await_visible(Visible::All, CONFIRM).await;
    let visible = visible.map(drop).map_err(|why| why.to_string());
    // Those that went Down meanwhile are not waited for: what if they are the larger side?
    let in_order = lot.may_admit();
    for Admission { plate, car, responder } in bunch {
        let refusal = match (&visible, &in_order) {
            (Err(why), _) => Some(Refusal::Unconfirmed { plate: plate.clone(), why: why.clone() }),
            (_, Err(why)) => Some(why.clone()),
            _ => None,
        };
        match refusal {
            Some(why) => {
                lot.withdraw(&plate, &car);
                responder.reply(Err(why));
            }
            // It was withdrawn in an earlier bunch, if it was asked for twice, or let out.
            None if lot.cars().get(&plate).as_ref() != Some(&car) => {
                let why = "it was taken out again".to_owned();
                responder.reply(Err(Refusal::Unconfirmed { plate, why }));
            }
            None => responder.reply(Ok(())),
        }
    }
}

/// Waits until this node knows every car that any node in sight knows.
///
/// A node's first answer counts, if it sees nobody whom this node does not see: from then on nobody can give it cars of a
/// dead attendant but those who are asked too. Each of these cars must arrive here or vanish there. As no new ones are let
/// in meanwhile, and cars that go out vanish everywhere, that comes to an end however many go out.
async fn know_all(lot: &Lot) {
    let own = lot.cluster().replica();
    let mut unknown: BTreeMap<ReplicaId, BTreeSet<String>> = BTreeMap::new();
    let mut pause = PAUSES.0;
    loop {
        let view = lot.view();
        let others = || view.iter().filter(|(_, replica)| *replica != own);
        for (node, replica) in others() {
            let Ok(Some(told)) = ask(lot, node).await else { continue };
            // Another run of the node answers as itself, and does so next time.
            if !told.view.iter().any(|(_, seen)| seen == replica) || !told.view.iter().all(|seen| view.contains(seen)) {
                continue;
            }
            let unknown = unknown.entry(*replica).or_insert_with(|| told.plates.clone());
            unknown.retain(|plate| told.plates.contains(plate) && !lot.cars().contains_key(plate));
        }
        let knows = |replica| unknown.get(replica).is_some_and(BTreeSet::is_empty);
        if others().all(|(_, replica)| knows(replica)) && lot.view() == view {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}
