//! Who may import whom (the design, chapter 2), checked against the text of the source.
//!
//! Every mention of another room counts, also in tests beside the code: `use crate::store::Store`, `crate::wire::X`,
//! `use crate::{id, time}`, `super::super::wire`. Comments and string literals do not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each room may import. A new edge is a decision: it belongs here, and into the design, or nowhere.
const ALLOWED: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("time", &[]),
    // Which rules are broken on purpose: nothing in production.
    ("sabotage", &[]),
    ("crdt", &["id", "time"]),
    // Siblings: how large a key may be is the store's to say, how large a frame is the wire's. Whoever puts rows into
    // frames sees both, and makes sure that they fit.
    ("wire", &["crdt", "id", "time"]),
    ("store", &["crdt", "id", "sabotage", "time"]),
    ("membership", MIDDLE),
    ("convergence", MIDDLE),
    ("replication", MIDDLE),
    ("roles", MIDDLE),
    ("signals", MIDDLE),
    ("table", MIDDLE),
    ("engine", ENGINE),
    ("discovery", &["id", "time", "wire"]),
    ("driver", DRIVER),
    ("cluster", CLUSTER),
    ("testkit", TESTKIT),
];

/// Siblings: none of them is in the others' list.
const MIDDLE: &[&str] = &["crdt", "id", "sabotage", "store", "time", "wire"];
const ENGINE: &[&str] = &[
    "convergence",
    "crdt",
    "id",
    "membership",
    "replication",
    "roles",
    "sabotage",
    "signals",
    "store",
    "table",
    "time",
    "wire",
];
const DRIVER: &[&str] = &[
    "convergence",
    "crdt",
    "discovery",
    "engine",
    "id",
    "membership",
    "replication",
    "roles",
    "signals",
    "store",
    "table",
    "time",
    "wire",
];
const CLUSTER: &[&str] = &[
    "convergence",
    "crdt",
    "discovery",
    "driver",
    "engine",
    "id",
    "membership",
    "replication",
    "roles",
    "signals",
    "store",
    "table",
    "time",
    "wire",
];

/// The engine and all below. For what is above it, see `WHOLE_NODES`.
const TESTKIT: &[&str] = &[
    "convergence",
    "crdt",
    "engine",
    "id",
    "membership",
    "replication",
    "roles",
    "sabotage",
    "signals",
    "store",
    "table",
    "time",
    "wire",
];

/// Only where whole nodes are put on the simulated network does the testkit see the public face and parts of the driver.
const WHOLE_NODES: (&str, &[&str]) = ("testkit/cluster/", &["cluster", "driver"]);

/// A mention of one room in a file of another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Edge {
    file: String,
    from: String,
    to: String,
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    let files = sources();
    let rooms: BTreeSet<&str> = ALLOWED.iter().map(|(room, _)| *room).collect();
    for (file, _) in &files {
        let room = room_of(file);
        assert!(room.is_empty() || rooms.contains(room.as_str()), "src/{file}: the room `{room}` is not in the list");
    }
    let there: BTreeSet<String> = files.iter().map(|(file, _)| room_of(file)).collect();
    let gone: Vec<&&str> = rooms.iter().filter(|room| !there.contains(**room)).collect();
    assert!(gone.is_empty(), "rooms in the list that are not there: {gone:?}");
    let lib = &files.iter().find(|(file, _)| file == "lib.rs").unwrap().1;
    let re_exports = re_exports(lib);
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|(file, text)| edges(file, text))
        .map(|edge| Edge { to: re_exports.get(&edge.to).cloned().unwrap_or(edge.to), ..edge })
        .filter(|edge| !is_allowed(edge))
        .map(|edge| format!("src/{}: {} → {}", edge.file, edge.from, edge.to))
        .collect();
    assert!(wrong.is_empty(), "edges that are not allowed (the design, chapter 2):\n{}", wrong.join("\n"));
}

#[test]
fn every_source_file_says_what_lives_in_it() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(file, _)| format!("src/{file}"))
        .collect();
    assert!(silent.is_empty(), "these files do not begin with `//!`:\n{}", silent.join("\n"));
}

/// A checker that finds nothing is worth nothing: each way to write an edge must be found, and what is none must not.
#[test]
fn the_checker_finds_planted_edges() {
    let found = |file: &str, text: &str| -> Vec<String> {
        edges(file, text).into_iter().filter(|edge| !is_allowed(edge)).map(|edge| edge.to).collect()
    };
    assert_eq!(found("crdt/map.rs", "use crate::engine::Engine;"), ["engine"]);
    assert_eq!(found("roles/assign.rs", "fn f() { crate::membership::view() }"), ["membership"]);
    assert_eq!(found("store/log.rs", "use crate::{id::ReplicaId, engine, time};"), ["engine"]);
    assert_eq!(found("store/log.rs", "use crate::{\n    id::{NodeId, ReplicaId},\n    driver::Clock,\n};"), ["driver"]);
    assert_eq!(found("wire/mod.rs", "use super::store::Store;"), ["store"]);
    assert_eq!(found("store/row.rs", "use crate::wire::MAX_FRAME;"), ["wire"]);
    assert_eq!(found("wire/frame.rs", "use super::super::store::Store;"), ["store"]);
    assert_eq!(found("wire/frame/tests.rs", "use super::super::super::store::Store;"), ["store"]);
    assert_eq!(found("wire/frame.rs", "#[cfg(test)]\nmod tests {\n    use crate::testkit::Net;\n}"), ["testkit"]);
    assert_eq!(found("engine/mod.rs", "pub(in crate::driver) fn f() {}"), ["driver"]);
    assert_eq!(found("id.rs", "use crate::time::Stamp;"), ["time"]);
    assert_eq!(found("crdt/map.rs", "use crate::Cluster;"), ["Cluster"]);
    assert!(found("crdt/map.rs", "//! [`Engine`](crate::engine::Engine)\nuse crate::id::ReplicaId;").is_empty());
    assert!(found("crdt/map.rs", "let text = \"crate::engine\"; /* crate::driver::X */").is_empty());
    assert!(found("wire/frame.rs", "use super::store_of_frames::X; use super::envelope::Y;").is_empty());
    assert!(found("wire/frame.rs", "mod tests { use super::store; }").is_empty());
    assert!(found("cluster/mod.rs", "use crate::driver::Driver;").is_empty());
    assert!(found("lib.rs", "pub use crate::cluster::Cluster;").is_empty());
    assert!(found("testkit/cluster/stage.rs", "use crate::{cluster::Cluster, driver::Clock};").is_empty());
    assert_eq!(found("testkit/cluster/stage.rs", "use crate::discovery::Strategy;"), ["discovery"]);
    assert_eq!(found("testkit/tenant.rs", "use crate::driver::Clock;"), ["driver"]);
}

