//! A panic in a task ends the whole process, as a real process shows: the one test here starts itself again as a stage.

// A test that meets what it did not expect has failed.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use runtime::{code, guarded};

/// Set for the process that is the stage: what its task does.
const DEED: &str = "TRADEWIND_TEST_DEED";
/// How long the stage lives when nothing ends it: a deadline, which nothing waits for where all is well.
const LIFE: Duration = Duration::from_secs(60);
/// What it ends with then.
const LIVED_ON: i32 = 7;
/// What its task ends it with past a guarded panic.
const PAST_THE_GUARD: i32 = 8;
/// The server's address in the settings of the project. The stage finds nobody at [`NOBODY`] and goes on looking.
const SERVER: &str = "127.0.0.1:4222";
const NOBODY: &str = "127.0.0.1:1";

/// Runs as the stage, in its first moment: there is no server, and none is needed.
fn stage(deed: String) {
    std::thread::spawn(|| {
        std::thread::sleep(LIFE);
        std::process::exit(LIVED_ON);
    });
    let watch = |_: &protocol::settings::Settings, _: &Path| {
        tokio::spawn(async move { act(&deed) });
        Ok(())
    };
    // It does not end before the task has acted.
    let _ = runtime::run_watching("execution", watch, |_, ()| async { Ok(()) });
}

fn act(deed: &str) {
    assert!(deed != "panic", "a bug");
    let outcome: std::thread::Result<()> = guarded(|| panic!("damage"));
    assert!(outcome.is_err(), "the guard hands the panic back");
    if deed == "guarded" {
        std::process::exit(PAST_THE_GUARD);
    }
    panic!("a bug after the guard");
}

/// Starts this program as the stage. It is given no arguments, for they would be the stage's.
fn end_of(deed: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../services/config.toml")).unwrap();
    assert!(text.contains(SERVER), "the settings name the server {SERVER}");
    let text = text.replace(SERVER, NOBODY);
    let market = runtime::config::parse(&text).unwrap().market.name;
    let secrets = folder.path().join("var").join(market).join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("execution"), "a secret").unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    std::fs::write(folder.path().join("services/config.toml"), text).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .env(DEED, deed)
        // Else the harness keeps what the panic says, and ends with it.
        .env("RUST_TEST_NOCAPTURE", "1")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), told)
}

#[test]
fn a_panic_in_a_task_ends_the_process_but_a_guarded_one_does_not() {
    if let Ok(deed) = std::env::var(DEED) {
        stage(deed);
        return;
    }
    let panic = Some(i32::from(code::PANIC));
    let (code, told) = end_of("panic");
    assert_eq!(code, panic, "{told}");
    assert!(told.contains("a bug"), "it is told: {told}");
    let (code, told) = end_of("guarded");
    assert_eq!(code, Some(PAST_THE_GUARD), "{told}");
    let (code, told) = end_of("both");
    assert_eq!(code, panic, "a guard is over with its work: {told}");
}
