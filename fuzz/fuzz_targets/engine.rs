//! Bytes as everything that can happen to engines: what is true (time, arrivals in any order, losses, cuts, restarts,
//! writes, wrong clocks, tasks that fail) and what is not (frames and reports out of nowhere, streams that close twice).
//!
//! ```text
//! cargo +nightly fuzz run engine
//!
//! what happens (1) its arguments (1 each, or a length and bytes) | … | …
//! ```
//!
//! Nothing panics; no deadline is due for ever; what is said and stored is bounded by what came in; no role is started
//! beside itself, nor under a token that is not above the last (see `stage`). The same bytes make the engines say the
//! same. And if all that they were told was true, they become one cluster with one instance of the role in the end.

#![no_main]

mod forged;
mod process;
mod stage;

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use unisono::engine::{Command, Input, RoleReport, StreamId};
use unisono::replication;
use unisono::store::Row;
use unisono::time::Stamp;
use unisono::wire::{self, Envelope};
use unisono::{FencingToken, ReplicaId};

use process::{CLUSTER, ROLE, address};
use stage::Stage;

/// The kind of datagrams and frames that carry rows.
const ROWS: u8 = 2;

/// Within this time after the hurting ended, the two are one.
const HEALS_WITHIN: Duration = Duration::from_secs(60);

fuzz_target!(|data: &[u8]| {
    let told = play(data);
    assert_eq!(told, play(data), "the same inputs make for different outputs");
});

fn play(data: &[u8]) -> u64 {
    let mut stage = Stage::new();
    let mut script = Script { bytes: data };
    let mut all_true = true;
    while let Some(what) = script.bytes.split_off_first() {
        all_true &= step(&mut stage, *what, &mut script);
    }
    stage.arrives();
    for _ in 0..8 {
        stage.goes_on();
    }
    if all_true {
        heals(&mut stage);
    }
    stage.hash()
}

fn heals(stage: &mut Stage) {
    stage.apart = false;
    let until = stage.instant + HEALS_WITHIN;
    let mut look = stage.instant;
    while !stage.is_one() {
        // Discovery never stops: every second while alone.
        if stage.instant >= look {
            look = stage.instant + Duration::from_secs(1);
            for at in [0, 1] {
                stage.hears(at, Input::Discovered { address: address(1 - at) });
            }
        }
        assert!(stage.instant < until, "{:#?}", stage.nodes.each_ref().map(|node| node.engine.status()));
        stage.goes_on();
    }
    let settled = stage.instant + Duration::from_secs(1);
    while stage.instant < settled {
        stage.goes_on();
    }
    let running = stage.nodes.iter().filter(|node| node.tasks.contains_key(ROLE)).count();
    assert!(running <= 1, "{running} instances");
}

/// Lets one thing happen; returns whether it was something that can happen in truth.
fn step(stage: &mut Stage, what: u8, script: &mut Script<'_>) -> bool {
    let at = usize::from(what >> 7);
    match what & 0x7f {
        0..8 => _ = (0..=what % 8).all(|_| stage.stream_input(at)),
        8..12 => _ = stage.datagram(at, script.byte().into()),
        12 => _ = with_datagram(stage, at, script, |datagrams, which| drop(datagrams.remove(which))),
        13 => _ = with_datagram(stage, at, script, |datagrams, which| datagrams.push(datagrams[which].clone())),
        14..20 => stage.arrives(),
        20..28 => stage.passes(script.span()),
        28..36 => (0..=script.byte() % 32).for_each(|_| stage.goes_on()),
        36 => stage.instant = stage.instant + script.span(),
        37 => stage.nodes[at].skew_ms = script.skew(),
        38..44 => {
            let (key, length) = (script.byte() % 8, usize::from(script.byte()));
            stage.writes(at, key, Some(if length > 250 { length * 100 } else { length }));
        }
        44..46 => stage.writes(at, script.byte() % 8, None),
        46..48 => _ = stage.report(at),
        48 => fails(stage, at, script),
        49 => stage.hears(at, Input::Command(Command::AwaitConverged { request: (script.byte() % 4).into() })),
        50 => stage.hears(at, Input::Command(Command::Forget { request: (script.byte() % 4).into() })),
        51 => stage.breaks(),
        52 => stage.hears(at, Input::Unreachable { to: address(usize::from(script.byte() % 2)) }),
        53..56 => stage.hears(at, Input::Discovered { address: address(1 - at) }),
        56 => {
            stage.apart = !stage.apart;
            stage.breaks();
            stage.nodes.iter_mut().for_each(|node| node.datagrams.clear());
        }
        57 => stage.restarts(at),
        58 => stage.deadlines(at),
        59 => stage.hears(at, Input::Deadline),
        60 => stage.hears(at, Input::StoreChanged),
        untrue => {
            lie(stage, at, untrue, script);
            return false;
        }
    }
    true
}

fn with_datagram(stage: &mut Stage, at: usize, script: &mut Script<'_>, act: impl FnOnce(&mut Vec<Input>, usize)) {
    let datagrams = &mut stage.nodes[at].datagrams;
    if !datagrams.is_empty() {
        act(datagrams, usize::from(script.byte()) % datagrams.len());
    }
}

/// A task ends by itself.
fn fails(stage: &mut Stage, at: usize, script: &mut Script<'_>) {
    if let Some((role, token)) = stage.nodes[at].tasks.pop_first() {
        let why = "x".repeat(script.byte().into());
        stage.hears(at, Input::Role(RoleReport::Failed { role, token, why }));
    }
}

