//! The rim to the gateway: one connection, one client id, no reconnect. What is written is written once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ibapi::contracts::{Contract, SecurityType};
use ibapi::orders::{
    Action, CommissionReport, ExecutionData, ExecutionSide, Order, OrderData, OrderStatusKind, OrderUpdate,
    TimeInForce,
};
use ibapi::subscriptions::NoticeStream;
use ibapi::{Client, Error};
use protocol::ledger::{Fill, Intent, OrderType, Side};
use protocol::settings::Broker as Settings;
use protocol::units::{approximate, exact, exact_commission, exact_price};
use protocol::{Id, Price, Symbol, Timestamp};

use engine::reconcile::{BrokerExecution, BrokerOrder, BrokerStatus};
use engine::trader::{Heard, News};

/// How long the gateway may take for the handshake.
const CONNECT_SECONDS_MAX: u64 = 10;
/// How long the gateway may take for any one answer.
pub const ANSWER_SECONDS_MAX: u64 = 10;

/// A connection.
#[derive(Clone)]
pub struct Broker {
    pub client: Arc<Client>,
    pub account: String,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Another incarnation has the one client id.
    #[error("the client id is in use by another connection")]
    InUse,
    /// No gateway, or it does not answer.
    #[error("{0}")]
    Down(String),
}

impl Broker {
    /// Connects once. Nothing ever reconnects this connection: one socket for one incarnation.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(address: &str, client_id: i32) -> Result<(Self, NoticeStream), ConnectError> {
        let connecting = Client::builder()
            .address(address)
            .client_id(client_id)
            .max_reconnect_attempts(0)
            .tcp_no_delay(true)
            .one_shot_timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
            .connect_with_notice_stream();
        let (client, notices) = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), connecting)
            .await
            .map_err(|_| ConnectError::Down(format!("no handshake within {CONNECT_SECONDS_MAX} s")))?
            .map_err(|error| match error {
                Error::ClientIdInUse { .. } => ConnectError::InUse,
                other => ConnectError::Down(other.to_string()),
            })?;
        Ok((
            Self {
                client: Arc::new(client),
                account: String::new(),
            },
            notices,
        ))
    }

    /// The account that the settings mean: the one that they name, or the gateway's only one.
    ///
    /// # Errors
    /// Why that is none, as a sentence.
    pub fn account_of(&self, settings: &Settings) -> Result<String, String> {
        let managed = self.client.handshake_managed_accounts();
        let managed: Vec<_> = managed.iter().filter(|account| !account.is_empty()).collect();
        let names = || {
            let names: Vec<_> = managed.iter().map(|account| account.as_str()).collect();
            names.join(", ")
        };
        match (settings.account.as_str(), managed.as_slice()) {
            ("", [only]) => Ok((*only).clone()),
            ("", several) => Err(format!(
                "the gateway manages {} accounts ({}): name one in broker.account",
                several.len(),
                names()
            )),
            (named, all) if all.iter().any(|account| *account == named) => Ok(named.to_owned()),
            (named, _) => Err(format!(
                "the gateway does not manage account {named} but {}: correct broker.account",
                names()
            )),
        }
    }

    /// An event of the order stream in our words; see [`heard`].
    ///
    /// # Errors
    /// What can't be read exactly.
    pub fn heard(&self, update: OrderUpdate) -> Result<Option<Heard>, String> {
        heard(update, &self.account, self.client.client_id())
    }

    /// Writes the order of an intent, once. An error means that its fate is unknown.
    ///
    /// # Errors
    /// When the order can't be written; some of its bytes may have left.
    pub async fn submit(&self, id: &Id, intent: &Intent) -> anyhow::Result<()> {
        let contract = Contract::stock(intent.symbol.broker_text()).build();
        let quantity = approximate(intent.quantity);
        assert_eq!(
            exact(quantity),
            Some(intent.quantity.normalize()),
            "a quantity that the wire can't carry"
        );
        let order = Order {
            action: match intent.side {
                Side::Buy => Action::Buy,
                Side::Sell => Action::Sell,
            },
            total_quantity: quantity,
            order_type: match intent.order_type {
                OrderType::Market => "MKT".to_owned(),
                OrderType::Limit => "LMT".to_owned(),
            },
            limit_price: intent.limit_price.map(approximate),
            tif: match intent.time_in_force {
                protocol::ledger::TimeInForce::Day => TimeInForce::Day,
                protocol::ledger::TimeInForce::ImmediateOrCancel => TimeInForce::ImmediateOrCancel,
            },
            order_ref: id.to_string(),
            outside_rth: intent.outside_regular_hours,
            account: self.account.clone(),
            transmit: true,
            ..Order::default()
        };
        self.client
            .submit_order(intent.order_id, &contract, &order)
            .await
            .context("the order was not written")
    }

    /// Asks for a cancellation; its outcome comes with the order's events.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn cancel(&self, order_id: i32) -> anyhow::Result<()> {
        // The subscription is dropped at once: held, it would take this order's rows from the others.
        drop(
            self.client
                .cancel_order(order_id, "")
                .await
                .context("the cancellation was not written")?,
        );
        Ok(())
    }
}

