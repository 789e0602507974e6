//! The real processes on a folder, ports and settings of their own, with a trace at the gateway and a second, empty
//! account on the same NATS server for the floor.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use protocol::Money;
use protocol::settings::Settings;
use runtime::{Bus, Exit, code};
use supervisor::arguments::RunAll;
use supervisor::eager::eager;
use supervisor::{Plan, Stack, plan, process, state};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::witness::{Frames, Traced};

/// How long the gateway may take to start or to end.
const GATEWAY_SECONDS_MAX: u64 = 10;
/// The user of the floor's account.
pub const FLOOR_USER: &str = "bench";

/// The pipeline under the glass.
pub struct Lab {
    /// Where everything lies; gone with the lab.
    folder: tempfile::TempDir,
    plan: Plan,
    gateway: Child,
    stack: Option<Stack>,
    /// An execution on a folder of its own, which stands by.
    second: Option<Child>,
    /// The password of [`FLOOR_USER`].
    pub floor_secret: String,
}

impl Lab {
    /// Makes the folder and starts the gateway. Starts no stage yet.
    ///
    /// # Errors
    /// One sentence with an exit code.
    pub async fn prepare() -> anyhow::Result<Self> {
        let root = plan::find_root()?;
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let programs = std::env::current_exe()?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let (gateway, address) = start_gateway(&programs, folder.path()).await?;
        let page = folder.path().join("page");
        std::fs::create_dir(&page)?;
        std::fs::write(page.join("index.html"), "<!doctype html><title>bench</title>")?;
        let arguments = RunAll {
            broker: Some(address),
            state: Some(folder.path().join("state")),
            nats_port: Some(0),
            dashboard_port: Some(0),
            page: Some(page),
            ..RunAll::default()
        };
        let mut plan = Plan::new(&root, &arguments)?;
        decide_often(&mut plan.settings);
        // Only a secret's letters are legal in the server's file as they are; the state folder's are made so.
        state::make_secrets(&folder.path().join("floor"))?;
        let floor_secret = state::secret_of(&folder.path().join("floor"), "admin")?;
        plan.root = root_with_floor(&root, folder.path(), &floor_secret)?;
        Ok(Self {
            folder,
            plan,
            gateway,
            stack: None,
            second: None,
            floor_secret,
        })
    }

    /// Starts the server and all stages.
    ///
    /// # Errors
    /// See [`Stack::start`].
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let say = std::sync::Arc::new(print);
        self.stack
            .insert(Stack::prepare(self.plan.clone(), say)?)
            .start_all()
            .await
    }

    /// The operator's connection.
    ///
    /// # Errors
    /// Before [`Lab::start`].
    pub fn bus(&self) -> anyhow::Result<&Bus> {
        let bus = self.stack.as_ref().and_then(Stack::bus);
        bus.context("the server is started first")
    }

    /// Where NATS listens.
    pub fn nats(&self) -> &str {
        &self.plan.settings.nats.address
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        &self.plan.state
    }

    /// Starts a second execution on a folder of its own, unless one runs.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn second(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.second
            && child.try_wait()?.is_none()
        {
            return Ok(());
        }
        let own = self.folder.path().join("second");
        let secret = state::secret_of(&self.plan.state, "execution")?;
        state::private_folder(&own.join("secrets"))?;
        state::write_private(&own.join("secrets/execution"), &secret)?;
        state::write_private(&own.join("config.toml"), &self.plan.settings_text()?)?;
        let child = Command::new(self.plan.programs.join("execution"))
            .arg("--config")
            .arg(own.join("config.toml"))
            .arg("--state")
            .arg(&own)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(own.join("log"))?)
            .kill_on_drop(true)
            .spawn();
        self.second = Some(child.context("start a second execution")?);
        Ok(())
    }

    /// The folder of all that the bench writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The number of a process of the pipeline; `paper-gateway` is one of them.
    pub fn pid(&self, name: &str) -> Option<u32> {
        if name == "paper-gateway" {
            return self.gateway.id();
        }
        self.stack.as_ref()?.pid(name)
    }

    /// Lengths of the frames at the gateway's socket, once a bar and an order were traced.
    pub fn frames(&self) -> Option<Frames> {
        Traced::read(&self.trace()).ok()?.frames()
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    /// Says a line to the operator.
    pub fn say(&self, line: &str) {
        print(line);
    }

    /// Stops everything and reads the gateway's trace.
    ///
    /// # Errors
    /// When the trace can't be read.
    pub async fn stop(mut self) -> anyhow::Result<Traced> {
        if let Some(mut second) = self.second.take() {
            second.kill().await.context("end the second execution")?;
        }
        if let Some(stack) = self.stack.take() {
            stack.stop().await;
        }
        if let Some(pid) = self.gateway.id() {
            process::send(pid, Signal::SIGTERM);
        }
        let patience = Duration::from_secs(GATEWAY_SECONDS_MAX);
        if tokio::time::timeout(patience, self.gateway.wait()).await.is_err() {
            self.gateway.kill().await.context("end the gateway")?;
        }
        Traced::read(&self.trace())
    }
}