/// What does not happen, or only where somebody means harm. (To leave is true, but then the two do not become one.)
fn lie(stage: &mut Stage, at: usize, what: u8, script: &mut Script<'_>) {
    let from = address(1 - at);
    match what % 12 {
        0 => {
            let (stream, kind) = (script.stream(), script.byte());
            // The first frame of a stream begins as a datagram does.
            let is_first = kind >= 128;
            let mut frame = if is_first { wire::open(kind % 5) } else { wire::open_frame(kind % 5) };
            frame.extend_from_slice(&script.bytes());
            let bytes = if is_first { wire::seal(frame) } else { wire::seal_frame(frame) };
            stage.hears(at, Input::Frame { stream, bytes });
        }
        1 => {
            let (kind, sender) = (script.byte() % 5, ReplicaId((script.byte() % 5).into()));
            let mut datagram = Envelope { kind, cluster: wire::cluster_hash(CLUSTER), sender }.open();
            datagram.extend_from_slice(&script.bytes());
            stage.hears(at, Input::Datagram { from, bytes: wire::seal(datagram) });
        }
        2 => stage.hears(at, Input::Flushed { stream: script.stream() }),
        3 => stage.hears(at, Input::Closed { stream: script.stream() }),
        4 => stage.hears(at, Input::Connected { stream: script.stream() }),
        5 => stage.hears(at, Input::ConnectFailed { stream: script.stream(), refused: script.byte() % 2 == 0 }),
        6 => stage.hears(at, Input::Accepted { stream: script.stream(), from }),
        7 => {
            let report = script.report(stage, at);
            stage.hears(at, Input::Role(report));
        }
        8 => {
            let command = Command::Leave { request: 7, patience_ms: script.byte().into() };
            stage.hears(at, Input::Command(command));
        }
        9 => spoil(stage.nodes[at].streams.iter_mut().find(|input| matches!(input, Input::Frame { .. })), script),
        10 => {
            let rows = (0..=script.byte() % 4).map(|_| forged::row(&mut || script.byte())).collect::<Vec<_>>();
            tell(stage, at, script, &rows);
        }
        _ => spoil(stage.nodes[at].datagrams.last_mut(), script),
    }
}

/// Rows come in from a peer: in a datagram, or on any stream.
fn tell(stage: &mut Stage, at: usize, script: &mut Script<'_>, rows: &[Row]) {
    if script.byte() % 4 > 0 {
        let sender = stage.nodes[1 - at].engine.replica();
        let cluster = wire::cluster_hash(CLUSTER);
        let open = || Envelope { kind: ROWS, cluster, sender }.open();
        for body in replication::pack(rows, wire::MAX_BODY, open).bodies {
            stage.hears(at, Input::Datagram { from: address(1 - at), bytes: wire::seal(body) });
        }
    } else {
        let (stream, open) = (script.stream(), || wire::open_frame(ROWS));
        for body in replication::pack(rows, wire::MAX_FRAME - open().len(), open).bodies {
            stage.hears(at, Input::Frame { stream, bytes: wire::seal_frame(body) });
        }
    }
}

/// Exchanges some bytes of what is under way.
fn spoil(input: Option<&mut Input>, script: &mut Script<'_>) {
    let Some(Input::Frame { bytes, .. } | Input::Datagram { bytes, .. }) = input else { return };
    let (place, by) = (usize::from(script.byte()), script.bytes());
    let mut spoilt = bytes.to_vec();
    let place = place % (spoilt.len() + 1);
    let end = spoilt.len().min(place + by.len());
    spoilt.splice(place..end, by);
    *bytes = spoilt.into();
}

/// What the bytes say next; zeroes when they are used up.
struct Script<'a> {
    bytes: &'a [u8],
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.split_off_first().copied().unwrap_or_default()
    }

    fn bytes(&mut self) -> Bytes {
        let length = usize::from(self.byte()).min(self.bytes.len());
        self.bytes.split_off(..length).map_or_else(Bytes::new, Bytes::copy_from_slice)
    }

    /// From a nanosecond to hours.
    fn span(&mut self) -> Duration {
        let byte = self.byte();
        let times = u64::from(byte >> 4) + 1;
        let unit = [1, 1_000, 50_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000, 1_000_000_000, 5_000_000_000]
            .get(usize::from(byte & 0xf));
        Duration::from_nanos(unit.copied().unwrap_or(60_000_000_000 << (byte & 7)) * times)
    }

    /// From a millisecond to days and to the beginning of time, either way.
    fn skew(&mut self) -> i64 {
        let byte = self.byte();
        let by = match byte & 0x7f {
            0x7f => i64::MIN / 2,
            exponent => 1_i64 << (exponent % 30),
        };
        if byte >> 7 == 0 && by > 0 { -by } else { by }
    }

    /// Small numbers are those that are there.
    fn stream(&mut self) -> StreamId {
        let byte = self.byte();
        StreamId(if byte == 255 { u64::MAX } else { (byte % 32).into() })
    }

    fn report(&mut self, stage: &Stage, at: usize) -> RoleReport {
        let byte = self.byte();
        let role = if byte & 4 == 0 { ROLE.to_owned() } else { "none".to_owned() };
        let forged = FencingToken { stamp: Stamp(u64::from(byte) << 56), replica: ReplicaId(1) };
        let token = stage.nodes[at].tasks.get(&role).copied().filter(|_| byte & 8 == 0).unwrap_or(forged);
        match byte % 3 {
            0 => RoleReport::Running { role, token },
            1 => RoleReport::stopped(role, token),
            _ => RoleReport::Failed { role, token, why: "x".repeat(byte.into()) },
        }
    }
}
