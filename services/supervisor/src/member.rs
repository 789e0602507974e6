//! Keeps one process up: starts it, starts it again when it ends, with growing pauses and a ceiling, and
//! stops it.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use protocol::decision::Level;
use runtime::{CancellationToken, code};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::process::{self, Identity};
use crate::record::{Board, Kept};
use crate::{logs, state};

/// Pause before the first new start.
const BACKOFF_MS_MIN: u64 = 200;
/// Longest pause between two starts.
const BACKOFF_MS_MAX: u64 = 5_000;
/// Starts again within [`WINDOW_SECONDS`] before a process is given up.
pub const RESTARTS_MAX: usize = 5;
/// How long an end counts against [`RESTARTS_MAX`], and how long a process must stay up before its doubts count anew.
const WINDOW_SECONDS: u64 = 60;
/// Ends with [`code::AGAIN`], one soon after the other, at which a person is told.
const AGAIN_TOLD: u32 = 10;
/// How long a process may take to end after SIGTERM, before it is killed, when nobody says otherwise.
pub const STOP_MS_MAX: u64 = 2_000;
/// Time between two looks at the length of a log.
const LOG_CHECK_SECONDS: u64 = 2;

/// Told to the operator, one line at a time.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// How to start a process.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its name among the stack's processes.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Added to its environment.
    pub environment: Vec<(String, OsString)>,
    /// Its log.
    pub log: PathBuf,
}

/// What becomes of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its number while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it is kept up.
    pub state: Kept,
    /// How it ended the last time: exit code, if it had one, and its last sentence.
    pub last_end: Option<End>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its exit code; absent when a signal ended it.
    pub code: Option<u8>,
    /// How, and its last words.
    pub text: String,
}

/// A process that is kept up.
#[derive(Debug)]
pub struct Member {
    /// How it is started.
    pub recipe: Recipe,
    view: watch::Receiver<View>,
    stop: CancellationToken,
    patience_ms: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Member {
    /// Starts a process and keeps it up from now on.
    #[must_use]
    pub fn start(recipe: Recipe, board: Board, alarm: Alarm, say: Say) -> Self {
        let first = View {
            pid: None,
            restarts: 0,
            state: Kept::Waiting,
            last_end: None,
        };
        let (sender, view) = watch::channel(first);
        let stop = CancellationToken::new();
        let patience_ms = Arc::new(AtomicU64::new(STOP_MS_MAX));
        let keeper = Keeper {
            recipe: recipe.clone(),
            board,
            alarm,
            say,
            sender,
            stop: stop.clone(),
            patience_ms: patience_ms.clone(),
            tally: Tally::default(),
        };
        Self {
            recipe,
            view,
            stop,
            patience_ms,
            task: tokio::spawn(keeper.keep()),
        }
    }

    /// What becomes of it, now and as it changes.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Its number while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.view.borrow().pid
    }

    /// Stops it and waits until it is gone; kills it when it does not end within `patience`.
    pub async fn stop(self, patience: Duration) {
        self.patience_ms.store(
            u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(
                name = self.recipe.name,
                error = error.to_string(),
                "its keeper failed"
            );
        }
    }
}

struct Keeper {
    recipe: Recipe,
    board: Board,
    alarm: Alarm,
    say: Say,
    sender: watch::Sender<View>,
    stop: CancellationToken,
    patience_ms: Arc<AtomicU64>,
    tally: Tally,
}

