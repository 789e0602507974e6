//! The end of what a client follows.

use super::Hub;
use crate::request::Cancel;
use crate::span;

impl Hub {
    /// Ends a request. Cancels of what has ended by itself are harmless; some have an error of their own.
    pub(super) fn cancel(&mut self, session: u64, kind: Cancel, id: i32) {
        let peer = self.peer(session);
        let (is_there, code, text) = match kind {
            Cancel::MarketData => {
                let waited = self.withdraw(session, kind, id);
                (
                    self.peer(session).quotes.remove(id).is_some() || waited,
                    300,
                    format!("Can't find EId with tickerId:{id}"),
                )
            }
            Cancel::RealTimeBars => (
                peer.bars.remove(id).is_some(),
                300,
                format!("Can't find EId with tickerId:{id}"),
            ),
            Cancel::Depth => (
                peer.depths.remove(id).is_some(),
                310,
                format!("Can't find the subscribed market depth with tickerId:{id}"),
            ),
            Cancel::Historical => {
                if self.withdraw(session, kind, id) {
                    let (code, text) =
                        span::unavailable(format!("API historical data query cancelled: {id}"));
                    return self.peer(session).error(id, code, &text);
                }
                (
                    self.peer(session).histories.remove(id).is_some(),
                    366,
                    format!("No historical data query found for ticker id:{id}"),
                )
            }
            Cancel::HistoricalTicks | Cancel::Histogram => {
                self.withdraw(session, kind, id);
                return;
            }
            Cancel::PnL => (
                peer.gains.remove(&id),
                10185,
                format!("Failed to cancel PNL (not subscribed):{id}"),
            ),
            Cancel::PnLSingle => (
                peer.gains_single.remove(&id).is_some(),
                10186,
                format!("Failed to cancel PNL single (not subscribed):{id}"),
            ),
            Cancel::TickByTick => {
                peer.ticks.remove(id);
                self.withdraw(session, kind, id);
                return;
            }
            Cancel::Summary => {
                peer.summaries.remove(&id);
                return;
            }
            Cancel::PositionsMulti => {
                peer.positions_multi.remove(&id);
                return;
            }
            Cancel::AccountUpdatesMulti => {
                peer.account_multi.remove(&id);
                return;
            }
        };
        if !is_there {
            self.peer(session).error(id, code, &text);
        }
    }
}
