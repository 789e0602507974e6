//! What is to run, decided before anything starts: settings in force, folders, addresses, and the market.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use protocol::Money;
use protocol::market::BarSize;
use protocol::settings::Settings;
use runtime::{Exit, code};

use crate::arguments::RunAll;
use crate::ports::{self, Wanted};
use crate::replay;

/// Where the paper gateway listens when nobody says otherwise.
pub const PAPER_GATEWAY: &str = "127.0.0.1:4010";
/// Distance between the port of NATS and that of its monitor, as in 4222 and 8222.
const MONITOR_DISTANCE: u16 = 4_000;
/// Between the two looks for an order that the first did not find, at the paper gateway.
const PAPER_SECOND_PASS_SECONDS: u32 = 2;
/// How fast bars are played when nobody says otherwise: a minute in a second.
const SPEED: &str = "60";
/// Name of the synthetic market, and of its state folder below `var/`.
pub const DEMO: &str = "demo";

/// What is to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The project's folder: `nats.conf`, models, the built page.
    pub root: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// Folder of the stages' programs.
    pub programs: PathBuf,
    /// Settings in force.
    pub settings: Settings,
    /// The market behind the gateway.
    pub market: Market,
    /// What was changed against the settings file, one line each, for the operator.
    pub overrides: Vec<String>,
}

/// What is behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Market {
    /// The paper gateway's synthetic market.
    Synthetic,
    /// The paper gateway, playing CSV bars.
    Replay {
        /// The folder with the files.
        folder: PathBuf,
        /// `1`, `60`, `max`.
        speed: String,
    },
    /// A real gateway, which somebody else starts.
    Broker,
}

impl Plan {
    /// Decides what is to run.
    ///
    /// # Errors
    /// One sentence with an exit code: a wrong setting, a missing folder, an address that is none.
    pub fn new(root: &Path, arguments: &RunAll) -> anyhow::Result<Self> {
        let root = root
            .canonicalize()
            .with_context(|| format!("find the folder {}", root.display()))?;
        let file = arguments
            .config
            .clone()
            .unwrap_or_else(|| root.join("services/config.toml"));
        let settings = runtime::config::read(&file)?;
        let programs = match &arguments.bin_dir {
            Some(folder) => std::path::absolute(folder)?,
            None => std::env::current_exe()?
                .parent()
                .map(Path::to_owned)
                .unwrap_or_default(),
        };
        let mut plan = Self {
            root,
            state: PathBuf::new(),
            programs,
            settings,
            market: Market::Synthetic,
            overrides: Vec::new(),
        };
        plan.choose_market(arguments)?;
        plan.choose_addresses(arguments)?;
        plan.choose_folders(arguments)?;
        plan.settings
            .check()
            .map_err(|reason| Exit::error(code::SETTING, reason))?;
        plan.require_loopback()?;
        Ok(plan)
    }

    /// What ran before, from the settings that were in force then; the market behind the gateway stays away.
    ///
    /// # Errors
    /// See [`Plan::new`].
    pub fn as_it_was(root: &Path, arguments: &RunAll) -> anyhow::Result<Self> {
        let file = arguments.config.clone().unwrap_or_default();
        let settings = runtime::config::read(&file)?;
        let programs = std::env::current_exe()?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let root = root
            .canonicalize()
            .with_context(|| format!("find the folder {}", root.display()))?;
        let market = Market::Broker;
        let mut plan = Self {
            root,
            state: PathBuf::new(),
            programs,
            settings,
            market,
            overrides: Vec::new(),
        };
        plan.choose_addresses(arguments)?;
        plan.choose_folders(arguments)?;
        Ok(plan)
    }

