//! What a signal's id stands for. It follows from bar and model, so whatever bears it says the same. Two contents of one id
//! come of two programs that both think they are the signal stage, and nobody knows which of them is right.

use protocol::Timestamp;
use protocol::decision::{Level, Signal};

use super::{Output, Trader};

/// The latest signal of a symbol.
#[derive(Debug, Clone)]
pub(super) struct Opinion {
    signal: Signal,
    /// True once a person was told that it was contradicted.
    told: bool,
}

impl Trader {
    /// What follows from a signal that has the id of the latest one of its symbol and says something else: nothing but an
    /// alert, once an id. `None` for any other, which is the latest from now on.
    pub(super) fn contradiction(&mut self, wall: Timestamp, signal: &Signal) -> Option<Vec<Output>> {
        let latest = self.opinions.get_mut(&signal.symbol);
        match latest.filter(|latest| latest.signal.id == signal.id) {
            Some(latest) if latest.signal == *signal => None,
            Some(latest) => {
                let is_news = !std::mem::replace(&mut latest.told, true);
                let (id, symbol) = (&signal.id, signal.symbol);
                let text = format!(
                    "signal {id} of {symbol} came again and says something else: what it said first holds and this is not acted on; see that one signal stage runs and no other, and start it again"
                );
                let alert = is_news
                    .then(|| self.alert(wall, "signal-contradiction", Level::Critical, Some(symbol), text));
                Some(alert.into_iter().collect())
            }
            None => {
                let opinion = Opinion {
                    signal: signal.clone(),
                    told: false,
                };
                self.opinions.insert(signal.symbol, opinion);
                None
            }
        }
    }
}
