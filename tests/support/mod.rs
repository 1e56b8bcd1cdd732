//! What the tests with real processes share: the example's program, its nodes on a stage, and hosts to put them on.

#![allow(dead_code, reason = "each test target uses a part of it")]

pub(crate) mod lab;
#[path = "../../examples/parking_lot/line.rs"]
pub(crate) mod line;
#[path = "../../examples/parking_lot/stage.rs"]
pub(crate) mod stage;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use stage::{Failure, Seens, Stage};

/// The path of the example's program, which is built first: cargo does so for `cargo test`, but not for
/// `cargo test --test hosts`, and a stale one would test yesterday's code.
pub(crate) fn parking_lot() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/all-0123 → target/<profile>/examples/parking_lot
    let profile = this.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "parking_lot", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    cargo.arg("--target-dir").arg(profile.parent().expect("target"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.stdin(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "the example does not build: {status:?}");
    profile.join("examples").join("parking_lot")
}

/// Listens for a while, in which a condition must hold all the time and nobody may end.
pub(crate) async fn throughout(
    stage: &mut Stage,
    what: &str,
    span: Duration,
    condition: impl Fn(&Seens) -> bool,
) -> Result<(), Failure> {
    let failed = stage.until(&format!("not: {what}"), span, |seen| !condition(seen)).await.is_ok();
    if failed || stage.seen().values().any(|seen| seen.ended) {
        return Err(format!("not throughout {span:?}: {what}; seen: {:#?}", stage.seen()));
    }
    Ok(())
}

/// Runs a test on an executor of its own, and fails with the sentence of the first expectation that failed.
pub(crate) fn play(test: impl Future<Output = Result<(), Failure>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Err(why) = runtime.block_on(test) {
        panic!("{why}");
    }
}

/// Prints a line that is seen even when the test passes, unlike what the printing macros print.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Figures as a line: least, median and greatest of some spans.
pub(crate) fn spans(what: &str, spans: &[Duration]) -> String {
    let ms = |span: Option<&Duration>| span.map_or(0.0, |span| span.as_secs_f64() * 1000.0);
    let [least, middle, most] = [spans.iter().min(), Some(&median(spans)), spans.iter().max()].map(ms);
    format!("{what:48} min {least:8.1}  median {middle:8.1}  max {most:8.1} ms  ({} times)", spans.len())
}

/// The middle one, the upper of two.
pub(crate) fn median(spans: &[Duration]) -> Duration {
    let mut sorted = spans.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
