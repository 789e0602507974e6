//! The whole pipeline as real processes with two runners, each behind wires that can break, on a broker of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::operator::{Command, HealthState, Reply, Verb};
use protocol::settings::Settings;
use protocol::{Id, Money, subject};
use runtime::Bus;
use serde_json::{Value, json};
use supervisor::arguments::RunAll;
use supervisor::eager::eager;
use supervisor::member::Recipe;
use supervisor::pulse::{self, Pulse};
use supervisor::{Plan, ports, server, state};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::keeper::{Ends, Kept};
use crate::proxy::Proxy;
use crate::watch::{Follower, Page};

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Time between two looks.
pub const LOOK: Duration = Duration::from_millis(150);
/// How long an answer of the gateway's control port may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How much faster than the wall the market runs, so that bars and orders are many.
const SPEED: &str = "5";
/// The two executions.
pub const RUNNERS: [&str; 2] = ["execution", "execution-2"];

/// An execution on a folder of its own, and its wires.
pub struct Runner {
    pub folder: PathBuf,
    pub recipe: Recipe,
    pub kept: Kept,
    pub broker: Proxy,
    pub nats: Proxy,
}

/// Everything of one run.
pub struct World {
    pub plan: Plan,
    pub ends: Ends,
    pub parts: Vec<Kept>,
    pub runners: Vec<Runner>,
    pub bus: Bus,
    pub follower: Follower,
    pub page: Page,
    control: String,
    pulse: Pulse,
    folder: tempfile::TempDir,
}

/// What became of a command, as far as its asker can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Failed,
    Unknown,
}

/// Many small decisions, each by the opinion on a bar; no limit is near.
fn decide_often(settings: &mut Settings) {
    eager(settings);
    settings.market.stale_after_seconds = 120;
    settings.broker.second_pass_seconds = 1;
    settings.broker.reconcile_seconds = 1;
    settings.entry.up_min = 0.1;
    settings.entry.notional = Money::new(2_000, 0);
    settings.entry.signal_age_seconds_max = 60;
    settings.exits.down_min = 0.1;
    settings.exits.stop_loss = Money::new(5, 4);
    settings.exits.profit_target = Money::new(5, 4);
}

fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    test.ancestors()
        .nth(2)
        .expect("a test lies in target/release/deps")
        .to_owned()
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the project's folder")
}

fn recipe(name: &'static str, program: &str, arguments: Vec<OsString>, logs: &Path) -> Recipe {
    Recipe {
        name,
        program: programs().join(program),
        arguments,
        environment: Vec::new(),
        log: logs.join(format!("{name}.log")),
    }
}

/// Waits until there is something; panics after [`PATIENCE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}

impl World {
    /// Starts everything. `seed` makes the market.
    pub async fn start(seed: u64) -> Self {
        let mut world = Self::without_runners(seed).await;
        world.start_runners().await;
        world
    }

    /// Starts everything but the two executions.
    pub async fn without_runners(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plan = plan(folder.path(), free());
        let ends = Ends::default();
        let control = free();
        let gateway = Kept::start(gateway(&plan, &control, folder.path(), seed), ends.clone());
        let (server, bus) = serve(&plan, &ends).await;
        let pulse = Pulse::listen(&bus).await.expect("heartbeats");
        until("the gateway is up", || async {
            ask(&control, &json!({"ask": "clients"})).await
        })
        .await;
        let mut parts = vec![server, gateway];
        let stages = ["persistence", "bridge", "signal", "market-data"];
        parts.extend(stages.map(|name| stage(name, &plan, &ends)));
        let follower = Follower::start(bus.clone());
        let page = Page::start(plan.settings.bridge.listen.clone(), plan.state.join("token"));
        Self {
            plan,
            ends,
            parts,
            runners: Vec::new(),
            bus,
            follower,
            page,
            control,
            pulse,
            folder,
        }
    }

    /// Starts the two executions.
    pub async fn start_runners(&mut self) {
        for name in RUNNERS {
            let runner = runner(name, &self.plan, self.folder.path(), &self.ends).await;
            self.runners.push(runner);
        }
    }

    /// Starts a second pipeline on the same account, with a server of its own and other client ids: neither one LEDGER
    /// nor one ordering client stands between its execution and the first.
    pub async fn start_apart(&mut self) {
        let folder = self.folder.path().join("apart");
        let mut plan = plan(&folder, self.plan.settings.broker.address.clone());
        plan.settings.broker.market_data_client_id = 20;
        plan.settings.broker.ordering_client_id = 21;
        write_settings(&plan, &plan.state);
        let (server, _) = serve(&plan, &self.ends).await;
        self.parts.push(server);
        let stages = ["signal", "market-data", "execution"];
        self.parts
            .extend(stages.map(|name| stage(name, &plan, &self.ends)));
    }

    /// A process by its name.
    pub fn part(&self, name: &str) -> &Kept {
        let mut all = self
            .parts
            .iter()
            .chain(self.runners.iter().map(|runner| &runner.kept));
        all.find(|kept| kept.name == name).expect("a part of this name")
    }

    /// The runner that leads, if one says so.
    pub fn leader(&self) -> Option<&Runner> {
        let heard = self.pulse.heard();
        let heard = heard.borrow();
        let leads = |runner: &&Runner| {
            let health = runner
                .kept
                .pid()
                .and_then(|pid| pulse::of(&heard, "execution", pid));
            health.is_some_and(|health| health.state == HealthState::Ready)
        };
        self.runners.iter().find(leads)
    }

    /// Says a line to the gateway's control port; nothing while it is away or when it refuses.
    pub async fn control(&self, line: &Value) -> Option<Value> {
        ask(&self.control, line).await
    }

