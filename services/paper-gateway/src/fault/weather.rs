//! What lasts: a lost link, broken farms, a competing session, silence about orders, ids held by ghosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;
use serde_json::{Value, json};

use super::facts::{Facts, Way};
use super::kind::{DataType, Farm, Fault, LinkState, State};
use crate::message::market::{MarketDataType, TickPrice, TickSize, TickString};
use crate::wire;

/// Messages that carry prices of the market.
const PRICES: [i32; 9] = [1, 2, 12, 13, 45, 46, 50, 90, 99];
/// Messages that carry gains, which follow from prices. They are the account's, whoever has the market data.
const GAINS: [i32; 2] = [94, 95];
/// Messages that a quote is made of.
const QUOTES: [i32; 4] = [1, 2, 45, 46];
const MARKET_DATA_TYPE: i32 = 58;
/// Most orders about which there is silence; one more, and another is heard of again.
const SILENT_MAX: usize = 10_000;
/// Requests for history.
const HISTORY: [i32; 4] = [20, 87, 88, 96];
/// Requests about orders.
const ORDERS: [i32; 3] = [3, 4, 58];

/// What becomes of a message to a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sky {
    Pass,
    Drop,
    Instead(Bytes),
}

/// Everything that lasts.
#[derive(Debug)]
pub(crate) struct Weather {
    /// The code with which the link's loss was told, while it lasts.
    link: Option<i32>,
    broken: BTreeSet<Farm>,
    competing: bool,
    kind: DataType,
    silent: BTreeSet<(i32, i32)>,
    ghosts: BTreeMap<i32, Duration>,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            link: None,
            broken: BTreeSet::new(),
            competing: false,
            kind: DataType::Live,
            silent: BTreeSet::new(),
            ghosts: BTreeMap::new(),
        }
    }
}

impl Weather {
    /// The link is lost or back. True when that is news.
    pub(crate) fn link(&mut self, state: LinkState, code: i32) -> bool {
        let link = (state == LinkState::Lost).then_some(code);
        let news = self.link.is_some() != link.is_some();
        self.link = link;
        news
    }

    /// A farm is broken or back. Returns the notice.
    pub(crate) fn farm(&mut self, farm: Farm, state: State) -> (i32, &'static str) {
        match state {
            State::Begins => self.broken.insert(farm),
            State::Ends => self.broken.remove(&farm),
        };
        self.farm_notice(farm)
    }

    /// How a farm is doing, as IB tells it.
    fn farm_notice(&self, farm: Farm) -> (i32, &'static str) {
        match (farm, self.broken.contains(&farm)) {
            (Farm::MarketData, true) => (2103, "Market data farm connection is broken:usfarm"),
            (Farm::MarketData, false) => (2104, "Market data farm connection is OK:usfarm"),
            (Farm::History, true) => (2105, "HMDS data farm connection is broken:ushmds"),
            (Farm::History, false) => (2106, "HMDS data farm connection is OK:ushmds"),
            (Farm::Definitions, true) => (2157, "Sec-def data farm connection is broken:secdefnj"),
            (Farm::Definitions, false) => (2158, "Sec-def data farm connection is OK:secdefnj"),
        }
    }

    /// The code with which the link's loss is told, while it lasts.
    pub(crate) fn lost(&self) -> Option<i32> {
        self.link
    }

    /// What a newcomer is told of the farms. A gateway without its link says of none that it is well.
    pub(crate) fn farms(&self) -> impl Iterator<Item = (i32, &'static str)> {
        [Farm::MarketData, Farm::History, Farm::Definitions]
            .into_iter()
            .filter(|farm| self.link.is_none() || self.broken.contains(farm))
            .map(|farm| self.farm_notice(farm))
    }

    /// Another session gets the market data, or does no more.
    pub(crate) fn compete(&mut self, state: State) {
        self.competing = state == State::Begins;
    }

    /// Whether another session gets the market data.
    pub(crate) fn is_competed(&self) -> bool {
        self.competing
    }

    /// Market data is of this type from now on.
    pub(crate) fn data_type(&mut self, kind: DataType) {
        self.kind = kind;
    }

    /// IB's number of the type of market data.
    pub(crate) fn kind(&self) -> i32 {
        match self.kind {
            DataType::Live => 1,
            DataType::Frozen => 2,
            DataType::Delayed => 3,
            DataType::DelayedFrozen => 4,
        }
    }

    /// A client hears nothing more of an order by itself.
    pub(crate) fn silence(&mut self, client: i32, order_id: i32) {
        self.silent.insert((client, order_id));
        if self.silent.len() > SILENT_MAX {
            self.silent.pop_first();
        }
    }

    /// A client id stays in use until an instant.
    pub(crate) fn haunt(&mut self, client: i32, until: Duration) {
        self.ghosts.insert(client, until);
    }

    /// Whether a client id is in use by nobody.
    pub(crate) fn is_haunted(&mut self, now: Duration, client: i32) -> bool {
        self.ghosts.retain(|_, until| *until > now);
        self.ghosts.contains_key(&client)
    }

    /// Whether a request waits until the link is back.
    pub(crate) fn holds(&self, number: i32) -> bool {
        self.link.is_some() && ORDERS.contains(&number)
    }