    fn choose_market(&mut self, arguments: &RunAll) -> anyhow::Result<()> {
        if let Some(folder) = &arguments.market {
            let found = replay::look(folder)?;
            let speed = arguments.speed.clone().unwrap_or_else(|| SPEED.to_owned());
            check_speed(&speed)?;
            let market = &mut self.settings.market;
            let size = found.bar_size(market.bar_size);
            market.name = found.name;
            self.overrides.push(format!(
                "market.watchlist: the {} files of {}",
                found.symbols.len(),
                folder.display()
            ));
            if size != market.bar_size {
                self.overrides.push(format!(
                    "market.bar_size = \"{size}\": the rows are that far apart"
                ));
            }
            market.watchlist = found.symbols;
            market.bar_size = size;
            self.be_patient(size);
            self.look_again_soon();
            self.market = Market::Replay {
                folder: std::path::absolute(folder)?,
                speed,
            };
        } else if arguments.broker.is_some() || self.names_a_real_gateway(arguments) {
            if self.settings.market.name == DEMO {
                "broker".clone_into(&mut self.settings.market.name);
            }
            self.market = Market::Broker;
        } else {
            self.enliven();
        }
        Ok(())
    }

    /// The settings themselves may point at a real gateway; 4010 is ours, anything else is somebody's.
    fn names_a_real_gateway(&self, arguments: &RunAll) -> bool {
        arguments.gateway_port.is_none() && self.settings.broker.address != PAPER_GATEWAY
    }

    /// The synthetic market lives in seconds, not in minutes: short bars, near exits, quick new decisions.
    fn enliven(&mut self) {
        let settings = &mut self.settings;
        DEMO.clone_into(&mut settings.market.name);
        settings.market.bar_size = BarSize::FIVE_SECONDS;
        settings.entry.cooldown_bars = 3;
        settings.exits.stop_loss = Money::new(2, 3);
        settings.exits.profit_target = Money::new(3, 3);
        settings.risk.trades_per_symbol_per_day_max = 500;
        settings.risk.orders_per_minute_max = 60;
        self.overrides.extend([
            "market.bar_size = \"5s\", entry.cooldown_bars = 3".to_owned(),
            "exits.stop_loss = \"0.002\", exits.profit_target = \"0.003\"".to_owned(),
            "risk.trades_per_symbol_per_day_max = 500, risk.orders_per_minute_max = 60".to_owned(),
        ]);
        self.look_again_soon();
    }

    /// Rows of bars tell few prices, and at sixty times speed a second of ours is a minute of theirs.
    fn be_patient(&mut self, size: BarSize) {
        let settings = &mut self.settings;
        settings.market.stale_after_seconds = settings.market.stale_after_seconds.max(2 * size.seconds());
        settings.entry.signal_age_seconds_max = settings.entry.signal_age_seconds_max.max(size.seconds());
        self.overrides.push(format!(
            "market.stale_after_seconds = {}, entry.signal_age_seconds_max = {}",
            settings.market.stale_after_seconds, settings.entry.signal_age_seconds_max
        ));
    }

    /// A gateway next door says at once what became of an order; only a real broker needs time.
    fn look_again_soon(&mut self) {
        self.settings.broker.second_pass_seconds = PAPER_SECOND_PASS_SECONDS;
        self.overrides.push(format!(
            "broker.second_pass_seconds = {PAPER_SECOND_PASS_SECONDS}"
        ));
    }

    fn choose_addresses(&mut self, arguments: &RunAll) -> anyhow::Result<()> {
        let settings = &mut self.settings;
        if let Some(port) = arguments.nats_port {
            set_port("nats.address", &mut settings.nats.address, port)?;
            let nats = address("nats.address", &settings.nats.address)?.port();
            let follows = if port == 0 {
                0
            } else {
                nats.checked_add(MONITOR_DISTANCE).unwrap_or(0)
            };
            set_port(
                "nats.monitor",
                &mut settings.nats.monitor,
                arguments.monitor_port.unwrap_or(follows),
            )?;
        } else if let Some(port) = arguments.monitor_port {
            set_port("nats.monitor", &mut settings.nats.monitor, port)?;
        }
        if let Some(port) = arguments.dashboard_port {
            set_port("bridge.listen", &mut settings.bridge.listen, port)?;
        }
        match (&self.market, &arguments.broker) {
            (Market::Broker, Some(broker)) => settings.broker.address.clone_from(broker),
            (Market::Broker, None) => {}
            (_, _) => {
                PAPER_GATEWAY.clone_into(&mut settings.broker.address);
                if let Some(port) = arguments.gateway_port {
                    set_port("broker.address", &mut settings.broker.address, port)?;
                }
            }
        }
        Ok(())
    }

