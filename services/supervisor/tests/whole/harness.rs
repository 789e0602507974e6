//! What every test here needs: a stack of its own, patience with a limit, and questions to the bus.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::operator::{Answer, Query, StateMark};
use protocol::subject;
use serde::de::DeserializeOwned;
use supervisor::arguments::RunAll;
use supervisor::member::Say;
use supervisor::{Plan, Stack, server};

/// How long a condition may take when the test does not say otherwise. Generous: the machine may be shared.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(25);
/// Whole stacks at the same time; more would only slow each other down.
static STACKS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);

/// A running pipeline of a test, with its folder. Call [`Whole::stop`] at the end; a panic kills its
/// processes.
pub struct Whole {
    pub stack: Stack,
    pub folder: tempfile::TempDir,
    _turn: tokio::sync::SemaphorePermit<'static>,
}

/// Waits until no other test runs a whole stack.
pub async fn turn() -> tokio::sync::SemaphorePermit<'static> {
    STACKS.acquire().await.expect("the semaphore is never closed")
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the project's folder")
}

/// The folder with the programs that were built with this test.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    test.ancestors()
        .nth(2)
        .expect("a test lies in target/release/deps")
        .to_owned()
}

/// A tool that the tests need, with the line that installs it.
pub fn tool(name: &str) -> PathBuf {
    server::find(&root(), name).unwrap_or_else(|| panic!("`{name}` is not installed; type: ./just test"))
}

/// What run-all is told by a test: everything of its own.
pub fn arguments(state: &Path) -> RunAll {
    RunAll {
        state: Some(state.to_owned()),
        nats_port: Some(0),
        dashboard_port: Some(0),
        gateway_port: Some(0),
        bin_dir: Some(programs()),
        ..RunAll::default()
    }
}

pub fn say() -> Say {
    Arc::new(|line| eprintln!("{line}"))
}

/// Starts the synthetic market.
pub async fn demo() -> Whole {
    Whole::with(|_, _| {}).await
}

impl Whole {
    /// Starts what the arguments say, which `change` may change; it is given the test's folder.
    pub async fn with(change: impl FnOnce(&Path, &mut RunAll)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut arguments = arguments(&folder.path().join("state"));
        change(folder.path(), &mut arguments);
        let plan = Plan::new(&root(), &arguments).expect("a plan");
        Self::on(folder, plan).await
    }

    /// Starts a plan, on the state that an earlier one may have left.
    pub async fn on(folder: tempfile::TempDir, plan: Plan) -> Self {
        let turn = turn().await;
        let stack = Stack::start(plan, say()).await.expect("the pipeline starts");
        Self {
            stack,
            folder,
            _turn: turn,
        }
    }

    /// Stops it and starts it again on the same state.
    pub async fn again(self) -> Self {
        let (folder, plan) = self.stop_and_keep().await;
        Self::on(folder, plan).await
    }

    /// Stops it and keeps its state.
    pub async fn stop_and_keep(self) -> (tempfile::TempDir, Plan) {
        let Self { stack, folder, _turn } = self;
        let plan = stack.plan.clone();
        stack.stop().await;
        (folder, plan)
    }

    pub async fn stop(self) {
        self.stack.stop().await;
    }

    /// Asks persistence, once.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        name: &str,
        query: &Query,
    ) -> Option<(Vec<T>, Option<StateMark>)> {
        let bus = self.stack.bus()?;
        match bus.request(&subject::query(name), query).await.ok()? {
            Answer::Page { items, state, .. } => Some((items, state)),
            Answer::Error { .. } => None,
        }
    }
}

/// Waits until there is something; panics after the time.
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs the supervisor's command line to its end.
pub fn supervisor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor"));
    let output = command
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .output();
    output.expect("the supervisor's program runs")
}

/// Arguments for `run-all` on the command line, with free ports.
pub fn run_all_arguments(state: &Path) -> Vec<String> {
    let mut arguments = vec![
        "run-all".to_owned(),
        "--state".to_owned(),
        state.display().to_string(),
    ];
    for option in ["--nats-port", "--dashboard-port", "--gateway-port"] {
        arguments.extend([option.to_owned(), "0".to_owned()]);
    }
    arguments.extend(["--bin-dir".to_owned(), programs().display().to_string()]);
    arguments
}

/// Text of both streams of a finished program.
pub fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