/// True for a row of the account. One that names none is about what was asked for.
fn is_of(account: &str, told: &str) -> bool {
    told.is_empty() || told == account
}

/// An event of the order stream in our words, for the client that orders. `None` for what says nothing about an order of
/// ours or is of another account, and an error for what can't be read exactly.
fn heard(update: OrderUpdate, account: &str, client_id: i32) -> Result<Option<Heard>, String> {
    // Every client counts its orders by itself; a reading of the whole account tells those of all.
    let own = |order_id, client| if client == client_id { order_id } else { 0 };
    Ok(Some(match update {
        OrderUpdate::OrderStatus(status) => Heard {
            order_ref: String::new(),
            order_id: own(status.order_id, status.client_id),
            permanent_id: status.perm_id,
            news: News::Status(
                status_of(&status.status),
                exact(status.filled),
                status.status.as_str().to_owned(),
            ),
        },
        OrderUpdate::OpenOrder(data) if !is_of(account, &data.order.account) => return Ok(None),
        OrderUpdate::OpenOrder(data) => Heard {
            order_ref: data.order.order_ref.clone(),
            order_id: own(data.order_id, data.order.client_id),
            permanent_id: data.order.perm_id,
            news: News::Status(status_of(&data.order_state.status), None, words(&data)),
        },
        OrderUpdate::ExecutionData(data) => {
            let Some(execution) = execution(&data, account)? else {
                return Ok(None);
            };
            Heard {
                order_ref: execution.order_ref,
                order_id: own(data.execution.order_id, data.execution.client_id),
                permanent_id: data.execution.perm_id,
                news: News::Execution(execution.symbol, execution.fill),
            }
        }
        OrderUpdate::CommissionReport(report) => Heard {
            order_ref: String::new(),
            order_id: 0,
            permanent_id: 0,
            news: News::Commission(report.execution_id.clone(), commission(&report)?),
        },
        OrderUpdate::OrderBound(_) => return Ok(None),
    }))
}

/// A commission, exactly.
pub fn commission(report: &CommissionReport) -> Result<protocol::Money, String> {
    let in_dollars = ["", "USD"].contains(&report.currency.as_str());
    let amount = exact_commission(report.commission).filter(|_| in_dollars);
    amount.ok_or_else(|| {
        format!(
            "the commission of execution {} is {} {}, which is no amount of US dollars",
            report.execution_id, report.commission, report.currency
        )
    })
}

/// An execution in our words; `None` for what is not a US stock, or not of the account.
pub fn execution(data: &ExecutionData, account: &str) -> Result<Option<BrokerExecution>, String> {
    let theirs = &data.execution;
    let of_account = is_of(account, &theirs.account_number);
    let Some(symbol) = stock_of(&data.contract).filter(|_| of_account) else {
        return Ok(None);
    };
    let no_number = |what: &str, value: f64| {
        format!(
            "the {what} of execution {} is {value}, which is no number",
            theirs.execution_id
        )
    };
    let fill = Fill {
        execution_id: theirs.execution_id.clone(),
        side: match theirs.side {
            ExecutionSide::Bought => Side::Buy,
            ExecutionSide::Sold => Side::Sell,
        },
        quantity: exact(theirs.shares).ok_or_else(|| no_number("quantity", theirs.shares))?,
        price: exact_price(theirs.price).ok_or_else(|| no_number("price", theirs.price))?,
        commission: None,
        // By it an execution is of before or after what was taken over, so none is made up.
        executed_at: instant(&theirs.time).ok_or_else(|| {
            format!(
                "the time of execution {} is `{}`, which is no instant",
                theirs.execution_id, theirs.time
            )
        })?,
        permanent_id: theirs.perm_id,
    };
    Ok(Some(BrokerExecution {
        order_ref: theirs.order_reference.clone(),
        symbol,
        fill,
    }))
}