/// `crate::Cluster` is an import of `cluster`, whose name stands at the root.
#[test]
fn names_at_the_root_count_as_the_room_they_come_from() {
    let lib = "pub mod id;\npub use cluster::{\n    Change, Cluster,\n};\npub use id::{NodeId, ReplicaId};\npub use store::Origin;";
    let rooms = re_exports(lib);
    let names = ["Cluster", "ReplicaId", "Origin"].map(|name| rooms[name].as_str());
    assert_eq!(names, ["cluster", "id", "store"]);
}

fn is_allowed(edge: &Edge) -> bool {
    let below = ALLOWED.iter().find(|(room, _)| *room == edge.from).map(|(_, below)| *below);
    let (folder, above) = WHOLE_NODES;
    let whole = edge.file.starts_with(folder) && above.contains(&edge.to.as_str());
    edge.from.is_empty()
        || edge.from == edge.to
        || whole
        || below.is_some_and(|below| below.contains(&edge.to.as_str()))
}

/// The names at the root of the crate, by the room that they come from: `pub use id::{NodeId, ReplicaId};`.
fn re_exports(lib: &str) -> BTreeMap<String, String> {
    let code = code_only(lib);
    let statements = code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let split = |statement: &'_ str| statement.split_once("::").map(|(room, names)| (room.to_owned(), heads(names)));
    statements
        .filter_map(split)
        .flat_map(|(room, names)| names.into_iter().map(move |name| (name, room.clone())))
        .collect()
}

/// All files below `src`, by path from there.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    assert!(files.len() > 10, "only {} source files found below {}", files.len(), root.display());
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The room a file belongs to; none for `lib.rs`, which sees all.
fn room_of(file: &str) -> String {
    let room = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if room == "lib" { String::new() } else { room.to_owned() }
}

/// The modules that enclose the code of a file, from the root: `wire/frame.rs` is in `wire::frame`.
fn depth_of(file: &str) -> usize {
    let parts = file.split('/').count();
    if file.ends_with("/mod.rs") || file == "lib.rs" { parts - 1 } else { parts }
}

/// All mentions of rooms in one file.
fn edges(file: &str, text: &str) -> BTreeSet<Edge> {
    let code = code_only(text);
    let mut targets = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let is_word = code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$');
        if !is_word {
            targets.extend(heads(&code[at + "crate::".len()..]));
        }
    }
    if let Some(at) = code.find("pub(in crate::") {
        targets.extend(heads(&code[at + "pub(in crate::".len()..]));
    }
    for (at, depth) in climbs(&code) {
        // Each `mod x {` that is open here is one level more to climb.
        let open = depth_of(file) + inline_modules(&code[..at]);
        if depth >= open {
            let after = code[at..].trim_start_matches("super::");
            targets.extend(heads(after));
        }
    }
    let from = room_of(file);
    targets.into_iter().map(|to| Edge { file: file.to_owned(), from: from.clone(), to }).collect()
}

/// Chains of `super::`: where each begins, and how long it is.
fn climbs(code: &str) -> Vec<(usize, usize)> {
    const STEP: &str = "super::";
    let mut chains = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find(STEP) {
        let at = from + found;
        let steps = code[at..].split(STEP).take_while(|part| part.is_empty()).count();
        chains.push((at, steps));
        from = at + steps * STEP.len();
    }
    chains
}

/// How many inline modules are open at the end of this piece of code.
fn inline_modules(code: &str) -> usize {
    let mut open = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in code.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        match c {
            '{' => {
                let last_two = words.iter().rev().take(2).map(String::as_str).collect::<Vec<_>>();
                open.push(matches!(last_two.as_slice(), [_, "mod"]));
                words.clear();
            }
            '}' => {
                open.pop();
                words.clear();
            }
            ';' => words.clear(),
            _ => {}
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

/// The first names of what follows a path separator: one, or those of a list in braces.
fn heads(rest: &str) -> Vec<String> {
    let name =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if !rest.starts_with('{') {
        return vec![name(rest)];
    }
    let (mut depth, mut names, mut expects) = (0, Vec::new(), true);
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => expects = true,
            c if expects && depth == 1 && !c.is_whitespace() => {
                names.push(name(&rest[at..]));
                expects = false;
            }
            _ => {}
        }
    }
    names
}

/// The code without comments and without what stands in string literals.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '\'' if rest.starts_with("'\"'") => 3,
            'r' if rest.starts_with("r#\"") => rest[3..].find("\"#").map_or(rest.len(), |end| end + 5),
            '"' => string_length(rest),
            c => {
                code.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[skip..];
    }
    code
}

/// The length of the string literal at the beginning, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}
