//! The stage itself, with shell scripts for actors: what waits on it must end when it should, and fail when it must.

use std::time::Duration;

use tokio::process::Command;

use crate::support::line::Line;
use crate::support::stage::{Stage, agree, all_see, run_once};
use crate::support::{play, throughout};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

/// An actor that says these lines and then answers every command with its own text.
fn actor(lines: &str) -> Command {
    let script = format!(
        "cat <<'END'\n{lines}\nEND\n\
         while read -r line; do\n\
         [ \"$line\" = leave ] && exit 0\n\
         echo \"{{\\\"line\\\":\\\"done\\\",\\\"what\\\":\\\"$line\\\"}}\"\ndone"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

const LARRY: &str = r#"{"line":"ready","node":"larry","address":"127.0.0.1:4871"}
{"line":"event","event":"role_started","role":"gate-1","token":{"stamp":"1","replica":"2"}}
{"line":"event","event":"role_started","role":"gate-2","token":{"stamp":"1","replica":"2"}}
{"line":"event","event":"converged","view":["larry"]}
{"line":"entered","plate":"ABC 123","gate":1,"by":"larry","entered_us":1000,"seen_us":3500}"#;

#[test]
fn a_wait_ends_with_the_line_that_fulfils_it() {
    play(async {
        let mut stage = Stage::new();
        stage.start("larry", actor(LARRY))?;
        stage.until("larry sees the car", LONG, |seen| all_see(seen, &["larry"], "ABC 123")).await?;
        let seen = stage.seen();
        assert!(agree(seen, &["larry"]) && run_once(seen, &["larry"], 2));
        assert!(!run_once(seen, &["larry"], 3) && !agree(seen, &["larry", "gary"]));
        assert_eq!(seen["larry"].cars["ABC 123"], Duration::from_micros(2500));
        assert_eq!(stage.ask("larry", "lot").await?.to_string(), "lot");
        stage.leave("larry").await
    });
}

#[test]
fn what_is_awaited_in_vain_is_named() {
    play(async {
        let mut stage = Stage::new();
        stage.start("larry", actor(LARRY))?;
        let why = stage.until("gary agrees", SHORT, |seen| agree(seen, &["gary"])).await.unwrap_err();
        assert!(why.contains("gary agrees"), "{why}");
        Ok(())
    });
}

#[test]
fn a_gate_that_runs_twice_is_not_once() {
    play(async {
        let mut stage = Stage::new();
        stage.start("larry", actor(LARRY))?;
        stage.start("gary", actor(LARRY))?;
        let said_all = |seen: &_| all_see(seen, &["larry", "gary"], "ABC 123");
        stage.until("both have said everything", LONG, said_all).await?;
        assert!(run_once(stage.seen(), &["gary"], 2) && !run_once(stage.seen(), &["larry", "gary"], 2));
        Ok(())
    });
}

#[test]
fn something_that_must_not_happen_is_noticed_when_it_does() {
    play(async {
        let mut stage = Stage::new();
        stage.start("larry", actor(r#"{"line":"event","event":"down","node":"gary","replica":"7"}"#))?;
        let why = throughout(&mut stage, "nobody dies", LONG, |seen| seen["larry"].down.is_empty()).await.unwrap_err();
        assert!(why.contains("nobody dies"), "{why}");
        throughout(&mut stage, "larry does not end", SHORT, |seen| !seen["larry"].ended).await
    });
}

#[test]
fn the_killed_say_nothing_more_and_those_who_come_back_start_afresh() {
    play(async {
        let mut stage = Stage::new();
        stage.start("larry", actor(LARRY))?;
        stage.until("larry is ready", LONG, |seen| seen["larry"].ready).await?;
        stage.kill("larry").await?;
        assert!(stage.seen().is_empty());
        stage.start("larry", actor(r#"{"line":"exited","plate":"DEF 456"}"#))?;
        assert_eq!(stage.ask("larry", "gates").await?.to_string(), "gates");
        assert!(!stage.seen()["larry"].ready, "that was the other one");
        Ok(())
    });
}

#[test]
fn nonsense_and_a_sudden_end_are_failures() {
    play(async {
        let mut stage = Stage::new();
        stage.start("larry", actor("hello"))?;
        let why = stage.until("larry is ready", LONG, |seen| seen["larry"].ready).await.unwrap_err();
        assert!(why.contains("larry said \"hello\""), "{why}");
        let mut stage = Stage::new();
        stage.start("gary", Command::new("true"))?;
        let why = stage.until("gary is ready", LONG, |seen| seen["gary"].ready).await.unwrap_err();
        assert!(why.starts_with("gary ended"), "{why}");
        assert!(stage.ask("gary", "lot").await.is_err());
        assert!(throughout(&mut stage, "gary is there", LONG, |_| true).await.is_err());
        let mut stage = Stage::new();
        let refusal = Line::Refused { why: "no".to_owned() }.json();
        stage.start("harry", actor(&refusal))?;
        stage.until("harry refuses", LONG, |seen| seen["harry"].answer.is_some()).await?;
        Ok(())
    });
}