/// An open or completed order in our words; `None` for what is not a US stock, or not of the account.
pub fn order(data: &OrderData, account: &str) -> Result<Option<BrokerOrder>, String> {
    let of_account = is_of(account, &data.order.account);
    let Some(symbol) = stock_of(&data.contract).filter(|_| of_account) else {
        return Ok(None);
    };
    let quantity = data.order.total_quantity;
    Ok(Some(BrokerOrder {
        limit_price: data
            .order
            .limit_price
            .and_then(exact_price)
            .filter(|limit| *limit > Price::ZERO),
        order_ref: data.order.order_ref.clone(),
        order_id: data.order_id,
        permanent_id: data.order.perm_id,
        symbol,
        side: if data.order.action == Action::Buy {
            Side::Buy
        } else {
            Side::Sell
        },
        quantity: exact(quantity)
            .ok_or_else(|| format!("the quantity of order {} is {quantity}", data.order.perm_id))?,
        status: status_of(&data.order_state.status),
        text: words(data),
    }))
}

/// The symbol of a contract in our words; `None` for what is not a US stock, which is none of our business: an option
/// carries the symbol of its stock.
pub fn stock_of(contract: &Contract) -> Option<Symbol> {
    let is_stock = contract.security_type == SecurityType::Stock && contract.currency.as_str() == "USD";
    contract.symbol.as_str().parse().ok().filter(|_| is_stock)
}

fn words(data: &OrderData) -> String {
    let state = &data.order_state;
    let said = [&state.reject_reason, &state.completed_status, &state.warning_text]
        .into_iter()
        .find(|text| !text.is_empty());
    said.cloned().unwrap_or_else(|| state.status.as_str().to_owned())
}

fn status_of(status: &OrderStatusKind) -> BrokerStatus {
    match status {
        OrderStatusKind::Filled => BrokerStatus::Filled,
        OrderStatusKind::Cancelled | OrderStatusKind::ApiCancelled => BrokerStatus::Cancelled,
        OrderStatusKind::Inactive => BrokerStatus::Inactive,
        // What this version does not know is alive until something known is said.
        _ => BrokerStatus::Working,
    }
}

