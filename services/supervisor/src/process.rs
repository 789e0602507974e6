//! Processes by number and start time, so that a number that was handed out again is never taken for the old
//! one.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in the system's own words; only compared, never read.
    pub started: String,
}

impl Identity {
    /// The identity of a process that runs now; `None` when there is no such process.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            started: start_of(pid)?,
        })
    }

    /// This very process.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: start_of(pid).unwrap_or_default(),
        }
    }

    /// True while that very process runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        start_of(self.pid).is_some_and(|started| started == self.started)
    }

    /// Sends a signal if that very process still runs.
    pub fn signal(&self, signal: Signal) {
        if self.runs() {
            send(self.pid, signal);
        }
    }
}

/// Sends a signal to a process that may be gone already.
pub fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // Gone is what we want in the end; there is nothing to report.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// When a process started; `None` when it does not run (a zombie does not run).
fn start_of(pid: u32) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The name in parentheses may hold blanks and parentheses itself; the fields after it do not.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?;
        return (state != "Z" && state != "X").then(|| started.to_owned());
    }
    if std::path::Path::new("/proc/self/stat").exists() {
        return None;
    }
    // Systems without /proc: `ps` says it to the second.
    let output = std::process::Command::new("ps")
        .args(["-o", "lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let own = Identity::own();
        assert!(own.runs());
        assert!(
            !Identity {
                started: "another time".to_owned(),
                ..own.clone()
            }
            .runs()
        );
        let mut child = std::process::Command::new("true").spawn().expect("`true` runs");
        let pid = child.id();
        child.wait().expect("it ends");
        assert!(Identity::of(pid).is_none_or(|other| other.pid != own.pid));
    }
}
