//! Stops a pipeline from another terminal, and ends what a killed supervisor left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runtime::{Exit, code};

use crate::member::{STOP_MS_MAX, Say};
use crate::process::Identity;
use crate::record::Record;
use crate::state;

/// How long a run-all may take to stop everything, before its processes are killed.
const STACK_SECONDS_MAX: u64 = 20;
/// Time between two looks.
const LOOK_MS: u64 = 20;

/// Stops what runs on a state folder and waits until it is gone.
///
/// # Errors
/// When something can't be ended.
pub fn stop(folder: &Path, say: &Say) -> anyhow::Result<()> {
    let Some(record) = Record::read(folder) else {
        say(&format!("nothing runs on {}", folder.display()));
        return Ok(());
    };
    if state::is_held(folder) {
        record.supervisor.signal(Signal::SIGTERM);
        let gone = || !state::is_held(folder) && !record.processes().iter().any(Identity::runs);
        if !wait(Duration::from_secs(STACK_SECONDS_MAX), gone) {
            record.supervisor.signal(Signal::SIGKILL);
        }
    }
    leftovers(folder, say);
    if record.processes().iter().any(Identity::runs) {
        let text = format!(
            "some processes of {} can't be ended: look with `./just status`",
            folder.display()
        );
        return Err(Exit::error(code::UNAVAILABLE, text));
    }
    say(&format!("stopped {} ({})", record.market, folder.display()));
    Ok(())
}

/// Ends processes of a supervisor that is gone, last started first. Only to be called while nobody holds the
/// folder, or by who holds it.
pub fn leftovers(folder: &Path, say: &Say) {
    let Some(record) = Record::read(folder) else {
        return;
    };
    for process in record.processes() {
        if !process.runs() {
            continue;
        }
        say(&format!(
            "ending a process that an earlier run left behind (pid {})",
            process.pid
        ));
        process.signal(Signal::SIGTERM);
        if !wait(Duration::from_millis(STOP_MS_MAX), || !process.runs()) {
            process.signal(Signal::SIGKILL);
            wait(Duration::from_millis(STOP_MS_MAX), || !process.runs());
        }
    }
    if !record.processes().iter().any(Identity::runs) {
        // A record without running processes says nothing that is true any more.
        let _ = std::fs::remove_file(Record::file(folder));
    }
}

fn wait(patience: Duration, done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
    true
}
