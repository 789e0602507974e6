//! Keeps a process up through all that is done to it, without the supervisor's ceiling on restarts.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use runtime::CancellationToken;
use supervisor::member::Recipe;
use supervisor::process;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Pause between an end and the next start.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a process may take to end when all is over.
const PATIENCE: Duration = Duration::from_secs(6);

/// How often processes ended with which exit code, by name; a signal is no code.
pub type Ends = Arc<Mutex<BTreeMap<(&'static str, i32), u32>>>;

/// A process that is kept up.
pub struct Kept {
    pub name: &'static str,
    pid: Arc<AtomicU32>,
    held: watch::Sender<bool>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    /// Starts it, and starts it again whenever it ends.
    pub fn start(recipe: Recipe, ends: Ends) -> Self {
        let (pid, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let held = watch::Sender::new(false);
        let name = recipe.name;
        let task = tokio::spawn(keep(recipe, pid.clone(), held.subscribe(), stop.clone(), ends));
        Self {
            name,
            pid,
            held,
            stop,
            task,
        }
    }

    /// Its number while it runs.
    pub fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid > 0)
    }

    /// Sends it a signal, if it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            process::send(pid, signal);
        }
    }

    /// Is not started again while this is true.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Ends it for good, and does not wait.
    pub fn retire(&self) {
        self.stop.cancel();
        self.signal(Signal::SIGCONT);
    }

    /// Ends it for good.
    pub async fn end(self) {
        self.retire();
        self.task.await.expect("a keeper does not panic");
    }
}

async fn keep(
    recipe: Recipe,
    pid: Arc<AtomicU32>,
    mut held: watch::Receiver<bool>,
    stop: CancellationToken,
    ends: Ends,
) {
    loop {
        tokio::select! { _ = held.wait_for(|held| !held) => {}, () = stop.cancelled() => {} }
        if stop.is_cancelled() {
            break;
        }
        let mut child = spawn(&recipe);
        // Waiting would close it, and a stage ends with its input.
        let _input = child.stdin.take();
        pid.store(child.id().unwrap_or_default(), Ordering::SeqCst);
        let ended = tokio::select! {
            status = child.wait() => Some(status.expect("a child can be waited for")),
            () = stop.cancelled() => None,
        };
        let Some(status) = ended else {
            if let Some(pid) = child.id() {
                process::send(pid, Signal::SIGTERM);
            }
            if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
                child.kill().await.expect("a child can be killed");
            }
            break;
        };
        pid.store(0, Ordering::SeqCst);
        if let Some(code) = status.code() {
            let mut ends = ends.lock().expect("nobody panics while holding it");
            *ends.entry((recipe.name, code)).or_default() += 1;
        }
        tokio::select! { () = tokio::time::sleep(PAUSE) => {}, () = stop.cancelled() => {} }
    }
    pid.store(0, Ordering::SeqCst);
}

/// Starts a process with its log.
pub fn spawn(recipe: &Recipe) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&recipe.log);
    let log = log.expect("its log can be written");
    let mut command = Command::new(&recipe.program);
    command
        .args(&recipe.arguments)
        .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
        .env(runtime::run::SUPERVISED, "1")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "{} does not start ({error}): type ./just chaos, which builds it",
            recipe.program.display()
        )
    })
}
