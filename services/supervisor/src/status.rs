//! Says what runs, how it fares and where its logs are.

use std::path::Path;
use std::time::Duration;

use protocol::operator::HealthState;
use runtime::Bus;
use tokio::time::Instant;

use crate::process::Identity;
use crate::pulse::{self, Heard, Pulse};
use crate::record::{Kept, MemberRecord, Record};
use crate::stack::{STAGES, word};
use crate::state;

/// How long heartbeats are waited for; one comes each second.
const HEARTBEATS_MS_MAX: u64 = 2_500;
/// Time between two looks.
const LOOK_MS: u64 = 20;

/// How all of it is together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overall {
    /// Every part is ready.
    Ready,
    /// Something is not.
    Degraded,
    /// Nothing runs.
    Nothing,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The part.
    pub name: String,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// How it is, one word.
    pub state: String,
    /// How often it was started again.
    pub restarts: u32,
    /// What it says about itself.
    pub text: String,
    /// Where its log is.
    pub log: String,
}

/// Looks at the pipeline of a state folder.
pub async fn look(folder: &Path) -> (Overall, Option<Record>, Vec<Line>) {
    let Some(record) = Record::read(folder) else {
        return (Overall::Nothing, None, Vec::new());
    };
    if !record.supervisor.runs() && !record.processes().iter().any(Identity::runs) {
        return (Overall::Nothing, None, Vec::new());
    }
    let heard = heartbeats(folder, &record).await;
    let lines: Vec<_> = record.members.iter().map(|member| line(member, &heard)).collect();
    let ready = lines.len() > STAGES.len() && lines.iter().all(|line| line.state == word(HealthState::Ready));
    let overall = if ready && record.supervisor.runs() {
        Overall::Ready
    } else {
        Overall::Degraded
    };
    (overall, Some(record), lines)
}

async fn heartbeats(folder: &Path, record: &Record) -> Heard {
    let deadline = Instant::now() + Duration::from_millis(HEARTBEATS_MS_MAX);
    let listen = async {
        let bus = Bus::connect("operator", &record.nats, &state::secret_of(folder, "operator")?).await?;
        Pulse::listen(&bus).await
    };
    // Without a server there are no heartbeats, and the table says that of each part.
    let Ok(Ok(pulse)) = tokio::time::timeout_at(deadline, listen).await else {
        return Heard::new();
    };
    let heard = pulse.heard();
    let stages: Vec<_> = record
        .members
        .iter()
        .filter(|member| STAGES.contains(&member.name.as_str()))
        .collect();
    while Instant::now() < deadline {
        let complete = stages.iter().all(|stage| {
            let pid = stage.process.as_ref().map(|process| process.pid);
            pid.is_none_or(|pid| pulse::of(&heard.borrow(), &stage.name, pid).is_some())
        });
        if complete {
            break;
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
    heard.borrow().clone()
}

fn line(member: &MemberRecord, heard: &Heard) -> Line {
    let running = member.process.as_ref().filter(|process| process.runs());
    let health = running.and_then(|process| pulse::of(heard, &member.name, process.pid));
    let is_stage = STAGES.contains(&member.name.as_str());
    let (state, text) = match (running, health) {
        (Some(_), Some(health)) => (word(health.state).to_owned(), health.text.clone()),
        (Some(_), None) if is_stage => (
            "silent".to_owned(),
            "runs, but its heartbeat is not heard".to_owned(),
        ),
        (Some(_), None) => (word(HealthState::Ready).to_owned(), String::new()),
        (None, _) => {
            let state = match member.state {
                Kept::GivenUp => "given up",
                Kept::Waiting => "waiting",
                Kept::Running | Kept::Stopped => "gone",
            };
            (state.to_owned(), member.last_end.clone())
        }
    };
    Line {
        name: member.name.clone(),
        pid: running.map(|process| process.pid),
        state,
        restarts: member.restarts,
        text,
        log: member.log.display().to_string(),
    }
}

/// The table as text.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<14} {:>8} {:<9} {:>8}  {}\n",
        "SERVICE", "PID", "STATE", "RESTARTS", "LOG"
    );
    for line in lines {
        let pid = line.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        text.push_str(&format!(
            "{:<14} {pid:>8} {:<9} {:>8}  {}\n",
            line.name, line.state, line.restarts, line.log
        ));
        if !line.text.is_empty() {
            text.push_str(&format!("{:<14} {}\n", "", line.text));
        }
    }
    text
}
