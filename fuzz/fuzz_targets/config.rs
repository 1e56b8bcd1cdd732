//! Any bytes as configuration: as a TOML file, as variables of the environment, and as one above the other. Nothing
//! panics, a refusal says something, and what is accepted is still accepted, and the same, when it was written to a
//! file and read again.
//!
//! ```text
//! cargo +nightly fuzz run config
//!
//! TOML text 0 NAME=value 0 NAME=value …        0: a zero byte, which neither a file nor a variable can hold
//! ```

#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use unisono::store::TableName;
use unisono::{Config, ConfigError, NodeId};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let variables: Vec<(&OsStr, &OsStr)> = parts.map(variable).collect();
    let file = Config::from_toml_str(&text);
    look_at(&file);
    for below in [Config::default(), file.unwrap_or_default()] {
        let config = below.with_env(variables.iter().copied());
        look_at(&config);
        if let Ok(config) = config {
            // Variables say all that they say the first time.
            assert_eq!(config.clone().with_env(variables.iter().copied()).as_ref(), Ok(&config));
        }
    }
    let _ = NodeId::new(&text).map(|node| assert_eq!(node.as_str().parse(), Ok(node)));
    let _ = TableName::new(&text).map(|table| assert_eq!(TableName::new(table.as_str()), Ok(table)));
});

fn variable(text: &[u8]) -> (&OsStr, &OsStr) {
    let at = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    let (name, value) = text.split_at(at);
    (OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default()))
}

/// Writes and reads again what was read; and what passes the checks passes them again.
fn look_at(config: &Result<Config, ConfigError>) {
    let config = match config {
        Ok(config) => config,
        Err(error) => return says_something(error),
    };
    // TOML has no number above that of a signed word, so not every value that was never checked can be written.
    let written = toml::to_string(config);
    if let Ok(text) = &written {
        assert_eq!(Config::from_toml_str(text).as_ref(), Ok(config), "{text}");
    }
    match config.check() {
        Ok(()) => assert!(written.is_ok(), "{config:?} passes and cannot be written: {written:?}"),
        Err(error) => {
            assert!(!error.field().is_empty(), "{error}");
            says_something(&error);
        }
    }
}

fn says_something(error: &ConfigError) {
    assert!(!error.to_string().trim().is_empty());
    assert!(error.to_string().len() < 1 << 20);
    let _ = (error.field(), format!("{error:?}"));
}
