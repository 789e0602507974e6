//! From messages to rows: runs the fold of LEDGER and the equity curve, and notes what a batch has to write.

use std::collections::BTreeMap;

use anyhow::Context as _;
use engine::equity::Curve;
use engine::portfolio::{LedgerFault, Portfolio, Position, revision_of};
use protocol::feed::EquityPoint;
use protocol::ledger::{Entry, OrderChange, Record};
use protocol::market::Bar;
use protocol::{Hash, Id, Money, Price, Quantity, Symbol, Timestamp};
use runtime::{Exit, code};
use serde::Serialize;

use crate::store::{Batch, Row, Store, Table, nanoseconds};
use crate::view::View;

/// Orders named before the memory of their places is swept.
const PLACES_SWEPT_AT: usize = 4_096;

/// The folds, and what of them is in the file already.
#[derive(Debug, Default)]
pub struct Fold {
    portfolio: Portfolio,
    curve: Curve,
    /// LEDGER sequence that first named an order, which orders its row.
    places: BTreeMap<Id, u64>,
    written: BTreeMap<Symbol, Position>,
    marked: u64,
}

/// A position as a query answers it.
#[derive(Debug, Serialize)]
struct PositionRow<'a> {
    symbol: Symbol,
    quantity: Quantity,
    average_cost: Price,
    cost: Money,
    realized: Money,
    realized_today: Money,
    commission: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_by: Option<&'a Id>,
}

impl Fold {
    /// Folds what the file holds. When the file's rows follow from another fold than this build's, they are
    /// written anew from its records.
    ///
    /// # Errors
    /// [`code::DATA`] when the file's records are no chain; else when the file can't be read or written.
    pub fn load(store: &Store) -> anyhow::Result<Self> {
        let view = store.view()?;
        let mut fold = Self::default();
        fold.replay(&view, |_| {})?;
        if let Some(mark) = view.mark()?
            && mark != fold.portfolio.mark()
        {
            tracing::warn!(
                sequence = mark.sequence,
                "the file's rows are of another fold: they are written anew"
            );
            fold = Self::default();
            let mut rows = Batch::default();
            fold.replay(&view, |batch| rows.rows.append(&mut batch.rows))?;
            fold.finish(&mut rows)?;
            store.reproject(&rows)?;
        }
        fold.written.clone_from(&fold.portfolio.positions);
        fold.marked = fold.portfolio.sequence;
        let last = view
            .last_equity()?
            .map(|json| serde_json::from_slice::<EquityPoint>(&json))
            .transpose()?;
        fold.curve = Curve::after(last.map(|point| point.at));
        for bar in view.last_bars()? {
            // A bar of the past sets a mark and makes no point.
            fold.curve.step(&Bar { warm_up: true, ..bar }, &fold.portfolio);
        }
        Ok(fold)
    }

    fn replay(&mut self, view: &View, mut take: impl FnMut(&mut Batch)) -> anyhow::Result<()> {
        view.each_record(|sequence, bytes| {
            let damaged = |why: String| {
                let text = format!(
                    "record {sequence} of persistence.redb is damaged ({why}): \
                     delete the file, it is then rebuilt from LEDGER"
                );
                Exit::error(code::DATA, text)
            };
            let record: Record = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
            let mut batch = Batch::default();
            self.record(sequence, bytes, &record, &mut batch)?
                .map_err(|fault| damaged(fault.to_string()))?;
            take(&mut batch);
            Ok(())
        })
    }

