//! kill -9 of everything, one after the other, while it trades: the account at the gateway is the judge.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use engine::order::{Order, OrderState};
use engine::venue::account::Account;
use nix::sys::signal::Signal;
use protocol::Symbol;
use protocol::decision::{Alert, Level, Signal as Opinion};
use protocol::ledger::{Entry, Record};
use protocol::operator::{Command, HealthState, Query, Reply};
use protocol::subject::{self, filter, stream};
use serde_json::Value;
use supervisor::member::RESTARTS_MAX;
use supervisor::record::Kept;
use supervisor::stack::STAGES;
use tokio::sync::Mutex;

use crate::harness::{PATIENCE, Whole, demo, until};
use crate::pipeline::{Books, first_trade};

/// Times that execution is killed while it trades.
const KILLS: u32 = 3;

/// What the gateway has on its disk: the account, and the tag of every order it ever took.
fn at_the_gateway(state: &Path) -> (Account, Vec<String>) {
    let text =
        std::fs::read_to_string(state.join("gateway/account.log")).expect("the gateway keeps its account");
    let mut account = Account::default();
    let mut tags = Vec::new();
    // A last line without an end is being written.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let record: engine::venue::record::Record =
            serde_json::from_str(line).expect("a record of the gateway");
        if let engine::venue::record::Record::Accepted { order } = &record {
            tags.push(order.ticket.reference.clone());
        }
        account.apply(&record);
    }
    (account, tags)
}

async fn command(whole: &Whole, verb: &str) -> Reply {
    let ask = || async {
        let bus = whole.stack.bus()?;
        bus.request::<_, Reply>(&subject::command(verb), &Command::default())
            .await
            .ok()
    };
    until(&format!("an answer to {verb}"), PATIENCE, ask).await
}

async fn ready(whole: &Whole, stage: &'static str) {
    let look = || async {
        whole
            .stack
            .health(stage)
            .filter(|health| health.state == HealthState::Ready)
    };
    until(&format!("{stage} is ready again"), PATIENCE, look).await;
}

async fn kill(whole: &Whole, name: &str) {
    let before = whole.stack.pid(name).expect("it runs");
    whole.stack.signal(name, Signal::SIGKILL);
    let other = || async { whole.stack.pid(name).filter(|pid| *pid != before) };
    until(&format!("{name} is started again"), PATIENCE, other).await;
}

/// Halts, waits until nothing works any more, and compares our books with the broker's. An order that was written into
/// LEDGER and whose sender was killed before it left is in doubt and then absent: the gateway must never have seen it.
async fn books_agree(whole: &Whole) {
    let reply = command(whole, "halt").await;
    assert!(reply.accepted, "{reply:?}");
    let state = &whole.stack.plan.state;
    let books = Mutex::new(Books::open(&whole.stack).await);
    let look = || async {
        let (_, mark) = whole.ask::<Value>("positions", &Query::default()).await?;
        let mut books = books.lock().await;
        books.up_to(mark?.sequence).await;
        let own = &books.portfolio;
        let (account, tags) = at_the_gateway(state);
        let symbols: BTreeSet<Symbol> = account
            .positions
            .keys()
            .chain(own.positions.keys())
            .copied()
            .collect();
        let same = symbols
            .iter()
            .all(|symbol| account.shares(*symbol) == own.held(*symbol));
        let never_left = |order: &Order| {
            order.state == OrderState::Absent && !tags.iter().any(|tag| *tag == order.id.as_str())
        };
        (same && account.open.is_empty() && own.open_orders().all(never_left)).then_some(())
    };
    until("our books and the broker's agree", PATIENCE, look).await;
    let (account, tags) = at_the_gateway(state);
    let different: BTreeSet<_> = tags.iter().collect();
    assert_eq!(different.len(), tags.len(), "an order was sent twice: {tags:?}");
    let limit = whole.stack.plan.settings.risk.shares_per_symbol_max;
    assert!(
        account
            .positions
            .keys()
            .all(|symbol| account.shares(*symbol) <= limit),
        "a limit was passed"
    );
    broker_truth_came_first(whole).await;
}

