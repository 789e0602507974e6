//! The whole pipeline as one thing: start, look, stop. `run-all` and the end-to-end tests use the same one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use protocol::operator::{Health, HealthState};
use runtime::{Bus, Exit, code};
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::member::{Member, Recipe, STOP_MS_MAX, Say};
use crate::plan::{Market, Plan};
use crate::process::Identity;
use crate::pulse::{self, Pulse};
use crate::record::{Board, Kept, Record};
use crate::state::{self, Held};
use crate::{ports, server, stop};

/// The stages that are on the bus, in the order of their start. Readers come before writers, so that nothing
/// is said before it is heard; market-data, which sets everything going, comes last.
pub const STAGES: [&str; 5] = ["persistence", "bridge", "signal", "execution", "market-data"];
/// How long a part may take to make itself known, or to be ready.
const READY_SECONDS_MAX: u64 = 45;
/// How long a stage may be degraded at its start before that is told, and others are looked at.
const DEGRADED_SECONDS_MAX: u64 = 3;
/// The same for standing by: longer than the lease of a killed run lasts.
const STANDBY_SECONDS_MAX: u64 = 8;
/// How long stopping everything may take.
const STACK_STOP_MS_MAX: u64 = 4_800;
/// What each part has at the least before it is killed.
const STOP_MS_MIN: u64 = 250;
/// Time between two looks at something that can't call us.
const LOOK_MS: u64 = 20;

/// A running pipeline.
pub struct Stack {
    /// What runs.
    pub plan: Plan,
    held: Held,
    board: Board,
    alarm: Alarm,
    members: Vec<Member>,
    bus: Option<Bus>,
    pulse: Option<Pulse>,
    say: Say,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Stack {
    /// Starts everything in order and waits until every stage says how it is.
    ///
    /// # Errors
    /// One sentence with an exit code; what was started until then is stopped again.
    pub async fn start(plan: Plan, say: Say) -> anyhow::Result<Self> {
        let mut stack = Self::prepare(plan, say)?;
        match stack.start_all().await {
            Ok(()) => Ok(stack),
            Err(error) => {
                stack.stop().await;
                Err(error)
            }
        }
    }

    /// Takes the state folder, ends leftovers, and writes what the stages need to start. Starts nothing.
    ///
    /// # Errors
    /// See [`Stack::start`].
    pub fn prepare(mut plan: Plan, say: Say) -> anyhow::Result<Self> {
        let held = state::hold(&plan.state)?;
        stop::leftovers(&plan.state, &say);
        ports::check(&plan.wanted()?)?;
        state::make_secrets(&plan.state)?;
        // Who names it in the settings knows better: a ledger of before it had a name of its own knows it by its address.
        if plan.market != Market::Broker && plan.settings.broker.gateway.is_empty() {
            plan.settings.broker.gateway = state::gateway_name(&plan.state)?;
        }
        state::write_private(&plan.state.join("config.toml"), &plan.settings_text()?)?;
        state::write_operator_env(&plan.state, &plan.settings.nats.address)?;
        let record = Record {
            supervisor: Identity::own(),
            market: plan.settings.market.name.clone(),
            nats: plan.settings.nats.address.clone(),
            dashboard: plan.settings.bridge.listen.clone(),
            broker: plan.settings.broker.address.clone(),
            members: Vec::new(),
        };
        let board = Board::new(&plan.state, record);
        Ok(Self {
            plan,
            held,
            board,
            alarm: Alarm::default(),
            members: Vec::new(),
            bus: None,
            pulse: None,
            say,
        })
    }

    /// Starts everything in order and waits until every stage says how it is.
    ///
    /// # Errors
    /// See [`Stack::start`].
    pub async fn start_all(&mut self) -> anyhow::Result<()> {
        require_programs(&self.plan)?;
        self.start_server().await?;
        if self.plan.market != Market::Broker {
            self.start_gateway().await?;
        }
        for name in STAGES {
            self.start_stage(name).await?;
        }
        for name in STAGES {
            self.wait_until_settled(name).await;
        }
        Ok(())
    }

    /// Starts the NATS server and makes the streams.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_server(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let settings = self.plan.settings.clone();
        let port = settings
            .nats
            .address
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .unwrap_or_default();
        let recipe = server::recipe(&self.plan.root, &self.plan.state, port, &settings.nats.monitor)?;
        self.keep(recipe);
        let monitor = settings.nats.monitor.clone();
        self.wait("nats-server", || server::is_ready(&monitor)).await?;
        runtime::setup::streams(
            &settings.nats.address,
            &state::secret_of(&self.plan.state, "admin")?,
        )
        .await?;
        let secret = state::secret_of(&self.plan.state, "operator")?;
        let bus = Bus::connect("operator", &settings.nats.address, &secret).await?;
        self.pulse = Some(Pulse::listen(&bus).await?);
        self.alarm.open(bus.clone());
        self.bus = Some(bus);
        self.tell_ready("nats-server", &settings.nats.address, began);
        Ok(())
    }