    /// Every fact about the account on the gateway's disk.
    pub fn facts(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("broker/account.log"));
        let text = text.expect("the account's records");
        // A last line without an end is being written.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).expect("a record of the gateway"))
            .collect()
    }

    /// Commands something once.
    pub async fn command(&self, id: &Id, verb: Verb, order: Option<Id>, symbol: Option<&str>) -> Outcome {
        let command = Command {
            id: Some(id.clone()),
            order,
            symbol: symbol.map(|symbol| symbol.parse().expect("a symbol")),
            ..Command::default()
        };
        let subject = subject::command(verb.as_str());
        match self.bus.request::<_, Reply>(&subject, &command).await {
            Ok(reply) if reply.accepted => Outcome::Ok,
            Ok(_) => Outcome::Failed,
            Err(_) => Outcome::Unknown,
        }
    }

    /// Ends everything, last started first. Keeps the folder with all logs on demand, and tells where it is.
    pub async fn stop(self, keep: bool) -> Option<PathBuf> {
        for runner in self.runners {
            runner.kept.end().await;
        }
        for part in self.parts.into_iter().rev() {
            part.end().await;
        }
        keep.then(|| self.folder.keep())
    }
}

fn free() -> String {
    format!("127.0.0.1:{}", ports::free().expect("a free port"))
}

/// Starts a NATS server with its streams.
async fn serve(plan: &Plan, ends: &Ends) -> (Kept, Bus) {
    let server = Kept::start(nats(plan), ends.clone());
    let monitor = &plan.settings.nats.monitor;
    until("the NATS server is up", || async {
        server::is_ready(monitor).await.then_some(())
    })
    .await;
    let nats = &plan.settings.nats.address;
    let secret = |user: &str| state::secret_of(&plan.state, user).expect("a secret");
    runtime::setup::streams(nats, &secret("admin"))
        .await
        .expect("the streams");
    let bus = Bus::connect("operator", nats, &secret("operator"))
        .await
        .expect("the bus");
    (server, bus)
}

fn stage(name: &'static str, plan: &Plan, ends: &Ends) -> Kept {
    let logs = plan.state.join("logs");
    Kept::start(
        recipe(name, name, stage_arguments(&plan.state), &logs),
        ends.clone(),
    )
}

/// What a pipeline on the broker at this address is.
fn plan(folder: &Path, broker: String) -> Plan {
    let run = RunAll {
        state: Some(folder.join("state")),
        nats_port: Some(0),
        dashboard_port: Some(0),
        broker: Some(broker),
        bin_dir: Some(programs()),
        ..RunAll::default()
    };
    let mut plan = Plan::new(&root(), &run).expect("a plan");
    decide_often(&mut plan.settings);
    // Each runner reaches it by a wire of its own, which is another address.
    "the one broker".clone_into(&mut plan.settings.broker.gateway);
    state::make_secrets(&plan.state).expect("secrets");
    state::private_folder(&plan.state.join("logs")).expect("a folder for logs");
    write_settings(&plan, &plan.state);
    plan
}

fn write_settings(plan: &Plan, state: &Path) {
    let text = plan.settings_text().expect("settings as text");
    state::write_private(&state.join("config.toml"), &text).expect("settings can be written");
}

fn nats(plan: &Plan) -> Recipe {
    let port = plan
        .settings
        .nats
        .address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let port = port.expect("a port");
    server::recipe(&plan.root, &plan.state, port, &plan.settings.nats.monitor)
        .expect("nats-server is installed")
}

fn gateway(plan: &Plan, control: &str, folder: &Path, seed: u64) -> Recipe {
    let own = folder.join("broker");
    state::private_folder(&own).expect("a folder for the gateway");
    let mut arguments: Vec<OsString> = Vec::new();
    for (option, value) in [
        ("--listen", plan.settings.broker.address.as_str()),
        ("--control", control),
        ("--speed", SPEED),
        ("--cash", "10000000"),
        ("--seed", &seed.to_string()),
    ] {
        arguments.extend([option.into(), value.into()]);
    }
    arguments.extend(["--state".into(), own.into()]);
    recipe(
        "paper-gateway",
        "tradewind-paper-gateway",
        arguments,
        &plan.state.join("logs"),
    )
}

fn stage_arguments(state: &Path) -> Vec<OsString> {
    vec![
        "--config".into(),
        state.join("config.toml").into(),
        "--state".into(),
        state.into(),
    ]
}

async fn runner(name: &'static str, plan: &Plan, folder: &Path, ends: &Ends) -> Runner {
    let own = folder.join(name);
    let broker = Proxy::start(plan.settings.broker.address.clone()).await;
    let nats = Proxy::start(plan.settings.nats.address.clone()).await;
    let mut plan = plan.clone();
    plan.settings.broker.address.clone_from(&broker.address);
    plan.settings.nats.address.clone_from(&nats.address);
    state::private_folder(&own.join("secrets")).expect("a folder for the runner");
    let secret = state::secret_of(&plan.state, "execution").expect("a secret");
    state::write_private(&own.join("secrets/execution"), &secret).expect("a secret can be written");
    write_settings(&plan, &own);
    let logs = plan.state.join("logs");
    let recipe = recipe(name, "execution", stage_arguments(&own), &logs);
    let kept = Kept::start(recipe.clone(), ends.clone());
    Runner {
        folder: own,
        recipe,
        kept,
        broker,
        nats,
    }
}

async fn ask(control: &str, line: &Value) -> Option<Value> {
    let conversation = async {
        let mut socket = TcpStream::connect(control).await.ok()?;
        socket.write_all(format!("{line}\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).await.ok()?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        (answer["ok"] == true).then_some(answer)
    };
    tokio::time::timeout(ANSWER, conversation).await.ok().flatten()
}