    fn choose_folders(&mut self, arguments: &RunAll) -> anyhow::Result<()> {
        let settings = &mut self.settings;
        self.state = match &arguments.state {
            Some(folder) => std::path::absolute(folder)?,
            None => self.root.join("var").join(&settings.market.name),
        };
        settings.signal.models = self.root.join(&settings.signal.models);
        settings.bridge.page = match &arguments.page {
            Some(folder) => std::path::absolute(folder)?,
            None => self.root.join(&settings.bridge.page),
        };
        Ok(())
    }

    /// What run-all starts listens on this machine only.
    fn require_loopback(&self) -> anyhow::Result<()> {
        for want in self.wanted()? {
            if !want.address.ip().is_loopback() {
                let text = format!(
                    "{} would listen on {}, which other machines reach: use 127.0.0.1 and a tunnel",
                    want.purpose, want.address
                );
                return Err(Exit::error(code::SETTING, text));
            }
        }
        Ok(())
    }

    /// Every address that something of the stack will listen on.
    ///
    /// # Errors
    /// [`code::SETTING`] when one is no address.
    pub fn wanted(&self) -> anyhow::Result<Vec<Wanted>> {
        let settings = &self.settings;
        let mut wanted = vec![
            Wanted {
                purpose: "NATS",
                address: address("nats.address", &settings.nats.address)?,
                option: "--nats-port",
            },
            Wanted {
                purpose: "the monitor of NATS",
                address: address("nats.monitor", &settings.nats.monitor)?,
                option: "--monitor-port",
            },
            Wanted {
                purpose: "the dashboard",
                address: address("bridge.listen", &settings.bridge.listen)?,
                option: "--dashboard-port",
            },
        ];
        if self.market != Market::Broker {
            wanted.push(Wanted {
                purpose: "the paper gateway",
                address: address("broker.address", &settings.broker.address)?,
                option: "--gateway-port",
            });
        }
        Ok(wanted)
    }

    /// The settings in force as a file, with what was changed said on top.
    ///
    /// # Errors
    /// When they can't be written as TOML.
    pub fn settings_text(&self) -> anyhow::Result<String> {
        let mut text =
            "# The settings in force, written by run-all. Change services/config.toml, not this.\n"
                .to_owned();
        for line in &self.overrides {
            text.push_str(&format!("# changed for this market: {line}\n"));
        }
        text.push('\n');
        text.push_str(&toml::to_string(&self.settings).context("write the settings as TOML")?);
        Ok(text)
    }
}

/// The project's folder: the nearest that holds `nats.conf`, from the current folder up, else from this
/// program's.
///
/// # Errors
/// [`code::MISSING`] when there is none.
pub fn find_root() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let program = std::env::current_exe()?;
    let folders = here.ancestors().chain(program.ancestors());
    let found = folders
        .map(Path::to_owned)
        .find(|folder| folder.join("nats.conf").is_file());
    found.ok_or_else(|| {
        let text = format!(
            "there is no nats.conf in {} or above it: change to the project's folder",
            here.display()
        );
        Exit::error(code::MISSING, text)
    })
}

fn check_speed(speed: &str) -> anyhow::Result<()> {
    let number = speed
        .parse::<f64>()
        .is_ok_and(|number| number > 0.0 && number.is_finite());
    if number || speed == "max" {
        return Ok(());
    }
    Err(Exit::error(
        code::SETTING,
        format!("--speed is `{speed}`: use a number above 0, or max"),
    ))
}

fn address(key: &str, text: &str) -> anyhow::Result<SocketAddr> {
    let found = text
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| {
        Exit::error(
            code::SETTING,
            format!("{key} is `{text}`: use an address such as 127.0.0.1:4222"),
        )
    })
}

/// Puts another port into an address; 0 takes a free one.
fn set_port(key: &str, text: &mut String, port: u16) -> anyhow::Result<()> {
    let mut socket = address(key, text)?;
    socket.set_port(if port == 0 { ports::free()? } else { port });
    *text = socket.to_string();
    Ok(())
}
