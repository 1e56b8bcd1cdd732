//! Roles and labels in a file.

use super::Config;
use crate::roles::{Handover, PartitionPolicy, Restarts, RoleSpec};

#[test]
fn a_role_in_a_file_has_all_that_a_role_can_have() {
    let text = r#"
        labels = { zone = "a", disk = "ssd" }

        [[roles]]
        name = "gate-1"
        kind = "gate"
        arguments = "north"
        count = 3
        revision = 2
        requires = { disk = "ssd" }
        apart_from = ["siren"]
        spread_over = "zone"
        partition = { quorum = 3 }
        handover = "make_before_break"
        stop_grace_ms = 250

        [roles.restarts]
        max_failures = 0
        exclusion_ms = 5000

        [[roles]]
        name = "siren"
        kind = "siren"
        partition = "majority"
    "#;
    let config = Config::from_toml_str(text).unwrap();
    config.check().unwrap();
    let gate = RoleSpec::new("gate-1").kind("gate").arguments("north").count(3).revision(2);
    let gate = gate.only_on("disk", "ssd").apart_from("siren").spread_over("zone");
    let gate = gate.partition(PartitionPolicy::Quorum(3)).handover(Handover::MakeBeforeBreak);
    let restarts = Restarts { max_failures: 0, exclusion_ms: 5_000, ..Restarts::default() };
    let gate = gate.restarts(restarts).stop_grace(std::time::Duration::from_millis(250));
    let siren = RoleSpec::new("siren").partition(PartitionPolicy::Majority);
    assert_eq!(config.roles, [gate, siren]);
    assert_eq!(config.labels.len(), 2);
}

#[test]
fn a_wrong_field_of_a_role_or_a_label_is_named() {
    // What cannot be read is shown with its line.
    for (line, key, shown) in [
        ("count = -1", "count", "count = -1"),
        ("count = \"two\"", "count", "invalid type"),
        ("revision = 1.5", "revision", "invalid type"),
        ("requires = [\"zone\"]", "requires", "invalid type"),
        ("requires = { zone = 1 }", "requires", "invalid type"),
        ("apart_from = \"siren\"", "apart_from", "invalid type"),
        ("spread_over = [\"zone\"]", "spread_over", "invalid type"),
        ("partition = \"minority\"", "partition", "minority"),
        ("partition = { quorum = -1 }", "partition", "quorum"),
        ("handover = \"make-before-break\"", "handover", "make-before-break"),
        ("restarts = { max_failurs = 1 }", "restarts", "max_failurs"),
        ("stop_grace_ms = \"5s\"", "stop_grace_ms", "invalid type"),
        ("spread = \"zone\"", "spread", "unknown field"),
    ] {
        let text = format!("[[roles]]\nname = \"gate\"\nkind = \"gate\"\n{line}");
        let error = Config::from_toml_str(&text).unwrap_err();
        assert_eq!(error.field(), key, "{error}");
        assert!(error.to_string().contains(shown) && error.to_string().contains("line 4"), "{error}");
    }
    // What can, but makes no sense, when it is checked.
    for (line, shown) in [
        ("count = 0", "roles.gate: count"),
        ("requires = { zone = \"\" }", "roles.gate: requires"),
        ("apart_from = [\"\"]", "roles.gate: apart_from"),
        ("apart_from = [\"gate\"]", "roles.gate: apart_from"),
        ("spread_over = \"\"", "roles.gate: spread_over"),
        ("partition = { quorum = 0 }", "roles.gate: partition"),
        ("restarts = { backoff_first_ms = 20000 }", "roles.gate: restarts"),
    ] {
        let text = format!("[[roles]]\nname = \"gate\"\nkind = \"gate\"\n{line}");
        let error = Config::from_toml_str(&text).unwrap().check().unwrap_err();
        assert_eq!(error.field(), "roles", "{error}");
        assert!(error.to_string().starts_with(shown), "{error}");
    }
    let error = Config::from_toml_str("labels = { zone = \"\" }").unwrap().check().unwrap_err();
    assert_eq!(error.field(), "labels");
    assert_eq!(Config::from_toml_str("labels = [\"zone\"]").unwrap_err().field(), "labels");
}