impl Keeper {
    async fn keep(mut self) {
        while !self.stop.is_cancelled() {
            let mark = logs::length(&self.recipe.log);
            let began = Instant::now();
            let end = match self.spawn() {
                Ok(child) => match self.watch(child).await {
                    Some(status) => self.describe(status, mark),
                    None => break,
                },
                Err(error) => End {
                    code: None,
                    text: format!("could not be started: {error:#}"),
                },
            };
            let Some(pause) = self.tally.pause(end.code, began.elapsed()) else {
                self.give_up(end).await;
                self.stop.cancelled().await;
                break;
            };
            (self.say)(&format!(
                "{} {}; starting it again in {:.1} s",
                self.recipe.name,
                end.text,
                pause.as_secs_f64()
            ));
            let in_vain = self.tally.is_in_vain().then(|| self.in_vain(&end));
            self.show(|view| {
                view.pid = None;
                view.state = Kept::Waiting;
                view.restarts += 1;
                view.last_end = Some(end);
            });
            if let Some(text) = in_vain {
                (self.say)(&format!("WARNING: {text}"));
                self.alarm.tell("starts-in-vain", Level::Warning, text).await;
            }
            tokio::select! { () = tokio::time::sleep(pause) => {}, () = self.stop.cancelled() => {} }
        }
        self.show(|view| {
            view.pid = None;
            view.state = Kept::Stopped;
        });
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let Recipe {
            name, program, log, ..
        } = &self.recipe;
        if let Some(folder) = log.parent() {
            state::private_folder(folder)?;
        }
        let out = logs::open(log).with_context(|| format!("open {}", log.display()))?;
        let child = Command::new(program)
            .args(&self.recipe.arguments)
            .envs(self.recipe.environment.iter().map(|(key, value)| (key, value)))
            // A stage whose input ends stops by itself, so that none outlives a killed supervisor.
            .env(runtime::run::SUPERVISED, "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C in the terminal reaches us alone: the order of stopping is ours.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} ({})", program.display()))?;
        self.show(|view| {
            view.pid = child.id();
            view.state = Kept::Running;
        });
        Ok(child)
    }

    /// Waits for the end of the process. `None` when it was stopped because we were told to.
    async fn watch(&self, mut child: Child) -> Option<ExitStatus> {
        let input = child.stdin.take();
        let mut log_check = tokio::time::interval(Duration::from_secs(LOG_CHECK_SECONDS));
        loop {
            tokio::select! {
                status = child.wait() => return Some(status.unwrap_or_else(|_| ExitStatus::from_raw(1 << 8))),
                () = self.stop.cancelled() => {
                    end(&mut child, Duration::from_millis(self.patience_ms.load(Ordering::Relaxed))).await;
                    drop(input);
                    return None;
                }
                _ = log_check.tick() => {
                    if let Err(error) = logs::trim(&self.recipe.log) {
                        tracing::warn!(name = self.recipe.name, error = error.to_string(), "its log can't be cut");
                    }
                }
            }
        }
    }

    fn describe(&self, status: ExitStatus, mark: u64) -> End {
        let how = match (status.code(), status.signal()) {
            (Some(0), _) => "ended".to_owned(),
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => {
                let name =
                    Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
                format!("was ended by {name}")
            }
            (None, None) => "ended".to_owned(),
        };
        let last = logs::last_sentence(&self.recipe.log, mark)
            .filter(|_| status.code().is_some_and(|code| code != 0));
        let text = last.map_or_else(|| how.clone(), |last| format!("{how} ({last})"));
        End {
            code: status.code().and_then(|code| u8::try_from(code).ok()),
            text,
        }
    }

    /// What is told of a process that finds doubt however often it begins.
    fn in_vain(&self, end: &End) -> String {
        let name = self.recipe.name;
        let log = self.recipe.log.display();
        format!(
            "{name} was started {AGAIN_TOLD} times and found doubt soon after each; the last time it {}; it goes on trying. Its log: {log}",
            end.text
        )
    }

    async fn give_up(&self, end: End) {
        let name = self.recipe.name;
        let log = self.recipe.log.display();
        let text = format!(
            "{name} {} and is not started again; the rest goes on. Its log: {log}",
            end.text
        );
        (self.say)(&format!("CRITICAL: {text}"));
        self.show(|view| {
            view.pid = None;
            view.state = Kept::GivenUp;
            view.last_end = Some(end);
        });
        self.alarm.tell("given-up", Level::Critical, text).await;
    }

    /// Changes what is shown, on disk first: who sees the change may rely on it.
    fn show(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.sender.borrow().clone();
        change(&mut view);
        self.board.update(self.recipe.name, &self.recipe.log, |record| {
            record.process = view.pid.and_then(Identity::of);
            record.restarts = view.restarts;
            record.state = view.state;
            record.last_end = view
                .last_end
                .as_ref()
                .map(|end| end.text.clone())
                .unwrap_or_default();
        });
        self.sender.send_replace(view);
    }
}

/// How a process ended lately, and what follows.
#[derive(Debug, Default)]
struct Tally {
    /// When it ended, for the ceiling.
    ends: Vec<Instant>,
    /// Ends one after the other that asked for a new incarnation, soon after each start.
    again: u32,
}

impl Tally {
    /// How long to wait before the next start; `None` to give up. `ran` is how long the process was up.
    fn pause(&mut self, exit: Option<u8>, ran: Duration) -> Option<Duration> {
        let growing =
            |count: u32| Duration::from_millis((BACKOFF_MS_MIN << count.min(10)).min(BACKOFF_MS_MAX));
        match exit {
            // Wrong settings, wrong data, missing files, contradictions: a person has to act first.
            Some(code::SETTING | code::DATA | code::MISSING | code::CONTRADICTION) => {
                self.again = 0;
                None
            }
            // The safe answer to doubt: never counted against the ceiling.
            Some(code::AGAIN) => {
                // What stayed up had nothing to doubt for that long: this is another doubt.
                if ran >= Duration::from_secs(WINDOW_SECONDS) {
                    self.again = 0;
                }
                self.again += 1;
                Some(growing(self.again - 1))
            }
            _ => {
                self.again = 0;
                let now = Instant::now();
                self.ends
                    .retain(|at| now.duration_since(*at) < Duration::from_secs(WINDOW_SECONDS));
                self.ends.push(now);
                let count = self.ends.len();
                (count <= RESTARTS_MAX).then(|| growing(u32::try_from(count - 1).unwrap_or(u32::MAX)))
            }
        }
    }