/// After each epoch, the broker's word is folded in before any order is decided, and it never had to be
/// corrected.
async fn broker_truth_came_first(whole: &Whole) {
    let bus = whole.stack.bus().unwrap();
    let mut records = bus.history::<Record>(stream::LEDGER, ">", 1).await.unwrap();
    let (mut sequence, mut epochs, mut known) = (0, 0, false);
    while sequence < records.head {
        let stored = records.next().await.unwrap();
        sequence = stored.sequence;
        match stored.message.entry {
            Entry::Epoch(_) => (epochs, known) = (epochs + 1, false),
            Entry::Opening(_) | Entry::Reconciled(_) => known = true,
            Entry::Intent(intent) => assert!(
                known,
                "{intent:?} of epoch {epochs} came before the broker's truth"
            ),
            Entry::Difference(difference) => panic!("books differed: {difference:?}"),
            Entry::Adjusted(adjusted) => panic!("books were corrected: {adjusted:?}"),
            _ => {}
        }
    }
    assert!(epochs > 0);
}

#[tokio::test]
async fn execution_killed_while_it_trades_buys_nothing_twice() {
    let whole = demo().await;
    for _ in 0..KILLS {
        let (_, tags) = at_the_gateway(&whole.stack.plan.state);
        let more = || async { (at_the_gateway(&whole.stack.plan.state).1.len() > tags.len()).then_some(()) };
        until("another order at the gateway", Duration::from_secs(90), more).await;
        kill(&whole, "execution").await;
        ready(&whole, "execution").await;
    }
    books_agree(&whole).await;
    whole.stop().await;
}

#[tokio::test]
async fn stopped_and_started_again_it_goes_on_where_it_was() {
    let whole = demo().await;
    first_trade(&whole).await;
    let whole = whole.again().await;
    ready(&whole, "execution").await;
    // Every position that came from before is known before anything new is decided.
    books_agree(&whole).await;
    let reply = command(&whole, "resume").await;
    assert!(reply.accepted, "{reply:?}");
    let (_, tags) = at_the_gateway(&whole.stack.plan.state);
    let more = || async { (at_the_gateway(&whole.stack.plan.state).1.len() > tags.len()).then_some(()) };
    until("it trades again", Duration::from_secs(90), more).await;
    books_agree(&whole).await;
    whole.stop().await;
}

#[tokio::test]
async fn each_process_killed_in_turn_comes_back() {
    let whole = demo().await;
    first_trade(&whole).await;
    for name in ["nats-server", "paper-gateway"].into_iter().chain(STAGES) {
        kill(&whole, name).await;
        for stage in STAGES {
            ready(&whole, stage).await;
        }
        let running = whole.stack.kept(name);
        assert_eq!(running, Some(Kept::Running), "{name}");
    }
    books_agree(&whole).await;
    whole.stop().await;
}

#[tokio::test]
async fn execution_killed_again_and_again_is_given_up_which_is_told_and_nothing_is_ordered() {
    let whole = demo().await;
    first_trade(&whole).await;
    let bus = whole.stack.bus().unwrap();
    let mut alerts = bus.subscribe::<Alert>(filter::ALERTS).await.unwrap();
    for _ in 0..RESTARTS_MAX {
        kill(&whole, "execution").await;
    }
    whole.stack.signal("execution", Signal::SIGKILL);
    let given_up = || async { (whole.stack.kept("execution") == Some(Kept::GivenUp)).then_some(()) };
    until("execution is given up", PATIENCE, given_up).await;
    let told = async {
        loop {
            let alert = alerts.next().await.expect("the bus is open").body;
            if alert.service == "supervisor" {
                return alert;
            }
        }
    };
    let alert = tokio::time::timeout(PATIENCE, told).await.expect("an alert");
    assert_eq!((alert.level, alert.kind.as_str()), (Level::Critical, "given-up"));
    assert!(
        alert.text.contains("execution was ended by SIGKILL"),
        "{}",
        alert.text
    );

    // The rest goes on and has its opinions, on which nobody acts any more.
    let (_, tags) = at_the_gateway(&whole.stack.plan.state);
    let mut opinions = bus.subscribe::<Opinion>(filter::SIGNALS).await.unwrap();
    let heard = async {
        for _ in 0..2 * whole.stack.plan.settings.market.watchlist.len() {
            opinions.next().await.expect("the bus is open");
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("opinions");
    assert_eq!(at_the_gateway(&whole.stack.plan.state).1, tags);
    assert_eq!(whole.stack.pid("execution"), None);
    whole.stop().await;
}
