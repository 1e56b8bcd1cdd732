//! The attendant: the role that admits cars, one after the other, see [`lot`](super::lot).
//!
//! ```text
//!   starts ─────────────────────────────────────▶ open ───────────────▶ asked to end ─────────────▶ ends
//!           until it knows what all others know         admits, confirms               confirms
//!           (calls wait)
//! ```
//!
//! Cars are written one by one and confirmed in bunches: while one bunch is on its way to all nodes, the next one
//! gathers. So a call costs one round trip, and a thousand calls at once cost not many more.

use std::time::Duration;

use unisono::cluster::Builder;
use unisono::{ConvergeError, Handover, Message, Responder, RoleContext, RoleProtocol, RoleResult, RoleSpec, Visible};

use super::lot::{ATTENDANT, Car, Lot, Refusal, Rules};

/// How long all nodes may take to confirm a car. Who does not answer has to be taken for dead within that.
const CONFIRM: Duration = Duration::from_secs(5);

/// How long the nodes may take to become equal, before it is said who stands in the way, and waited for on.
const EQUAL: Duration = Duration::from_secs(10);

/// What gates say to the attendant.
pub(crate) struct Attendant;

impl RoleProtocol for Attendant {
    /// A car in front of a gate.
    type Call = (String, Car);
    type Reply = Result<(), Refusal>;
    type Cast = ();
}

/// What a node needs to host the attendant.
pub(crate) fn add_to(builder: Builder, rules: Rules) -> Builder {
    let spec = RoleSpec::new(ATTENDANT).kind(ATTENDANT).partition(rules.partition);
    // It may have a bunch to confirm, and has another one by then.
    let spec = spec.handover(Handover::BreakBeforeMake).stop_grace(3 * CONFIRM);
    builder.role_kind(ATTENDANT, move |context| attend(context, rules)).role(spec)
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
    loop {
        tokio::select! {
            biased;
            () = context.stopped() => return Ok(()),
            equal = lot.cluster().tables_converged(EQUAL) => match equal {
                Ok(()) => break,
                Err(gone @ ConvergeError::Gone) => return Err(gone.into()),
                Err(why) => tracing::warn!(%why, "the attendant does not know yet what all others know"),
            }
        }
    }
    drop(starting);
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
