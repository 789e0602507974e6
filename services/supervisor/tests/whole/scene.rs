//! The part of the pipeline that orders, beside a gateway of a test's own, without opinions.

use std::path::Path;

use protocol::Hash;
use protocol::ledger::Record;
use protocol::operator::{Command, HealthState, Reply, Verb};
use protocol::subject::{self, stream};
use runtime::Bus;
use serde_json::json;
use supervisor::arguments::RunAll;
use supervisor::{Plan, Stack, state};

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, arguments, root, say, turn, until};

/// A stock that is held from the beginning.
pub const HELD: &str = "AAPL";
/// The server and execution, beside a gateway of their own.
pub struct Scene {
    pub stack: Stack,
    turn: Option<tokio::sync::SemaphorePermit<'static>>,
}

/// A plan without opinions: what is ordered, the test orders.
pub fn plan(state: &Path, gateway: &Gateway) -> Plan {
    let run = RunAll {
        broker: Some(gateway.address.clone()),
        gateway_port: None,
        ..arguments(state)
    };
    let mut plan = Plan::new(&root(), &run).unwrap();
    plan.settings.broker.second_pass_seconds = 1;
    plan.settings.entry.up_min = 1.0;
    plan
}

impl Scene {
    pub async fn start(plan: Plan) -> Self {
        let turn = turn().await;
        let mut stack = Stack::prepare(plan, say()).unwrap();
        stack.start_server().await.unwrap();
        stack.start_stage("execution").await.unwrap();
        let turn = Some(turn);
        Self { stack, turn }
    }

    /// Lets the next test begin: what goes on here only waits.
    pub fn end_turn(&mut self) {
        drop(self.turn.take());
    }

    /// The user of the bus whose secret was stolen.
    pub async fn user(&self, name: &'static str) -> Bus {
        let plan = &self.stack.plan;
        let secret = state::secret_of(&plan.state, name).unwrap();
        Bus::connect(name, &plan.settings.nats.address, &secret)
            .await
            .unwrap()
    }

    pub async fn ready(&self) {
        let look = || async {
            let health = self.stack.health("execution")?;
            (health.state == HealthState::Ready).then_some(())
        };
        until("execution is ready", PATIENCE, look).await;
    }

    /// Waits until execution has stopped for good, and tells its sentence.
    pub async fn halted(&self) -> String {
        let look = || async {
            let health = self.stack.health("execution")?;
            (health.state == HealthState::Degraded && health.text.starts_with("halted: "))
                .then_some(health.text)
        };
        until("execution is halted", PATIENCE, look).await
    }

    pub async fn command(&self, verb: Verb, symbol: Option<&str>) -> Option<Reply> {
        let command = Command {
            symbol: symbol.map(|symbol| symbol.parse().unwrap()),
            ..Command::default()
        };
        let bus = self.stack.bus().unwrap();
        bus.request(&subject::command(verb.as_str()), &command).await.ok()
    }

    /// LEDGER as it is stored.
    pub async fn records(&self) -> Vec<(String, Record, Hash)> {
        let bus = self.stack.bus().unwrap();
        let mut history = bus.history::<Record>(stream::LEDGER, ">", 1).await.unwrap();
        let (mut records, mut sequence) = (Vec::new(), 0);
        while sequence < history.head {
            let stored = history.next().await.unwrap();
            sequence = stored.sequence;
            let hash = stored.hash();
            records.push((stored.subject, stored.message, hash));
        }
        records
    }

    pub async fn stop(self) {
        self.stack.stop().await;
    }
}

/// Makes the account hold 10 shares of [`HELD`].
pub async fn hold(gateway: &Gateway) {
    gateway.order(&json!({"fault": "manual-trade", "symbol": HELD, "side": "buy", "quantity": "10"}));
    let bought = || async {
        let facts = gateway.facts();
        facts.iter().any(|fact| fact["record"] == "filled").then_some(())
    };
    until("a position at the broker", PATIENCE, bought).await;
}