    /// Starts the paper gateway.
    ///
    /// # Errors
    /// When it does not come up; when it refuses its data, with its own sentence and exit code.
    pub async fn start_gateway(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let listen = self.plan.settings.broker.address.clone();
        let folder = self.plan.state.join("gateway");
        state::private_folder(&folder)?;
        let sign = self.plan.state.join("gateway.address");
        let _ = std::fs::remove_file(&sign);
        let mut arguments = vec![
            "--listen".into(),
            listen.clone().into(),
            "--state".into(),
            folder.into(),
        ];
        arguments.extend(["--address-file".into(), sign.clone().into()]);
        if let Market::Replay { folder, speed } = &self.plan.market {
            arguments.extend(["--market".into(), folder.into(), "--speed".into(), speed.into()]);
        }
        let program = self.plan.programs.join("tradewind-paper-gateway");
        let log = self.plan.state.join("logs/paper-gateway.log");
        self.keep(Recipe {
            name: "paper-gateway",
            program,
            arguments,
            environment: Vec::new(),
            log,
        });
        self.wait("paper-gateway", || std::future::ready(sign.exists()))
            .await?;
        self.tell_ready("paper-gateway", &listen, began);
        Ok(())
    }

    /// Starts a stage and waits until it is on the bus.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_stage(&mut self, name: &'static str) -> anyhow::Result<()> {
        let state = &self.plan.state;
        let arguments = vec![
            "--config".into(),
            state.join("config.toml").into(),
            "--state".into(),
            state.into(),
        ];
        let log = state.join("logs").join(format!("{name}.log"));
        let program = self.plan.programs.join(name);
        self.keep(Recipe {
            name,
            program,
            arguments,
            environment: Vec::new(),
            log,
        });
        let heard = self
            .pulse
            .as_ref()
            .context("the NATS server is started first")?
            .heard();
        let view = self.member(name).context("was just started")?.view();
        let known = || {
            let pid = view.borrow().pid;
            std::future::ready(pid.is_some_and(|pid| pulse::of(&heard.borrow(), name, pid).is_some()))
        };
        self.wait(name, known).await
    }

    fn keep(&mut self, recipe: Recipe) {
        let (board, alarm) = (self.board.clone(), self.alarm.clone());
        self.members
            .push(Member::start(recipe, board, alarm, self.say.clone()));
    }

    fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.recipe.name == name)
    }

    /// Waits until a part made itself known; ends early when it gave up.
    async fn wait<F: Future<Output = bool>>(
        &self,
        name: &'static str,
        known: impl Fn() -> F,
    ) -> anyhow::Result<()> {
        let view = self.member(name).context("a part that was started")?.view();
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        loop {
            if known().await {
                return Ok(());
            }
            let now = view.borrow().clone();
            let log = self.plan.state.join("logs").join(format!("{name}.log"));
            if now.state == Kept::GivenUp {
                let end = now.last_end.context("gave up after an end")?;
                let code = end
                    .code
                    .filter(|code| *code >= code::SETTING)
                    .unwrap_or(code::UNAVAILABLE);
                return Err(Exit::error(
                    code,
                    format!("{name} {}: its log is {}", end.text, log.display()),
                ));
            }
            if Instant::now() >= deadline {
                let text = format!(
                    "{name} was not up after {READY_SECONDS_MAX} s: read {}",
                    log.display()
                );
                return Err(Exit::error(code::UNAVAILABLE, text));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// Waits until a stage no longer says that it is starting, and tells how it is; `None` when that takes
    /// too long.
    pub async fn wait_until_settled(&self, name: &'static str) -> Option<Health> {
        let began = Instant::now();
        let deadline = began + Duration::from_secs(READY_SECONDS_MAX);
        let mut stuck_since = None;
        let health = loop {
            let health = self.health(name);
            let patience = match health.as_ref().map(|health| health.state) {
                Some(HealthState::Ready) => break health,
                // What it lacks may come in a moment: the broker's answer, a lease that a killed run left behind.
                Some(HealthState::Degraded) => Some(DEGRADED_SECONDS_MAX),
                Some(HealthState::Standby) => Some(STANDBY_SECONDS_MAX),
                Some(HealthState::Starting) | None => None,
            };
            let now = Instant::now();
            let since = patience.map(|_| *stuck_since.get_or_insert(now));
            let stuck = since
                .zip(patience)
                .is_some_and(|(since, patience)| now >= since + Duration::from_secs(patience));
            if stuck || now >= deadline || self.kept(name) == Some(Kept::GivenUp) {
                break health;
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        };
        match &health {
            Some(health) if health.state == HealthState::Ready => self.tell_ready(name, "", began),
            Some(health) => (self.say)(&format!("  {name:<14} {}: {}", word(health.state), health.text)),
            None => (self.say)(&format!("  {name:<14} is not on the bus; it goes on trying")),
        }
        health
    }

    fn tell_ready(&self, name: &str, place: &str, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        (self.say)(format!("  {name:<14} ready   {seconds:>4.1} s  {place}").trim_end());
    }

    /// The last heartbeat of the running process of a stage.
    #[must_use]
    pub fn health(&self, name: &str) -> Option<Health> {
        let pid = self.pid(name)?;
        pulse::of(&self.pulse.as_ref()?.heard().borrow(), name, pid).cloned()
    }

    /// The number of a part's process while it runs.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.member(name)?.pid()
    }

    /// How often a part was started again.
    #[must_use]
    pub fn restarts(&self, name: &str) -> u32 {
        self.board.member(name).map_or(0, |member| member.restarts)
    }

    /// Whether a part is kept up.
    #[must_use]
    pub fn kept(&self, name: &str) -> Option<Kept> {
        self.board.member(name).map(|member| member.state)
    }

    /// Sends a signal to a part, as a fault would.
    pub fn signal(&self, name: &str, signal: Signal) {
        if let Some(pid) = self.pid(name) {
            crate::process::send(pid, signal);
        }
    }

    /// Stops one part and does not start it again.
    pub async fn stop_one(&mut self, name: &str) {
        if let Some(place) = self.members.iter().position(|member| member.recipe.name == name) {
            self.members
                .remove(place)
                .stop(Duration::from_millis(STOP_MS_MAX))
                .await;
        }
    }

    /// The operator's connection to the bus, once the server is up.
    #[must_use]
    pub fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }

    /// The address to type into a browser.
    #[must_use]
    pub fn dashboard(&self) -> String {
        state::dashboard_address(&self.plan.state, &self.plan.settings.bridge.listen)
    }

    /// Where the logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.held.folder.join("logs")
    }

    /// Stops everything, last started first, and forgets the record. Each part has its time; none is left.
    pub async fn stop(mut self) {
        self.pulse = None;
        self.alarm.close();
        self.bus = None;
        let deadline = Instant::now() + Duration::from_millis(STACK_STOP_MS_MAX);
        while let Some(member) = self.members.pop() {
            // Those that are still to come keep a little time each, whatever the ones before needed.
            let others =
                Duration::from_millis(STOP_MS_MIN) * u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            let left = deadline
                .saturating_duration_since(Instant::now())
                .saturating_sub(others);
            let patience = left.clamp(
                Duration::from_millis(STOP_MS_MIN),
                Duration::from_millis(STOP_MS_MAX),
            );
            member.stop(patience).await;
        }
        self.board.remove();
    }
}

/// The state of a stage as a word.
#[must_use]
pub fn word(state: HealthState) -> &'static str {
    match state {
        HealthState::Starting => "starting",
        HealthState::Ready => "ready",
        HealthState::Degraded => "degraded",
        HealthState::Standby => "standby",
    }
}

fn require_programs(plan: &Plan) -> anyhow::Result<()> {
    let gateway = (plan.market != Market::Broker).then_some("tradewind-paper-gateway");
    for name in STAGES.into_iter().chain(gateway) {
        let file = plan.programs.join(name);
        if !file.is_file() {
            let text = format!(
                "the program {} is not built: type ./just run-all, which builds it",
                file.display()
            );
            return Err(Exit::error(code::MISSING, text));
        }
    }
    Ok(())
}