/// `YYYYMMDD HH:MM:SS zone` or `YYYYMMDD-HH:MM:SS` in UTC, the broker's ways to write an instant.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(utc) = jiff::civil::DateTime::strptime("%Y%m%d-%H:%M:%S", text) {
        return Some(utc.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp());
    }
    let (local, zone) = text.rsplit_once(' ')?;
    let local = jiff::civil::DateTime::strptime("%Y%m%d %H:%M:%S", local.trim()).ok()?;
    let zone = jiff::tz::TimeZone::get(zone).ok()?;
    Some(local.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use protocol::Quantity;

    use super::*;

    #[test]
    fn the_brokers_instants_are_read_in_their_zone() {
        assert_eq!(
            instant("20131007 09:30:00 US/Eastern"),
            "2013-10-07T13:30:00Z".parse().ok()
        );
        assert_eq!(
            instant("20131007-13:30:00"),
            "2013-10-07T13:30:00Z".parse().ok(),
            "without a zone in UTC"
        );
        for text in [
            "20131007 09:30:00",
            "20131007  09:30:00",
            "09:30:00 US/Eastern",
            "",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn an_inactive_order_is_not_over_for_it_may_be_worked_yet() {
        let status = ibapi::orders::OrderStatus {
            order_id: 5,
            status: OrderStatusKind::Inactive,
            ..ibapi::orders::OrderStatus::default()
        };
        let mut open = OrderData {
            contract: Contract::stock("AAPL").build(),
            ..OrderData::default()
        };
        open.order_state.status = OrderStatusKind::Inactive;
        assert_eq!(
            order(&open, "DU1").unwrap().map(|order| order.status),
            Some(BrokerStatus::Inactive)
        );
        let told = [
            (OrderUpdate::OrderStatus(status), Some(Quantity::ZERO)),
            (OrderUpdate::OpenOrder(open), None),
        ];
        for (update, filled) in told {
            let heard = heard(update, "DU1", 11).unwrap().unwrap();
            assert_eq!(
                heard.news,
                News::Status(BrokerStatus::Inactive, filled, "Inactive".into())
            );
        }
    }

    type Spoil = fn(&mut ExecutionData);

    fn bought() -> ExecutionData {
        let mut data = ExecutionData {
            contract: Contract::stock("AAPL").build(),
            ..ExecutionData::default()
        };
        data.execution.time = "20131007 09:30:00 US/Eastern".into();
        data.execution.shares = 3.0;
        data.execution.price = 100.5;
        data
    }

    #[test]
    fn an_execution_is_read_exactly_or_refused() {
        assert!(execution(&bought(), "DU1").unwrap().is_some());
        let spoilt: [(&str, Spoil); 4] = [
            ("NaN", |data| data.execution.shares = f64::NAN),
            ("inf", |data| data.execution.price = f64::INFINITY),
            ("9000000000000", |data| data.execution.price = 9e12),
            ("20131007 09:30:00", |data| {
                data.execution.time = "20131007 09:30:00".into();
            }),
        ];
        for (told, spoil) in spoilt {
            let mut data = bought();
            spoil(&mut data);
            let error = execution(&data, "DU1").unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(heard(OrderUpdate::ExecutionData(data), "DU1", 11).is_err());
        }
    }

    /// The order of a pipeline like this one.
    fn working() -> OrderData {
        let mut data = OrderData {
            contract: Contract::stock("AAPL").build(),
            order_id: 5,
            ..OrderData::default()
        };
        data.order.order_ref = Id::derive(&["a decision"]).to_string();
        data
    }

    #[test]
    fn what_another_account_orders_and_executes_is_left_out() {
        for (account, counts) in [("DU1", true), ("", true), ("DU2", false)] {
            let mut data = bought();
            data.execution.account_number = account.into();
            let told = heard(OrderUpdate::ExecutionData(data), "DU1", 11).unwrap();
            assert_eq!(told.is_some(), counts, "{account}");
            let mut data = working();
            data.order.account = account.into();
            assert_eq!(order(&data, "DU1").unwrap().is_some(), counts, "{account}");
            let told = heard(OrderUpdate::OpenOrder(data), "DU1", 11).unwrap();
            assert_eq!(told.is_some(), counts, "{account}");
        }
    }

    #[test]
    fn the_order_ids_of_another_client_are_none_of_ours() {
        for (client_id, counts) in [(11, 5), (12, 0), (0, 0)] {
            let status = ibapi::orders::OrderStatus {
                order_id: 5,
                client_id,
                ..ibapi::orders::OrderStatus::default()
            };
            let mut open = working();
            open.order.client_id = client_id;
            let mut done = bought();
            (done.execution.order_id, done.execution.client_id) = (5, client_id);
            for update in [
                OrderUpdate::OrderStatus(status),
                OrderUpdate::OpenOrder(open),
                OrderUpdate::ExecutionData(done),
            ] {
                let told = heard(update, "DU1", 11).unwrap().unwrap();
                assert_eq!(told.order_id, counts, "{told:?}");
            }
        }
    }

    #[test]
    fn a_commission_is_an_amount_of_dollars() {
        let report = |commission, currency: &str| CommissionReport {
            commission,
            currency: currency.into(),
            ..CommissionReport::default()
        };
        assert_eq!(commission(&report(1.25, "USD")), Ok("1.25".parse().unwrap()));
        for (amount, currency) in [(f64::MAX, "USD"), (f64::NAN, "USD"), (1.25, "EUR")] {
            assert!(
                commission(&report(amount, currency)).is_err(),
                "{amount} {currency}"
            );
        }
    }
}
