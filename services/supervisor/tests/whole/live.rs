//! An account with real money: it is traded only when it was named twice, it starts halted, and a browser may only reduce
//! its risk.

use protocol::ledger::{CommandRecord, Entry, Record};
use protocol::operator::{Command, Health, HealthState, Reply};
use protocol::subject::{self, filter, stream};
use runtime::Bus;
use supervisor::arguments::RunAll;
use supervisor::{Plan, state};

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, Whole, arguments, root, until};
use crate::story::{always_buy, opinions, ordered, says, second_runner};

/// An account that is none of the paper ones.
const ACCOUNT: &str = "U1234567";
/// Where its owner repeats it.
const REPEATED: &str = "TRADEWIND_LIVE_ACCOUNT";

/// Waits until an execution says this of itself.
async fn explains(whole: &Whole, words: &str) {
    let bus = whole.stack.bus().unwrap();
    let mut beats = bus.subscribe::<Health>(filter::HEALTH).await.unwrap();
    let wanted = async {
        loop {
            let health = beats.next().await.expect("the bus is open").body;
            if health.service == "execution" && health.text.contains(words) {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wanted).await;
    waited.unwrap_or_else(|_| panic!("no execution ever said `{words}`"));
}

/// Asks as a browser does, through the bridge's own user.
async fn from_a_browser(bus: &Bus, verb: &str) -> Reply {
    let subject = subject::web_command(verb);
    let reply = bus.request(&subject, &Command::default()).await;
    reply.unwrap_or_else(|error| panic!("no answer to {verb}: {error:#}"))
}

/// The last command of LEDGER.
async fn recorded(whole: &Whole) -> CommandRecord {
    let bus = whole.stack.bus().unwrap();
    let last: Option<(Record, _)> = bus.last(stream::LEDGER, "account.command.>").await.unwrap();
    match last.map(|(record, _)| record.entry) {
        Some(Entry::Command(command)) => command,
        other => panic!("no command but {other:?}"),
    }
}

#[tokio::test]
async fn a_live_account_is_named_twice_starts_halted_and_a_browser_only_reduces_its_risk() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &["--account", ACCOUNT, "--cash", "10000000"]).await;
    let run = RunAll {
        broker: Some(gateway.address.clone()),
        gateway_port: None,
        ..arguments(&folder.path().join("state"))
    };
    let mut plan = Plan::new(&root(), &run).unwrap();
    always_buy(&mut plan.settings);
    plan.settings.broker.live_account = ACCOUNT.to_owned();
    // The gate of the daily restart would close it at one hour of the day.
    plan.settings.broker.restart_at = "none".to_owned();

    // Named once is not enough.
    let mut whole = Whole::on(folder, plan).await;
    explains(&whole, "is an account with real money").await;
    assert!(
        ordered(&gateway).is_empty(),
        "an account that was named once is not traded"
    );
    whole.stack.stop_one("execution").await;

    // Named twice it starts, and halted: every opinion says buy, and nothing is bought.
    let plan = &whole.stack.plan;
    let runner = second_runner(whole.folder.path(), plan, &[(REPEATED, ACCOUNT)]);
    says(&whole, runner.0.id(), HealthState::Ready).await;
    opinions(&whole, 2).await;
    assert!(ordered(&gateway).is_empty(), "a live account starts halted");

    let secret = state::secret_of(&plan.state, "bridge").unwrap();
    let bridge = Bus::connect("bridge", &plan.settings.nats.address, &secret)
        .await
        .unwrap();
    let refused = from_a_browser(&bridge, "resume").await;
    assert!(
        !refused.accepted && refused.text.contains("only reduce risk"),
        "{refused:?}"
    );
    let told = recorded(&whole).await;
    assert_eq!(
        (&told.verb[..], &told.by[..], told.accepted, &told.text),
        ("resume", "web", false, &refused.text)
    );
    let unknown: Reply = bridge
        .request(&subject::web_command("resume"), &"what a program would say")
        .await
        .unwrap();
    let told = recorded(&whole).await;
    assert_eq!(
        (&told.verb[..], &told.by[..], told.accepted, &told.text),
        ("resume", "web", false, &unknown.text)
    );
    let halted = from_a_browser(&bridge, "halt").await;
    assert!(halted.accepted, "{halted:?}");
    opinions(&whole, 1).await;
    assert!(ordered(&gateway).is_empty(), "a browser lets nothing go on");

    // Who has the operator's key may.
    let bus = whole.stack.bus().unwrap();
    let resumed: Reply = bus
        .request(&subject::command("resume"), &Command::default())
        .await
        .unwrap();
    assert!(resumed.accepted, "{resumed:?}");
    let bought = || async { (!ordered(&gateway).is_empty()).then_some(()) };
    until("the first order after resume", PATIENCE, bought).await;
    drop(runner);
    whole.stop().await;
}