/// What the bench changes against `services/config.toml`: many small decisions, each by the opinion on a bar.
fn decide_often(settings: &mut Settings) {
    eager(settings);
    settings.broker.second_pass_seconds = 2;
    settings.entry.up_min = 0.1;
    settings.entry.notional = Money::new(500, 0);
    settings.exits.down_min = 0.1;
    settings.exits.stop_loss = Money::new(5, 1);
    settings.exits.profit_target = Money::new(5, 1);
}

/// The paper gateway with a trace, beside the stack and not in it, so that the product's own start stays as it is.
async fn start_gateway(programs: &Path, folder: &Path) -> anyhow::Result<(Child, String)> {
    let program = programs.join("tradewind-paper-gateway");
    let sign = folder.join("gateway.address");
    let log = std::fs::File::create(folder.join("gateway.log"))?;
    let child = Command::new(&program)
        .args(["--listen", "127.0.0.1:0", "--state"])
        .arg(folder.join("gateway"))
        .arg("--address-file")
        .arg(&sign)
        .arg("--trace")
        .arg(folder.join("trace"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| {
        let text = format!(
            "{} does not start ({error}): type ./just bench, which builds it",
            program.display()
        );
        Exit::error(code::MISSING, text)
    })?;
    let deadline = Instant::now() + Duration::from_secs(GATEWAY_SECONDS_MAX);
    loop {
        if let Ok(address) = std::fs::read_to_string(&sign)
            && let Some(address) = address.strip_suffix('\n')
        {
            return Ok((child, address.to_owned()));
        }
        if Instant::now() >= deadline || child.try_wait()?.is_some() {
            let log = std::fs::read_to_string(folder.join("gateway.log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(Exit::error(
                code::UNAVAILABLE,
                format!("the paper gateway did not start: {last}"),
            ));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A folder that the stack takes for the project's: the same `nats.conf` with everything in one account, and a second
/// account in which the floor has the same subjects for itself.
fn root_with_floor(root: &Path, folder: &Path, secret: &str) -> anyhow::Result<PathBuf> {
    let conf = std::fs::read_to_string(root.join("nats.conf")).context("read nats.conf")?;
    let parts = || {
        let (head, rest) = conf.split_once("authorization {")?;
        let (_, users) = rest.split_once("users: [")?;
        let (users, tail) = users.rsplit_once('}')?;
        tail.trim().is_empty().then_some((head, users))
    };
    let (head, users) = parts().context("nats.conf does not end with `authorization { .. users: [..] }`")?;
    let text = format!(
        "{head}accounts {{\n    tradewind {{\n        jetstream: enabled\n        users: [{users}}}\n    floor {{\n        \
         jetstream: enabled\n        users: [ {{ user: {FLOOR_USER}, password: {secret} }} ]\n    }}\n}}\n"
    );
    let new = folder.join("root");
    std::fs::create_dir(&new)?;
    state::write_private(&new.join("nats.conf"), &text)?;
    if root.join(".tools").exists() {
        std::os::unix::fs::symlink(root.join(".tools"), new.join(".tools"))?;
    }
    Ok(new)
}

fn print(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