    /// True at the end from which on starting again looks vain. Once, until it stayed up in between.
    fn is_in_vain(&self) -> bool {
        self.again == AGAIN_TOLD
    }
}

/// SIGTERM, some time, SIGKILL.
async fn end(child: &mut Child, patience: Duration) {
    if let Some(pid) = child.id() {
        process::send(pid, Signal::SIGTERM);
    }
    if tokio::time::timeout(patience, child.wait()).await.is_err() {
        // Gone between the two is as good as killed.
        let _ = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use protocol::decision::Alert;
    use protocol::subject::filter;
    use runtime::testing::Server;

    /// How long what a process of this test does may take.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn board(folder: &std::path::Path) -> Board {
        let record = Record {
            supervisor: Identity::own(),
            market: "test".to_owned(),
            nats: String::new(),
            dashboard: String::new(),
            broker: String::new(),
            members: Vec::new(),
        };
        Board::new(folder, record)
    }

    #[tokio::test]
    async fn what_fails_at_once_is_given_up_which_is_told_and_not_started_again() {
        let server = Server::start().await;
        let bus = server.bus("operator").await;
        let mut alerts = bus.subscribe::<Alert>(filter::ALERTS).await.unwrap();
        let alarm = Alarm::default();
        alarm.open(bus);

        let folder = tempfile::tempdir().unwrap();
        let starts = folder.path().join("starts");
        let recipe = Recipe {
            name: "fails",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "echo started >> \"$STARTS\"; exit 1".into()],
            environment: vec![("STARTS".to_owned(), starts.clone().into())],
            log: folder.path().join("logs/fails.log"),
        };
        let member = Member::start(recipe, board(folder.path()), alarm, Arc::new(|_: &str| {}));
        let mut view = member.view();
        let given_up = view.wait_for(|view| view.state == Kept::GivenUp);
        let last = tokio::time::timeout(PATIENCE, given_up)
            .await
            .unwrap()
            .unwrap()
            .clone();
        assert_eq!((last.pid, last.restarts as usize), (None, RESTARTS_MAX));

        let alert = tokio::time::timeout(PATIENCE, alerts.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(alert.subject, "alert.supervisor.given-up");
        assert_eq!(alert.body.level, Level::Critical);
        let told = "fails ended with exit code 1 and is not started again";
        assert!(alert.body.text.starts_with(told), "{}", alert.body.text);

        // Longer than the pause before any start.
        tokio::time::sleep(Duration::from_millis(BACKOFF_MS_MAX + 500)).await;
        let times = std::fs::read_to_string(&starts).unwrap().lines().count();
        assert_eq!(times, RESTARTS_MAX + 1);
        member.stop(Duration::from_millis(STOP_MS_MAX)).await;
    }

    #[test]
    fn ten_doubts_soon_after_a_start_are_told_once_and_one_that_stayed_up_counts_anew() {
        let (soon, late) = (Duration::from_secs(1), Duration::from_secs(WINDOW_SECONDS));
        let mut tally = Tally::default();
        let mut told = |ran: Duration, times: u32| {
            let doubts = (0..times).filter(|_| {
                let pause = tally.pause(Some(code::AGAIN), ran);
                assert!(pause.is_some(), "doubt is never given up");
                tally.is_in_vain()
            });
            doubts.count()
        };
        assert_eq!(told(soon, AGAIN_TOLD - 1), 0);
        assert_eq!(told(soon, 1), 1);
        assert_eq!(told(soon, 5 * AGAIN_TOLD), 0, "once is enough");
        assert_eq!(told(late, 1), 0);
        assert_eq!(told(soon, AGAIN_TOLD - 2), 0);
        assert_eq!(told(soon, 1), 1, "of a new row it is told again");
        assert_eq!(told(late, 3 * AGAIN_TOLD), 0, "it works in between");
    }

    #[test]
    fn another_end_breaks_a_row_of_doubts() {
        let mut tally = Tally::default();
        for _ in 1..AGAIN_TOLD {
            tally.pause(Some(code::AGAIN), Duration::ZERO);
        }
        tally.pause(None, Duration::ZERO);
        tally.pause(Some(code::AGAIN), Duration::ZERO);
        assert!(!tally.is_in_vain());
    }
}
