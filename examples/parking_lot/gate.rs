//! The gates: roles that take calls from any node, and how to call them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;
use unisono::cluster::Builder;
use unisono::{Cluster, Handover, Message, MessageError, RoleContext, RoleProtocol, RoleResult, RoleSpec};

use super::attendant::{self, Attendant};
use super::lot::{ATTENDANT, Car, Lot, Refusal, Rules, role_of};

/// How long whoever drives up to a gate waits, all attempts together.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long a gate waits for the attendant. Then whoever asked asks again.
const ATTENTION: Duration = Duration::from_secs(8);

/// How long a gate may take to say that it is there.
const ROLL: Duration = Duration::from_secs(5);

/// How many cars may wait in front of one gate. The others wait in its mailbox.
const WAITING: usize = 256;

/// What is said to a gate.
pub(crate) struct Gate;

/// To be answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// A car wants to come in.
    Enter { plate: String, car: Car },
    /// A car wants to go out; whether that was asked before.
    Exit { plate: String, again: bool },
    /// Are you there?
    Roll,
}

/// The answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It opened.
    Opened,
    /// It did not.
    Refused(Refusal),
    /// It is there.
    Here,
}

impl RoleProtocol for Gate {
    type Call = Call;
    type Reply = Answer;
    type Cast = ();
}

/// The name of the handler that tells how many cars a node knows of; nothing while it starts.
pub(crate) const CARS: &str = "cars";

/// Where the handlers of a node find the lot, once the node has started.
pub(crate) type Here = Arc<OnceLock<Lot>>;

/// What makes a node part of the car park: all that an application has to register.
pub(crate) fn car_park(builder: Builder, rules: Rules, here: Here) -> Builder {
    let gates = (1..=rules.gates).map(|gate| {
        let spec = RoleSpec::new(role_of(gate)).kind("gate").partition(rules.partition);
        // Two gates do no harm for a moment, since neither admits anybody; none would.
        spec.handover(Handover::MakeBeforeBreak).stop_grace(ATTENTION)
    });
    let builder = attendant::add_to(builder, rules);
    let builder = builder.handler(CARS, move |(): (), _| std::future::ready(here.get().map(|lot| lot.cars().len())));
    gates.fold(builder.role_kind("gate", move |context| gate(context, rules)), Builder::role)
}

/// What a gate does: it serves cars until the cluster wants it elsewhere, and then those that it began with. A real one
/// would drive its barrier here.
async fn gate(context: RoleContext, rules: Rules) -> RoleResult {
    let lot = Lot::open(context.cluster().clone(), rules)?;
    let mut mailbox = context.mailbox::<Gate>();
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = serving.join_next() => {}
            message = mailbox.next(), if serving.len() < WAITING => match message {
                Some(Message::Call(call, responder)) => {
                    let lot = lot.clone();
                    serving.spawn(async move { responder.reply(serve(&lot, call).await) });
                }
                Some(Message::Cast(())) => {}
                None => break,
            },
        }
    }
    while serving.join_next().await.is_some() {}
    Ok(())
}

async fn serve(lot: &Lot, call: Call) -> Answer {
    let outcome = match call {
        Call::Enter { plate, car } => {
            let attendant = lot.cluster().role::<Attendant>(ATTENDANT);
            let admitted = attendant.call_within((plate, car), ATTENTION).await;
            admitted.unwrap_or_else(|why| Err(not_served(&why)))
        }
        Call::Exit { plate, again } => lot.exit(&plate, again),
        Call::Roll => return Answer::Here,
    };
    outcome.map_or_else(Answer::Refused, |()| Answer::Opened)
}

fn not_served(why: &MessageError) -> Refusal {
    let text = why.to_string();
    if why.is_unbegun() { Refusal::Closed { why: text } } else { Refusal::Unsure { why: text } }
}

/// Brings a car to a gate. If it is not known whether that opened, because it or the attendant died in the middle, it is
/// asked again, for the same car.
pub(crate) async fn enter(lot: &Lot, plate: &str, car: Car) -> Result<(), Refusal> {
    lot.rules().has_gate(car.gate)?;
    let gate = car.gate;
    ask(lot, gate, |_| Call::Enter { plate: plate.to_owned(), car: car.clone() }).await
}

/// Brings a car to a gate to go out.
pub(crate) async fn exit(lot: &Lot, gate: u32, plate: &str) -> Result<(), Refusal> {
    lot.rules().has_gate(gate)?;
    ask(lot, gate, |again| Call::Exit { plate: plate.to_owned(), again }).await
}

async fn ask(lot: &Lot, gate: u32, call: impl Fn(bool) -> Call) -> Result<(), Refusal> {
    let gate = lot.cluster().role::<Gate>(role_of(gate));
    let until = Instant::now() + PATIENCE;
    let mut again = false;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let refusal = match gate.call_within(call(again), left).await {
            Ok(Answer::Opened | Answer::Here) => return Ok(()),
            Ok(Answer::Refused(why)) => why,
            Err(why) => not_served(&why),
        };
        let is_over = until <= Instant::now() || lot.cluster().status().phase == unisono::Phase::Left;
        if is_over || !matches!(refusal, Refusal::Unsure { .. }) {
            // Not begun the last time says nothing of the times before.
            return Err(match refusal {
                Refusal::Closed { why } if again => Refusal::Unsure { why },
                other => other,
            });
        }
        again = true;
        // The gate may be the one that is still there, and its attendant the one that is gone.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Who answered when all gates were called.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Roll {
    pub(crate) answered: Vec<u32>,
    pub(crate) missing: Vec<(u32, String)>,
    pub(crate) slowest: Duration,
}

/// Calls all gates at once.
pub(crate) async fn roll(cluster: &Cluster, gates: u32) -> Roll {
    let mut calls = JoinSet::new();
    for gate in 1..=gates {
        let role = cluster.role::<Gate>(role_of(gate));
        calls.spawn(async move {
            let began = Instant::now();
            (gate, role.call_within(Call::Roll, ROLL).await, began.elapsed())
        });
    }
    let mut roll = Roll::default();
    while let Some(called) = calls.join_next().await {
        let Ok((gate, outcome, took)) = called else { continue };
        roll.slowest = roll.slowest.max(took);
        match outcome {
            Ok(Answer::Here) => roll.answered.push(gate),
            Ok(other) => roll.missing.push((gate, format!("it says {other:?}"))),
            Err(why) => roll.missing.push((gate, why.to_string())),
        }
    }
    roll.answered.sort_unstable();
    roll.missing.sort_unstable();
    roll
}
