//! A client that trades: it sends orders and reads what becomes of them from its stream of order updates.

use std::collections::BTreeMap;

use ibapi::orders::{
    Action, Execution, ExecutionFilter, Executions, Order, OrderData, OrderUpdate, Orders, TimeInForce,
};
use ibapi::prelude::*;
use ibapi::subscriptions::Subscription;
use paper_gateway::Gateway;
use tokio::time::Instant;

use crate::harness::{DEADLINE, all, connect, next};

/// Days of executions that the gateway keeps.
const DAYS: i32 = 7;

pub struct Trader {
    pub client: Client,
    updates: Subscription<OrderUpdate>,
    next_id: i32,
    /// What was told of each order, in order.
    lines: Vec<(i32, String)>,
    pub fills: Vec<Execution>,
}

impl Trader {
    pub async fn connect(gateway: &Gateway, number: i32) -> Self {
        Self::of(connect(gateway, number).await).await
    }

    async fn of(client: Client) -> Self {
        let updates = client.order_update_stream().await.unwrap();
        let next_id = client.next_valid_order_id().await.unwrap();
        Self {
            client,
            updates,
            next_id,
            lines: Vec::new(),
            fills: Vec::new(),
        }
    }

    /// Loses the connection and connects anew under the same client id, which the gateway may hold for a moment.
    pub async fn reconnect(self, gateway: &Gateway) -> Self {
        let number = self.client.client_id();
        self.client.disconnect().await;
        drop(self);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let again = Client::builder()
                .address(gateway.address().to_string())
                .client_id(number);
            match again.max_reconnect_attempts(0).connect().await {
                Ok(client) => return Self::of(client).await,
                Err(Error::ClientIdInUse { .. }) if Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Sends an order with the next id, and returns the id.
    pub async fn place(&mut self, symbol: &str, order: Order) -> i32 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(id, symbol, &order).await;
        id
    }

    pub async fn send(&self, id: i32, symbol: &str, order: &Order) {
        let contract = Contract::stock(symbol).build();
        self.client.submit_order(id, &contract, order).await.unwrap();
    }

    pub async fn cancel(&mut self, id: i32) {
        drop(self.client.cancel_order(id, "").await.unwrap());
        self.until(id, "error 202").await;
    }

    /// Reads updates until an order's story has a line, and returns the story.
    pub async fn until(&mut self, id: i32, last: &str) -> Vec<String> {
        self.until_since(0, id, last).await
    }

    /// A mark between two updates, for [`Self::until_since`].
    pub fn moment(&self) -> usize {
        self.lines.len()
    }

    pub async fn until_since(&mut self, since: usize, id: i32, last: &str) -> Vec<String> {
        let told = |lines: &[(i32, String)]| lines.iter().any(|(of, line)| *of == id && line == last);
        while !told(&self.lines[since..]) {
            let what = format!("`{last}` of order {id}, but {:?}", self.story(id));
            match next(&what, &mut self.updates).await.unwrap() {
                SubscriptionItem::Data(update) => self.note(update),
                SubscriptionItem::Notice(notice) => {
                    let id = notice.request_id.unwrap_or(-1);
                    self.lines.push((id, format!("error {}", notice.code)));
                }
            }
        }
        self.story(id)
    }

    /// What was told of an order so far.
    pub fn story(&self, id: i32) -> Vec<String> {
        let own = self.lines.iter().filter(|(of, _)| *of == id);
        own.map(|(_, line)| line.clone()).collect()
    }

    fn note(&mut self, update: OrderUpdate) {
        let line = match update {
            OrderUpdate::OrderStatus(status) => (
                status.order_id,
                format!("{} {}/{}", status.status, status.filled, status.remaining),
            ),
            OrderUpdate::OpenOrder(open) => (open.order_id, format!("open {}", open.order_state.status)),
            OrderUpdate::ExecutionData(data) => {
                self.fills.push(data.execution.clone());
                (data.execution.order_id, format!("fill {}", data.execution.shares))
            }
            OrderUpdate::CommissionReport(report) => {
                let of = self
                    .fills
                    .iter()
                    .find(|fill| fill.execution_id == report.execution_id);
                (of.map_or(-1, |fill| fill.order_id), "fee".into())
            }
            OrderUpdate::OrderBound(_) => return,
        };
        self.lines.push(line);
    }

    /// Executions of an order as they were told when they happened.
    pub fn fills_of(&self, id: i32) -> Vec<&Execution> {
        self.fills.iter().filter(|fill| fill.order_id == id).collect()
    }

    /// This client's open orders by id.
    pub async fn open_orders(&self) -> BTreeMap<i32, OrderData> {
        // The client hands an order first to the stream of updates, then to whoever asks for open orders: one that
        // the stream has shown may still be on its way there. It is not any more when a later answer has come.
        self.client.server_time().await.unwrap();
        let told = all("open orders", self.client.open_orders().await.unwrap()).await;
        orders(told)
            .into_iter()
            .map(|data| (data.order_id, data))
            .collect()
    }

    /// The open orders of all clients.
    pub async fn all_open_orders(&self) -> Vec<OrderData> {
        self.client.server_time().await.unwrap();
        orders(all("all open orders", self.client.all_open_orders().await.unwrap()).await)
    }

    pub async fn completed_orders(&self) -> Vec<OrderData> {
        orders(
            all(
                "completed orders",
                self.client.completed_orders(true).await.unwrap(),
            )
            .await,
        )
    }

    /// Executions of so many days that a filter lets through, and their commission reports.
    pub async fn executions(&self, days: i32, filter: ExecutionFilter) -> Vec<Executions> {
        let filter = ExecutionFilter {
            last_n_days: days,
            ..filter
        };
        all("executions", self.client.executions(filter).await.unwrap()).await
    }

    pub async fn all_executions(&self) -> Vec<Executions> {
        self.executions(DAYS, ExecutionFilter::default()).await
    }
}

fn orders(told: Vec<Orders>) -> Vec<OrderData> {
    let data = told.into_iter().filter_map(|item| match item {
        Orders::OrderData(data) => Some(data),
        Orders::OrderStatus(_) => None,
    });
    data.collect()
}

/// An order for the day with a type and nothing else.
pub fn order(action: Action, quantity: f64, kind: &str) -> Order {
    Order {
        action,
        total_quantity: quantity,
        order_type: kind.into(),
        ..Order::default()
    }
}

/// An order with a limit.
pub fn limited(action: Action, quantity: f64, limit: f64) -> Order {
    Order {
        limit_price: Some(limit),
        ..order(action, quantity, "LMT")
    }
}

/// The same order with another lifetime.
pub fn lasting(order: Order, tif: TimeInForce) -> Order {
    Order { tif, ..order }
}
