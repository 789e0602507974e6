//! What each process costs: resident memory and CPU time, as Linux counts them in `/proc`.

use std::time::Instant;

use supervisor::stack::STAGES;

use crate::lab::Lab;

/// Ticks of CPU time a second in `/proc`, on every kind of Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// One process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its name.
    pub name: &'static str,
    /// Resident memory, in kilobytes.
    pub resident_kb: u64,
    /// The most it ever had, in kilobytes.
    pub resident_kb_most: u64,
    /// CPU time in seconds: since the start of the process, or in the time that was measured.
    pub cpu_seconds: f64,
}

/// All processes at an instant, or over a time.
#[derive(Debug, Clone)]
pub struct Usage {
    at: Instant,
    /// Length of the time that was measured; zero at an instant.
    pub seconds: f64,
    /// The processes; none where there is no `/proc`.
    pub processes: Vec<Process>,
}

impl Usage {
    /// How all processes are now.
    pub fn of(lab: &Lab) -> Self {
        let names = ["nats-server"]
            .into_iter()
            .chain(STAGES.into_iter().rev())
            .chain(["paper-gateway"]);
        let processes = names.filter_map(|name| process(name, lab.pid(name)?)).collect();
        Self {
            at: Instant::now(),
            seconds: 0.0,
            processes,
        }
    }

    /// The CPU time since `before`, and the memory now.
    pub fn since(mut self, before: &Self) -> Self {
        self.seconds = self.at.duration_since(before.at).as_secs_f64();
        for process in &mut self.processes {
            let earlier = before.processes.iter().find(|other| other.name == process.name);
            process.cpu_seconds -= earlier.map_or(0.0, |earlier| earlier.cpu_seconds);
        }
        self
    }
}

fn process(name: &'static str, pid: u32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(Process {
        name,
        resident_kb: kilobytes(&status, "VmRSS:")?,
        resident_kb_most: kilobytes(&status, "VmHWM:")?,
        cpu_seconds: cpu_seconds(&stat)?,
    })
}

fn kilobytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Time in user mode and in the kernel, of all threads.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name in parentheses may hold blanks; the fields after it do not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let kernel: f64 = fields.next()?.parse().ok()?;
    Some((user + kernel) / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 99 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(
            kilobytes("VmHWM:\t  20480 kB\nVmRSS:\t   10240 kB\n", "VmRSS:"),
            Some(10_240)
        );
    }
}
