//! What this program was written for: a runner that forgot its positions bought the same shares every minute, and ran
//! twice at once. Here eighteen stocks are held at the broker, every opinion says buy, and the ledger knows nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use protocol::Money;
use protocol::decision::Signal;
use protocol::operator::{Health, HealthState};
use protocol::settings::Settings;
use protocol::subject::filter;
use serde_json::json;
use supervisor::arguments::RunAll;
use supervisor::eager::eager;
use supervisor::{Plan, state};

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, Whole, arguments, programs, root, until};

/// The one stock of the watchlist that is not held.
const FREE: &str = "AAPL";
/// A held stock that is sold by hand at the end.
const SOLD: &str = "NVDA";
/// The client id of a person at the broker's own screen.
const PERSON: i64 = 0;

/// Every opinion says buy, nothing says sell, and no limit is near: only what is held can keep an entry back.
pub fn always_buy(settings: &mut Settings) {
    eager(settings);
    settings.broker.second_pass_seconds = 1;
    settings.broker.reconcile_seconds = 2;
    settings.entry.up_min = 0.0;
    settings.entry.notional = Money::new(500, 0);
    settings.exits.down_min = 1.0;
    settings.exits.stop_loss = Money::new(9, 1);
    settings.exits.profit_target = Money::new(9, 0);
    settings.risk.notional_per_symbol_max = Money::new(10_000_000, 0);
    settings.risk.shares_per_symbol_max = Money::new(1_000_000, 0);
}

/// Waits until each stock had `times` more opinions that say buy.
pub async fn opinions(whole: &Whole, times: u32) {
    let settings = &whole.stack.plan.settings;
    let mut signals = whole
        .stack
        .bus()
        .unwrap()
        .subscribe::<Signal>(filter::SIGNALS)
        .await
        .unwrap();
    let mut heard = BTreeMap::<_, u32>::new();
    let every = async {
        while heard.values().filter(|count| **count >= times).count() < settings.market.watchlist.len() {
            let signal = signals.next().await.expect("the bus is open").body;
            assert!(signal.up >= settings.entry.up_min && signal.down < settings.exits.down_min);
            *heard.entry(signal.symbol).or_default() += 1;
        }
    };
    tokio::time::timeout(PATIENCE, every)
        .await
        .expect("opinions on every stock");
}

/// How often each stock was ordered by the pipeline.
pub fn ordered(gateway: &Gateway) -> BTreeMap<String, u32> {
    let mut count = BTreeMap::new();
    for (client, symbol, _) in gateway.orders() {
        *count.entry(symbol).or_default() += u32::from(client != PERSON);
    }
    count.retain(|_, times| *times > 0);
    count
}

fn only(symbols: &[&str]) -> BTreeMap<String, u32> {
    symbols.iter().map(|symbol| ((*symbol).to_owned(), 1)).collect()
}

/// A second execution. A drop ends it.
pub struct Runner(pub Child);

impl Drop for Runner {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it on a folder of its own, with the same NATS and the same broker, and with these variables.
pub fn second_runner(folder: &Path, plan: &Plan, environment: &[(&str, &str)]) -> Runner {
    let own = folder.join("second");
    std::fs::create_dir_all(own.join("secrets")).unwrap();
    let secret = state::secret_of(&plan.state, "execution").unwrap();
    state::write_private(&own.join("secrets/execution"), &secret).unwrap();
    std::fs::copy(plan.state.join("config.toml"), own.join("config.toml")).unwrap();
    let child = Command::new(programs().join("execution"))
        .arg("--config")
        .arg(own.join("config.toml"))
        .arg("--state")
        .arg(&own)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a second execution starts");
    Runner(child)
}

/// Waits until the execution with this process number says that it is so.
pub async fn says(whole: &Whole, pid: u32, state: HealthState) {
    let mut beats = whole
        .stack
        .bus()
        .unwrap()
        .subscribe::<Health>(filter::HEALTH)
        .await
        .unwrap();
    let end = format!("-{pid}");
    let wanted = async {
        loop {
            let health = beats.next().await.expect("the bus is open").body;
            if health.service == "execution" && health.instance.ends_with(&end) && health.state == state {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wanted).await;
    waited.unwrap_or_else(|_| panic!("execution {pid} never said {state:?}"));
}

fn pid_of_execution(whole: &Whole) -> u32 {
    whole.stack.pid("execution").expect("execution runs")
}

#[tokio::test]
async fn eighteen_positions_at_the_broker_are_not_bought_again() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &["--cash", "10000000"]).await;
    let run = RunAll {
        broker: Some(gateway.address.clone()),
        gateway_port: None,
        ..arguments(&folder.path().join("state"))
    };
    let mut plan = Plan::new(&root(), &run).unwrap();
    always_buy(&mut plan.settings);
    let held: Vec<_> = plan
        .settings
        .market
        .watchlist
        .iter()
        .map(ToString::to_string)
        .collect();
    let held: Vec<_> = held.into_iter().filter(|symbol| symbol != FREE).collect();
    assert_eq!(held.len(), 18);
    for symbol in &held {
        gateway.order(&json!({"fault": "manual-trade", "symbol": symbol, "side": "buy", "quantity": "10"}));
    }
    let bought = || async {
        let facts = gateway.facts();
        (facts.iter().filter(|fact| fact["record"] == "filled").count() >= held.len()).then_some(())
    };
    until("the positions at the broker", PATIENCE, bought).await;

    // An empty ledger, and every opinion says buy: only the stock that is not held is bought.
    let whole = Whole::on(folder, plan).await;
    says(&whole, pid_of_execution(&whole), HealthState::Ready).await;
    opinions(&whole, 2).await;
    let bought = || async { ordered(&gateway).contains_key(FREE).then_some(()) };
    until("the free stock is bought", PATIENCE, bought).await;
    assert_eq!(ordered(&gateway), only(&[FREE]));

    // Two runners: the second stands by, and takes over when the first ends.
    let second = second_runner(whole.folder.path(), &whole.stack.plan, &[]);
    says(&whole, second.0.id(), HealthState::Standby).await;
    opinions(&whole, 1).await;
    assert_eq!(ordered(&gateway), only(&[FREE]));
    let mut whole = whole;
    whole.stack.stop_one("execution").await;
    says(&whole, second.0.id(), HealthState::Ready).await;
    opinions(&whole, 2).await;
    assert_eq!(ordered(&gateway), only(&[FREE]));
    drop(second);

    // Later everything is started again, and once more the ledger is lost with all the rest.
    let (folder, plan) = whole.stop_and_keep().await;
    let whole = Whole::on(folder, plan).await;
    says(&whole, pid_of_execution(&whole), HealthState::Ready).await;
    opinions(&whole, 2).await;
    assert_eq!(ordered(&gateway), only(&[FREE]));
    let (folder, plan) = whole.stop_and_keep().await;
    std::fs::remove_dir_all(&plan.state).unwrap();
    let whole = Whole::on(folder, plan).await;
    says(&whole, pid_of_execution(&whole), HealthState::Ready).await;
    opinions(&whole, 2).await;
    assert_eq!(ordered(&gateway), only(&[FREE]));

    // What kept it back is what is held: a stock that a person sells is bought.
    gateway.order(&json!({"fault": "manual-trade", "symbol": SOLD, "side": "sell", "quantity": "10"}));
    let again = || async { (ordered(&gateway) == only(&[FREE, SOLD])).then_some(()) };
    until("the stock that was sold is bought", PATIENCE, again).await;
    whole.stop().await;
}
