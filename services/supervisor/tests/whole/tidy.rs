//! Holds the project to the rules of its house, so that they stay true without anybody remembering them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use protocol::subject::{filter, stream};
use supervisor::state::USERS;

use crate::harness::root;

/// Longest file of source, in lines.
const FILE_LINES_MAX: usize = 500;
/// Folders that are made, not written.
const MADE: [&str; 8] = [
    "target",
    ".git",
    ".tools",
    "var",
    "dist",
    "dist.next",
    "node_modules",
    "proptest-regressions",
];
/// Words that don't belong into finished work, or say nothing as a name. Put together here, so that this
/// file has none.
const BANNED: [&str; 9] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("Man", "ager"),
    concat!("Hel", "per"),
    concat!("mod ", "utils"),
    concat!("#[", "ignore"),
];
/// Beginnings of paths that only one machine has.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
];

fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !MADE.contains(&name.as_str()) {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn all(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root(), endings, &mut found);
    let root = root();
    let read = |path: PathBuf| {
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.strip_prefix(&root).unwrap().display().to_string(), text)
    };
    found.into_iter().map(read).collect()
}

fn complain(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_file_is_one_thing_that_says_what_it_is() {
    let mut faults = Vec::new();
    for (name, text) in all(&[".rs"]) {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!(
                "{name} has {lines} lines: a file is one noun, {FILE_LINES_MAX} lines at the most"
            ));
        }
        if !text.starts_with("//! ") {
            faults.push(format!("{name} does not open with a `//!` paragraph"));
        }
        if name.ends_with("/mod.rs") {
            faults.push(format!("{name}: name the file after the module, not mod.rs"));
        }
    }
    complain(&faults);
}

#[test]
fn nothing_unfinished_and_no_empty_names() {
    let mut faults = Vec::new();
    for (name, text) in all(&[
        ".rs", ".sh", ".toml", ".md", ".conf", ".py", "Justfile", ".css", ".html",
    ]) {
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
        for (number, line) in lines {
            for word in BANNED.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{name}:{number}: {word}"));
            }
            for path in MACHINE_PATHS.iter().filter(|path| line.contains(**path)) {
                faults.push(format!("{name}:{number}: a path of one machine, {path}"));
            }
        }
    }
    complain(&faults);
}

#[test]
fn no_service_depends_on_a_service() {
    let names: BTreeSet<_> = std::fs::read_dir(root().join("services"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .collect::<Vec<_>>()
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mut faults = Vec::new();
    for (file, text) in all(&["Cargo.toml"]) {
        let is_root = file == "Cargo.toml";
        for line in text.lines().map(str::trim) {
            let key = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if names.contains(key) {
                faults.push(format!(
                    "{file} depends on the service {key}: services meet on the bus"
                ));
            }
        }
        let engine_or_protocol = file == "crates/engine/Cargo.toml" || file == "crates/protocol/Cargo.toml";
        for heavy in ["tokio", "async-nats", "runtime"] {
            if engine_or_protocol
                && text.lines().any(|line| line.starts_with(&format!("{heavy}.")))
                && !is_root
            {
                faults.push(format!(
                    "{file} knows {heavy}: it decides and says, it carries nothing"
                ));
            }
        }
    }
    complain(&faults);
}

#[test]
fn the_server_knows_every_user_stream_and_subject() {
    let text = std::fs::read_to_string(root().join("nats.conf")).unwrap();
    for user in USERS {
        assert!(
            text.contains(&format!("user: {user},")),
            "nats.conf has the user {user}"
        );
    }
    for name in [stream::MARKET, stream::EVENTS, stream::LEDGER, stream::LEASE] {
        assert!(text.contains(name), "nats.conf speaks of {name}");
    }
    let subjects = [
        filter::QUOTES,
        filter::BARS,
        filter::SESSION,
        filter::SIGNALS,
        filter::MODELS,
        filter::REFUSALS,
        filter::ALERTS,
        filter::HEALTH,
        filter::ORDERS,
        filter::ACCOUNT,
        filter::COMMANDS,
        filter::WEB_COMMANDS,
        filter::QUERIES,
    ];
    for subject in subjects {
        let first = subject.split('.').next().unwrap();
        assert!(
            text.contains(&format!("\"{first}.")),
            "nats.conf has a rule for {subject}"
        );
    }
}

#[test]
fn every_command_that_is_quoted_exists() {
    let justfile = std::fs::read_to_string(root().join("Justfile")).unwrap();
    let verbs: BTreeSet<_> = justfile
        .lines()
        .filter(|line| {
            line.starts_with(|c: char| c == '@' || c.is_ascii_lowercase())
                && line.contains(':')
                && !line.contains(":=")
        })
        .map(|line| {
            line.trim_start_matches('@')
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let mut faults = Vec::new();
    for (name, text) in all(&[".md", ".rs", ".sh", ".toml", ".conf"]) {
        for (number, line) in text.lines().enumerate() {
            for rest in line.split("./just ").skip(1) {
                let verb: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                    .collect();
                if !verb.is_empty() && !verbs.contains(&verb) {
                    faults.push(format!(
                        "{name}:{}: `./just {verb}` is no verb of the Justfile",
                        number + 1
                    ));
                }
            }
        }
    }
    complain(&faults);
}

#[test]
fn every_model_has_a_card() {
    let mut models = Vec::new();
    files(&root().join("models"), &[".onnx"], &mut models);
    assert!(!models.is_empty(), "a model comes with the project");
    for model in models {
        assert!(
            model.with_extension("toml").is_file(),
            "{} has no card beside it",
            model.display()
        );
    }
}
