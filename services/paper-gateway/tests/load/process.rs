//! A gateway as a process of its own, and what the system says about it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ticks of the processor's clock in a second, as Linux counts them for programs.
const TICKS_A_SECOND: f64 = 100.0;
/// Bytes of a page of memory.
const PAGE_BYTES: usize = 4096;

pub struct Process {
    child: Child,
    pub address: String,
}

impl Process {
    /// Starts `program` on a free port.
    pub fn start(program: &str, state: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .args(more)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("first line: {line:?}"));
        Self {
            child,
            address: address.trim().to_owned(),
        }
    }

    /// Memory that it occupies, in bytes.
    pub fn resident(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE_BYTES
    }

    /// Seconds of processor time that it has used.
    pub fn processor(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, which may hold blanks, ends with the last parenthesis.
        let (_, rest) = text.rsplit_once(") ").unwrap();
        let ticks = |index: usize| rest.split(' ').nth(index).unwrap().parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS_A_SECOND
    }

    /// Ends it as a person would, and returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After a failed test, too, nothing stays behind.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