    /// Why a request is refused.
    pub(crate) fn refuses(&self, number: i32) -> Option<(i32, &'static str)> {
        self.refuses_history().filter(|_| HISTORY.contains(&number))
    }

    /// Why nothing is told of the past.
    pub(crate) fn refuses_history(&self) -> Option<(i32, &'static str)> {
        let out = self.link.is_some() || self.broken.contains(&Farm::History);
        out.then_some((
            162,
            "Historical Market Data Service error message:HMDS connection attempt failed.  \
             Connection will be re-attempted on demand.",
        ))
    }

    /// What becomes of a message to a client. `asked` says that it answers a question.
    pub(crate) fn outgoing(&self, facts: &Facts, frame: &Bytes, asked: bool) -> Sky {
        debug_assert!(facts.way == Way::Out, "weather is for what goes out");
        let number = facts.number;
        let order = facts.order_id.filter(|_| !asked);
        if order.is_some_and(|id| self.silent.contains(&(facts.client, id))) {
            return Sky::Drop;
        }
        if self.hides_prices() && PRICES.contains(&number) || self.is_cut_off() && GAINS.contains(&number) {
            return Sky::Drop;
        }
        self.rewritten(facts, frame, asked)
    }

    /// Whether no prices get through to clients, whoever asks.
    pub(crate) fn hides_prices(&self) -> bool {
        self.competing || self.is_cut_off()
    }

    /// Whether the gateway itself gets no prices.
    fn is_cut_off(&self) -> bool {
        self.link.is_some() || self.broken.contains(&Farm::MarketData)
    }

    fn rewritten(&self, facts: &Facts, frame: &Bytes, asked: bool) -> Sky {
        let number = facts.number;
        if self.kind == DataType::Live {
            return Sky::Pass;
        }
        if number == MARKET_DATA_TYPE {
            let kind = MarketDataType {
                req_id: facts.request_id,
                market_data_type: Some(self.kind()),
            };
            return Sky::Instead(made(number, &kind));
        }
        if !QUOTES.contains(&number) {
            return Sky::Pass;
        }
        match self.kind {
            DataType::Live => Sky::Pass,
            DataType::Frozen if asked => Sky::Pass,
            DataType::DelayedFrozen if asked => delayed(number, frame),
            DataType::Frozen | DataType::DelayedFrozen => Sky::Drop,
            DataType::Delayed => delayed(number, frame),
        }
    }

    /// The faults that end everything that lasts, where a client has to hear of the end.
    pub(crate) fn endings(&self) -> Vec<Fault> {
        let state = State::Ends;
        let mut endings = Vec::new();
        if self.link.is_some() {
            let state = LinkState::Restored;
            endings.push(Fault::Link { state, code: None });
        }
        endings.extend(self.broken.iter().map(|farm| Fault::Farm { farm: *farm, state }));
        if self.competing {
            endings.push(Fault::CompetingSession { state });
        }
        if self.kind != DataType::Live {
            let kind = DataType::Live;
            endings.push(Fault::DataType { kind });
        }
        endings
    }

    /// Ends what nobody has to be told of: silence and ghosts.
    pub(crate) fn calm(&mut self) {
        self.silent.clear();
        self.ghosts.clear();
    }

    /// What lasts, for people.
    pub(crate) fn list(&self) -> Value {
        let silent: Vec<_> = self.silent.iter().collect();
        let ghosts: Vec<_> = self.ghosts.keys().collect();
        json!({
            "link_lost": self.link,
            "farms_broken": self.broken,
            "competing_session": self.competing,
            "data_type": self.kind,
            "silent_orders": silent,
            "ghosts": ghosts,
        })
    }
}

/// A frame with a message in it.
fn made(number: i32, message: &impl Message) -> Bytes {
    let mut buffer = BytesMut::new();
    wire::put_frame(&mut buffer, number, message);
    buffer.freeze()
}

fn body(frame: &[u8]) -> Option<&[u8]> {
    wire::frames(frame).next().map(|(_, body, _)| body)
}

/// A tick under its number for delayed data.
fn delayed(number: i32, frame: &Bytes) -> Sky {
    let Some(body) = body(frame) else {
        return Sky::Pass;
    };
    let kind = |kind: Option<i32>| {
        kind.map(|kind| match kind {
            1 => 66,
            2 => 67,
            4 => 68,
            0 => 69,
            3 => 70,
            5 => 71,
            6 => 72,
            7 => 73,
            8 => 74,
            9 => 75,
            14 => 76,
            45 => 88,
            other => other,
        })
    };
    let tick = match number {
        1 => TickPrice::decode(body).ok().map(|mut tick| {
            tick.tick_type = kind(tick.tick_type);
            made(number, &tick)
        }),
        2 => TickSize::decode(body).ok().map(|mut tick| {
            tick.tick_type = kind(tick.tick_type);
            made(number, &tick)
        }),
        46 => TickString::decode(body).ok().map(|mut tick| {
            tick.tick_type = kind(tick.tick_type);
            made(number, &tick)
        }),
        _ => None,
    };
    tick.map_or(Sky::Pass, Sky::Instead)
}
