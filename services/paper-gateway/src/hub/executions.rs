//! Executions and their commissions: told to the owner as they happen, and to whoever asks for them.

use engine::venue::account::DAYS_KEPT;
use engine::venue::calendar;
use engine::venue::order::Side;
use engine::venue::record::Fill;
use jiff::ToSpan;
use protocol::Timestamp;

use super::Hub;
use super::prices::text;
use crate::message::account::{CommissionAndFeesReport, Execution, ExecutionDetails, ExecutionDetailsEnd};
use crate::message::request::{ExecutionFilter, ExecutionRequest};
use crate::number::approximate;
use crate::peer::NO_REQUEST;
use crate::span::said;
use crate::times;

impl Hub {
    pub(super) fn executions(&mut self, session: u64, request: &ExecutionRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let filter = request.execution_filter.clone().unwrap_or_default();
        let since = match since(&filter) {
            Ok(since) => since,
            Err(text) => {
                let text = format!("Error validating request.-'bZ' : cause - {text}");
                return self.peer(session).error(id, 321, &text);
            }
        };
        let today = calendar::local(self.venue.now()).date();
        let by_date = !filter.specific_dates.is_empty();
        let last = filter.last_n_days.filter(|days| *days > 0).map(i64::from);
        let days = last
            .unwrap_or(if by_date { DAYS_KEPT } else { 1 })
            .clamp(1, DAYS_KEPT);
        let first = calendar::midnight(today.checked_sub((days - 1).days()).unwrap_or(today));
        let since = since.map_or(first, |since| since.max(first));
        let wanted = |fill: &&Fill| fill.at >= since && matches(&filter, fill, &self.name);
        let told: Vec<_> = self
            .told
            .fills
            .iter()
            .filter(wanted)
            .map(|fill| (self.execution(id, fill), report(fill)))
            .collect();
        let peer = self.peer(session);
        for (details, report) in told {
            peer.send(11, &details);
            peer.send(59, &report);
        }
        peer.send(55, &ExecutionDetailsEnd { req_id: Some(id) });
    }

    /// A trade had another price: its owner is told under the same number with another end.
    pub(super) fn tell_correction(&mut self, number: u64) {
        let Some(fill) = self.told.fills.iter().rev().find(|fill| fill.number == number) else {
            return;
        };
        let fill = fill.clone();
        let (details, report) = (self.execution(NO_REQUEST, &fill), report(&fill));
        self.each_owner(fill.client, fill.order_id, |peer| {
            peer.send(11, &details);
            peer.send(59, &report);
        });
    }

    pub(super) fn execution(&self, id: i32, fill: &Fill) -> ExecutionDetails {
        let execution = Execution {
            order_id: Some(fill.order_id),
            exec_id: Some(execution_id(fill)),
            time: Some(times::with_zone(fill.at)),
            acct_number: Some(self.name.clone()),
            exchange: Some("SMART".into()),
            side: Some(if fill.side == Side::Buy {
                "BOT".into()
            } else {
                "SLD".into()
            }),
            shares: Some(text(fill.quantity)),
            price: Some(approximate(fill.price)),
            perm_id: Some(fill.perm_id),
            client_id: Some(fill.client),
            is_liquidation: Some(false),
            cum_qty: Some(text(fill.filled)),
            avg_price: Some(approximate(fill.average_price)),
            order_ref: (!fill.reference.is_empty()).then(|| fill.reference.clone()),
            last_liquidity: Some(if fill.added_liquidity { 1 } else { 2 }),
            is_price_revision_pending: Some(false),
        };
        ExecutionDetails {
            req_id: Some(id),
            contract: self.contract(fill.symbol),
            execution: Some(execution),
        }
    }
}

/// A number in the shape of IB's: unique for ever within the account. A correction counts on behind the last dot.
pub(super) fn execution_id(fill: &Fill) -> String {
    format!(
        "0000{:04x}.{:08x}.01.{:02}",
        fill.perm_id & 0xFFFF,
        fill.number,
        fill.corrections + 1
    )
}

/// The commission of a trade.
pub(super) fn report(fill: &Fill) -> CommissionAndFeesReport {
    CommissionAndFeesReport {
        exec_id: Some(execution_id(fill)),
        commission_and_fees: Some(approximate(fill.commission)),
        currency: Some("USD".into()),
        realized_pnl: fill.realized.map(approximate),
        ..CommissionAndFeesReport::default()
    }
}

/// The instant from which a filter wants executions, if it names one; what is wrong with it otherwise.
fn since(filter: &ExecutionFilter) -> Result<Option<Timestamp>, String> {
    let side = filter.side.as_deref().unwrap_or_default();
    if !["", "BUY", "SELL"].contains(&side) {
        return Err(format!("the side `{}` is neither BUY nor SELL", said(side)));
    }
    let time = filter.time.as_deref().filter(|text| !text.trim().is_empty());
    time.map(|text| times::parse(text).ok_or_else(|| format!("`{}` is no time", said(text))))
        .transpose()
}

fn matches(filter: &ExecutionFilter, fill: &Fill, account: &str) -> bool {
    let is = |field: &Option<String>, value: &str| {
        field
            .as_deref()
            .is_none_or(|text| text.is_empty() || text == value)
    };
    let side = match fill.side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    };
    let date = calendar::local(fill.at).date();
    let day = i32::from(date.year()) * 10_000 + i32::from(date.month()) * 100 + i32::from(date.day());
    filter
        .client_id
        .is_none_or(|client| client == 0 || client == fill.client)
        && is(&filter.acct_code, account)
        && is(&filter.symbol, &fill.symbol.broker_text())
        && is(&filter.sec_type, "STK")
        && is(&filter.exchange, "SMART")
        && is(&filter.side, side)
        && (filter.specific_dates.is_empty() || filter.specific_dates.contains(&day))
}
