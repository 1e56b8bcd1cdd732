//! Real processes on the loopback interface: the example's program, from outside.

use std::process::Stdio;
use std::time::Duration;

use crate::support::stage::{Failure, Stage, all_see};
use crate::support::{parking_lot, play};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_script_of_the_example_succeeds_and_tells_every_step() {
    play(async {
        let mut script = tokio::process::Command::new(parking_lot());
        script.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(120), script.output());
        let output = output.await.map_err(|_| "the script did not end within 120 s")?.map_err(|why| why.to_string())?;
        let told = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}\n{complaint}");
        let steps = [
            "larry is alone and runs gate-1 gate-2 gate-3 gate-4",
            "each gate runs once",
            "ABC 123 came in by gate 1, let in at larry",
            "ABC 123 left, let out at harry",
            "every gate answers calls from every node",
            "a car came in and went out by every gate, asked for at every node",
            "153 cars came at once, at all nodes and by all gates: 98 were admitted to 98 spaces",
            "larry was killed with SIGKILL",
            "his gates run on the others",
            "the cars are all there",
            "larry is back, with all the cars",
            "who ran the attendant, was killed in a rush",
            "97 were admitted to 97 spaces",
            "all three left in order",
            "kill -9 → its gates run elsewhere",
        ];
        let mut rest = &*told;
        for step in steps {
            let (_, after) =
                rest.split_once(step).unwrap_or_else(|| panic!("not told, or not in order: {step}\n{told}"));
            rest = after;
        }
        Ok(())
    });
}

#[test]
fn a_script_whose_expectation_fails_says_which_and_exits_non_zero() {
    play(async {
        // With one space, the script's second car does not get in.
        let mut script = tokio::process::Command::new(parking_lot());
        script.args(["--spaces", "1"]).stdin(Stdio::null()).kill_on_drop(true);
        let output = script.output().await.map_err(|why| why.to_string())?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        let why = "FAILED: larry was told `enter 1 \"XYZ 789\"` and said: the lot is full: 1 cars on 1 spaces";
        assert!(complaint.contains(why), "{complaint}");
        Ok(())
    });
}

#[test]
fn a_node_that_cannot_start_says_why() {
    play(async {
        let mut node = tokio::process::Command::new(parking_lot());
        node.args(["node", "larry", "--net", "nowhere"]).stdin(Stdio::null()).kill_on_drop(true);
        let output = node.output().await.map_err(|why| why.to_string())?;
        assert_eq!(output.status.code(), Some(1));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.starts_with("larry: ") && complaint.contains("nowhere"), "{complaint}");
        Ok(())
    });
}

#[test]
fn no_more_cars_than_spaces_and_mistakes_are_answered_in_words() {
    play(async {
        let mut stage = pair("spaces", 2, "--spaces 2").await?;
        stage.order("larry", "enter 1 \"A 1\"").await?;
        stage.order("gary", "enter 2 \"B 2\"").await?;
        let both = |seen: &_| all_see(seen, &PAIR, "A 1") && all_see(seen, &PAIR, "B 2");
        stage.until("both see both cars", PATIENCE, both).await?;
        for (node, command, answer) in [
            ("larry", "enter 1 \"C 3\"", "the lot is full: 2 cars on 2 spaces"),
            ("gary", "enter 1 \"C 3\"", "the lot is full: 2 cars on 2 spaces"),
            ("gary", "enter 1 \"A 1\"", "A 1 is already inside"),
            ("larry", "enter 9 \"C 3\"", "gate 9: there is no such gate; there are 1 to 2"),
            ("larry", "exit 1 \"C 3\"", "C 3 is not inside"),
            ("larry", "open sesame", "open: there is no such command; try `help`"),
        ] {
            let said = stage.ask(node, command).await?.to_string();
            assert_eq!(said, answer, "{node}: {command}");
        }
        stage.order("larry", "exit 2 \"B 2\"").await?;
        stage.until("B 2 is gone", PATIENCE, |seen| PAIR.iter().all(|node| !all_see(seen, &[node], "B 2"))).await?;
        stage.order("gary", "enter 1 \"C 3\"").await?;
        assert!(!stage.seen()["larry"].overfull && !stage.seen()["gary"].overfull);
        Ok(())
    });
}

#[test]
fn who_leaves_in_order_hands_over_its_gates_and_its_cars() {
    play(async {
        let mut stage = pair("leave", 4, "").await?;
        stage.order("larry", "enter 1 \"A 1\"").await?;
        stage.leave("larry").await?;
        stage.settle("gary runs every gate", PATIENCE, &["gary"], 4).await?;
        let cars = stage.lot("gary").await?;
        assert_eq!(cars.iter().map(|car| car.plate.as_str()).collect::<Vec<_>>(), ["A 1"]);
        assert!(!stage.seen()["gary"].accused.contains("larry"), "leaving is not dying");
        Ok(())
    });
}

#[test]
fn every_question_is_answered_as_json() {
    play(async {
        let mut stage = pair("json", 4, "").await?;
        for (question, kind, field) in [
            ("members", "members", "members"),
            ("gates", "gates", "attendant"),
            ("roll", "roll", "answered"),
            ("cars-at gary", "cars_at", "cars"),
            ("rush 2", "rush", "admitted"),
            ("explain gate-1", "explained", "explanation"),
            ("what-if without gary", "moves", "moves"),
            ("lot", "lot", "cars"),
            ("snapshot", "snapshot", "snapshot"),
        ] {
            let answer: serde_json::Value = serde_json::from_str(&stage.ask("larry", question).await?.json()).unwrap();
            assert_eq!(answer["line"], kind);
            assert!(!answer[field].is_null(), "{answer}");
        }
        let who = stage.ask("larry", "cars-at mary").await?.to_string();
        assert!(who.contains("no node mary"), "{who}");
        Ok(())
    });
}

const PAIR: [&str; 2] = ["larry", "gary"];

/// Two nodes that agree, in a cluster of their own on the default port, which all tests share.
async fn pair(test: &str, gates: u32, options: &str) -> Result<Stage, Failure> {
    let mut stage = Stage::new();
    let cluster = format!("{test}-{}", std::process::id());
    for node in PAIR {
        let mut command = tokio::process::Command::new(parking_lot());
        command
            .args(["node", node, "--json", "--cluster", &cluster, "--gates", &gates.to_string()])
            .args(options.split_whitespace());
        stage.start(node, command)?;
    }
    stage.settle("two nodes meet", PATIENCE, &PAIR, gates).await?;
    Ok(stage)
}
