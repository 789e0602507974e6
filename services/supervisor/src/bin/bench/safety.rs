//! How fast it stops and how fast it goes on: from the kill switch to the last byte of an order at the gateway, and from
//! the end of the execution that leads to the instant at which another one does.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use protocol::operator::{Command, Health, HealthState, Reply, Verb};
use protocol::subject::{self, filter};
use runtime::{Bus, Subscription};
use supervisor::process;
use tokio::time::{Instant, timeout};

use crate::lab::Lab;
use crate::witness::{Traced, Witness, nanos};

/// Times that each kill switch is used.
const KILLS: u32 = 4;
/// Times that the execution that leads is killed.
const TAKEOVERS: u32 = 4;
/// How long the gateway is watched after the kill switch.
const WATCHED: Duration = Duration::from_secs(1);
/// How long anything may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks for the next order.
const LOOK: Duration = Duration::from_micros(500);

/// What was measured.
#[derive(Debug, Default)]
pub struct Safety {
    kills: Vec<Kill>,
    takeovers: Vec<Duration>,
    /// From the kill switch to the last byte, by its kind; nothing where none came.
    last_bytes: BTreeMap<&'static str, Vec<Option<f64>>>,
}

/// One use of a kill switch. Instants are nanoseconds of the wall clock.
#[derive(Debug)]
struct Kill {
    by: &'static str,
    at: u128,
    /// From asking to the answer that it is latched, in milliseconds.
    answered: Option<f64>,
    until: u128,
}

/// Latches the kill switch in the middle of orders, and kills the execution that leads, each several times.
///
/// # Errors
/// When something that has to happen does not.
pub async fn measure(lab: &mut Lab, witness: &Witness) -> anyhow::Result<Safety> {
    let bus = lab.bus()?.clone();
    let mut safety = Safety::default();
    for _ in 0..KILLS {
        next_order(witness).await?;
        let (at, began) = (nanos(), Instant::now());
        command(&bus, Verb::Kill).await?;
        let answered = Some(began.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(WATCHED).await;
        safety.kills.push(Kill {
            by: "command.kill",
            at,
            answered,
            until: nanos(),
        });
        command(&bus, Verb::Release).await?;
    }
    let file = lab.state().join("KILL");
    for _ in 0..KILLS {
        next_order(witness).await?;
        let at = nanos();
        std::fs::write(&file, "").context("write the file KILL")?;
        tokio::time::sleep(WATCHED).await;
        safety.kills.push(Kill {
            by: "the file KILL",
            at,
            answered: None,
            until: nanos(),
        });
        std::fs::remove_file(&file).context("remove the file KILL")?;
        command(&bus, Verb::Release).await?;
    }
    let mut beats = bus.subscribe::<Health>(filter::HEALTH).await?;
    for _ in 0..TAKEOVERS {
        lab.second()?;
        safety.takeovers.push(takeover(&mut beats).await?);
    }
    Ok(safety)
}

/// Waits until an order is decided: others of the same bars follow within milliseconds.
async fn next_order(witness: &Witness) -> anyhow::Result<()> {
    let before = witness.orders();
    let another = async {
        while witness.orders() == before {
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, another).await.context("no order was decided")
}

async fn command(bus: &Bus, verb: Verb) -> anyhow::Result<()> {
    let reply: Reply = bus
        .request(&subject::command(verb.as_str()), &Command::default())
        .await?;
    anyhow::ensure!(reply.accepted, "{verb} was not carried out: {}", reply.text);
    Ok(())
}

/// Waits until one leads and another stands by, kills the one that leads, and tells how long it takes until one leads.
async fn takeover(beats: &mut Subscription<Health>) -> anyhow::Result<Duration> {
    let leader = timeout(PATIENCE, two(beats))
        .await
        .context("no second execution stands by")??;
    let pid = leader
        .rsplit('-')
        .next()
        .and_then(|pid| pid.parse().ok())
        .context("an instance ends in its number")?;
    let began = Instant::now();
    process::send(pid, Signal::SIGKILL);
    let other = async {
        loop {
            let health = beats.next().await.context("the bus is closed")?.body;
            let leads = health.service == "execution" && health.state == HealthState::Ready;
            if leads && health.instance != leader {
                return anyhow::Ok(());
            }
        }
    };
    timeout(PATIENCE, other).await.context("nobody took over")??;
    Ok(began.elapsed())
}

/// The instance that leads, once another one stands by.
async fn two(beats: &mut Subscription<Health>) -> anyhow::Result<String> {
    let mut states = BTreeMap::new();
    loop {
        let health = beats.next().await.context("the bus is closed")?.body;
        if health.service != "execution" {
            continue;
        }
        states.insert(health.instance, health.state);
        let first = |wanted| {
            states
                .iter()
                .find(|(_, state)| **state == wanted)
                .map(|(instance, _)| instance)
        };
        if let (Some(leader), Some(_)) = (first(HealthState::Ready), first(HealthState::Standby)) {
            return Ok(leader.clone());
        }
    }
}

impl Safety {
    /// Joins with the trace: what the gateway read after each kill switch.
    #[must_use]
    pub fn with_trace(mut self, traced: &Traced) -> Self {
        for kill in &self.kills {
            let after = traced.orders.iter().map(|(_, read)| *read);
            let last = after.filter(|read| (kill.at..kill.until).contains(read)).max();
            let millis = last.map(|read| (read - kill.at) as f64 / 1e6);
            self.last_bytes.entry(kill.by).or_default().push(millis);
        }
        self
    }
}

impl fmt::Display for Safety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nhow fast it stops, latched right after the first order of a burst, milliseconds"
        )?;
        for (by, last) in &self.last_bytes {
            let late: Vec<f64> = last.iter().copied().flatten().collect();
            let most = late.iter().copied().fold(0.0, f64::max);
            let name = format!("{by} to the last byte of an order");
            writeln!(
                f,
                "  {name:<50} {most:>9.1} at the most; {} of {} times there was none",
                last.len() - late.len(),
                last.len()
            )?;
        }
        let answers = self.kills.iter().filter_map(|kill| kill.answered);
        writeln!(
            f,
            "  {:<50} {:>9.1} at the most",
            "command.kill to its answer",
            answers.fold(0.0, f64::max)
        )?;
        let seconds: Vec<f64> = self.takeovers.iter().map(Duration::as_secs_f64).collect();
        let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
        writeln!(
            f,
            "\nkill -9 of the execution that leads to another that is ready: {mean:.1} s in the mean of {}, {:.1} s at the most\n  (its lease lasts up to {} s)",
            seconds.len(),
            seconds.iter().copied().fold(0.0, f64::max),
            runtime::lease::LEASE_SECONDS
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_order_after_a_kill_switch_counts_and_those_after_its_release_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace");
        let text = "order 900 AAPL before 180\norder 1000000 AAPL first 180\norder 3000000 AAPL last 180\norder 9000000 AAPL later 180\n";
        std::fs::write(&file, text).unwrap();
        let traced = Traced::read(&file).unwrap();
        let kill = |at, until| Kill {
            by: "command.kill",
            at,
            answered: None,
            until,
        };
        let safety = Safety {
            kills: vec![kill(1000, 5_000_000), kill(5_000_000, 6_000_000)],
            ..Safety::default()
        };
        let last = safety.with_trace(&traced).last_bytes;
        assert_eq!(last["command.kill"], [Some(2.999), None]);
    }
}