    /// The fold of LEDGER.
    #[must_use]
    pub fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// Takes the next LEDGER record over; what follows from it is added to the batch. The inner error is
    /// a record that can't be the next: nothing is changed then.
    ///
    /// # Errors
    /// When a row can't be written as JSON.
    pub fn record(
        &mut self,
        sequence: u64,
        bytes: &[u8],
        record: &Record,
        batch: &mut Batch,
    ) -> anyhow::Result<Result<(), LedgerFault>> {
        if let Err(fault) = self.portfolio.apply(sequence, &Hash::of(bytes), record) {
            return Ok(Err(fault));
        }
        batch.records.push((sequence, bytes.to_vec()));
        batch.cursors.ledger = sequence;
        match &record.entry {
            Entry::Identity(identity) => batch.identity = Some(identity.clone()),
            Entry::Intent(_) => self.order(sequence, &record.id, batch)?,
            Entry::Order(event) => {
                self.order(sequence, &event.order, batch)?;
                match &event.change {
                    OrderChange::Fill(fill) => self.trade(&fill.execution_id, batch)?,
                    OrderChange::Commission { execution_id, .. } => self.trade(execution_id, batch)?,
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(Ok(()))
    }

    fn order(&mut self, sequence: u64, id: &Id, batch: &mut Batch) -> anyhow::Result<()> {
        let Some(order) = self.portfolio.orders.get(id) else {
            return Ok(());
        };
        let place = *self.places.entry(id.clone()).or_insert(sequence);
        batch.rows.push(Row {
            table: Table::Orders,
            number: number(place),
            id: id.to_string(),
            symbol: Some(order.symbol),
            at: order.created_at,
            json: json(order)?,
        });
        if self.places.len() > PLACES_SWEPT_AT {
            self.places.retain(|id, _| self.portfolio.orders.contains_key(id));
        }
        Ok(())
    }

    fn trade(&self, execution_id: &str, batch: &mut Batch) -> anyhow::Result<()> {
        let trade = self
            .portfolio
            .trades
            .iter()
            .rev()
            .find(|trade| trade.execution_id == execution_id);
        let Some(trade) = trade else { return Ok(()) };
        batch.rows.push(Row {
            table: Table::Trades,
            number: number(trade.sequence),
            // A correction replaces the row of what it corrects.
            id: revision_of(&trade.execution_id).0.to_owned(),
            symbol: Some(trade.symbol),
            at: trade.at,
            json: json(trade)?,
        });
        Ok(())
    }

    /// Takes a bar over: a complete one is kept as published, and may make a point of the equity curve.
    ///
    /// # Errors
    /// When a row can't be written as JSON.
    pub fn bar(&mut self, bar: Bar, bytes: &[u8], batch: &mut Batch) -> anyhow::Result<()> {
        if let Some(point) = self.curve.step(&bar, &self.portfolio) {
            batch.rows.push(Row {
                table: Table::Equity,
                number: nanoseconds(point.at),
                id: String::new(),
                symbol: None,
                at: point.at,
                json: json(&point)?,
            });
        }
        batch.keep_bar(bar, bytes);
        Ok(())
    }

    /// Adds what the batch amounts to: positions that changed, and where the fold stands.
    ///
    /// # Errors
    /// When a row can't be written as JSON.
    pub fn finish(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        if self.marked == self.portfolio.sequence {
            return Ok(());
        }
        for (symbol, position) in &self.portfolio.positions {
            if self.written.get(symbol) == Some(position) {
                continue;
            }
            self.written.insert(*symbol, position.clone());
            let row = PositionRow {
                symbol: *symbol,
                quantity: position.quantity.normalize(),
                average_cost: position.average_cost(),
                cost: position.cost.normalize(),
                realized: position.realized.normalize(),
                realized_today: position.realized_today.normalize(),
                commission: position.commission.normalize(),
                opened_at: position.opened_at,
                closed_at: position.closed_at,
                opened_by: position.opened_by.as_ref(),
            };
            batch.positions.push((*symbol, json(&row)?));
        }
        batch.mark = Some(self.portfolio.mark());
        self.marked = self.portfolio.sequence;
        Ok(())
    }
}

fn json<T: Serialize>(value: &T) -> anyhow::Result<Vec<u8>> {
    serde_json::to_vec(value).context("a row can't be written as JSON")
}

fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).expect("a stream does not hold so many messages")
}
