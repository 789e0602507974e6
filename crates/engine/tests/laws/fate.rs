//! What becomes of an order at the broker by chance, and all that is said of it.

use engine::order::OrderState;
use engine::reconcile::{BrokerExecution, BrokerOrder, BrokerStatus, Truth};
use engine::trader::{Heard, Input, News};
use protocol::ledger::{Fill, Intent};
use protocol::{Id, Money, Quantity};

use crate::many::Dice;
use crate::world::shown;

/// What became of one order at the broker, and every message about it.
pub struct Story {
    pub order: (Id, Intent),
    /// The newest revision of each execution.
    pub fills: Vec<Fill>,
    end: Option<BrokerStatus>,
    pub news: Vec<News>,
}

impl Story {
    pub fn of(order: &(Id, Intent), dice: &mut Dice) -> Self {
        let (id, intent) = order;
        let mut story = Self {
            order: (id.clone(), intent.clone()),
            fills: Vec::new(),
            end: None,
            news: vec![News::Status(BrokerStatus::Working, None, String::new())],
        };
        let mut rest = intent.quantity;
        for execution in 0..dice.roll(5) {
            let quantity = Quantity::from(dice.roll(25) + 1).min(rest);
            if quantity.is_zero() {
                break;
            }
            rest -= quantity;
            story.execute(execution, quantity, dice);
        }
        if !rest.is_zero() && dice.roll(2) == 0 {
            let end = *dice.pick(&[BrokerStatus::Cancelled, BrokerStatus::Rejected]);
            story.end = Some(end);
            story
                .news
                .push(News::Status(end, Some(intent.quantity - rest), String::new()));
        }
        if rest.is_zero() {
            story
                .news
                .push(News::Status(BrokerStatus::Filled, None, String::new()));
        }
        story
    }

    /// An execution, its commission with it or after it, and sometimes its correction to another price.
    fn execute(&mut self, number: u64, quantity: Quantity, dice: &mut Dice) {
        let intent = &self.order.1;
        let commission = Money::new(i64::try_from(dice.roll(200)).unwrap(), 2);
        let revised = dice.roll(4) == 0;
        let with_it = revised || dice.roll(2) == 0;
        let mut revision = |revision: u32| Fill {
            execution_id: format!("0000e0d5.{:08x}.{number:02}.{revision:02}", intent.order_id),
            side: intent.side,
            quantity,
            price: Money::new(i64::try_from(9_000 + dice.roll(2_000)).unwrap(), 2),
            commission: with_it.then_some(commission),
            executed_at: "2026-11-23T15:00:01Z".parse().unwrap(),
            permanent_id: i64::from(intent.order_id),
        };
        let first = revision(1);
        let last = if revised { revision(2) } else { first.clone() };
        self.news.push(News::Execution(intent.symbol, first));
        if revised {
            self.news.push(News::Execution(intent.symbol, last.clone()));
        }
        if !with_it {
            self.news
                .push(News::Commission(last.execution_id.clone(), commission));
        }
        let commission = Some(commission);
        self.fills.push(Fill { commission, ..last });
    }

    pub fn heard(&self, news: &News) -> Input {
        Input::Broker(Heard {
            order_ref: self.order.0.to_string(),
            order_id: self.order.1.order_id,
            permanent_id: i64::from(self.order.1.order_id),
            news: news.clone(),
        })
    }

    pub fn filled(&self) -> Quantity {
        self.fills.iter().map(|fill| fill.quantity).sum()
    }

    pub fn worth(&self) -> Money {
        self.fills.iter().map(|fill| fill.quantity * fill.price).sum()
    }

    pub fn commission(&self) -> Money {
        self.fills.iter().filter_map(|fill| fill.commission).sum()
    }

    pub fn state(&self) -> OrderState {
        match self.end {
            _ if self.filled() == self.order.1.quantity => OrderState::Filled,
            Some(BrokerStatus::Cancelled) => OrderState::Cancelled,
            Some(_) => OrderState::Rejected,
            None if self.fills.is_empty() => OrderState::Working,
            None => OrderState::PartlyFilled,
        }
    }

    pub fn tell(&self, truth: &mut Truth) {
        let (id, intent) = &self.order;
        let status = match self.state() {
            OrderState::Filled => BrokerStatus::Filled,
            OrderState::Cancelled => BrokerStatus::Cancelled,
            OrderState::Rejected => BrokerStatus::Rejected,
            _ => BrokerStatus::Working,
        };
        let rows = if status == BrokerStatus::Working {
            &mut truth.open
        } else {
            &mut truth.completed
        };
        rows.push(BrokerOrder {
            status,
            ..shown(id, intent, i64::from(intent.order_id))
        });
        truth
            .executions
            .extend(self.fills.iter().map(|fill| BrokerExecution {
                order_ref: id.to_string(),
                symbol: intent.symbol,
                fill: fill.clone(),
            }));
    }
}
