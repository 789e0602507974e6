//! A client's mind, whatever its socket: what it does next, from a seed, and what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use engine::venue::noise::mix;
use protocol::units::exact;
use rust_decimal::Decimal;

pub const STOCKS: [&str; 8] = ["AAPL", "NVDA", "TSLA", "CEG", "VRT", "PLTR", "UPST", "SOFI"];
/// When the market's day began that all live through, in seconds since 1970: at ten in New York, on a Tuesday.
pub const START_SECOND: i64 = 1_709_650_800;
/// New York's close and midnight on the way, which end orders.
pub const CLOSE_SECOND: i64 = START_SECOND + 6 * 3600;
pub const MIDNIGHT_SECOND: i64 = START_SECOND + 14 * 3600;
/// So long before those nobody cancels everything, so that there is something to end.
const CALM_SECONDS: i64 = 3600;
/// Orders that one client leaves open at the most.
const OPEN_MAX: usize = 12;

/// What all clients know.
#[derive(Default)]
pub struct Day {
    prices: Mutex<BTreeMap<&'static str, f64>>,
    /// The market's time, in seconds since 1970.
    pub second: AtomicI64,
    /// Nobody trades any more; all wait for their orders to end.
    pub closing: AtomicBool,
}

impl Day {
    pub fn traded(&self, stock: &'static str, price: f64) {
        self.prices.lock().unwrap().insert(stock, price);
    }

    pub fn at(&self, second: i64) {
        self.second.fetch_max(second, Ordering::Relaxed);
    }

    fn is_calm(&self) -> bool {
        let second = self.second.load(Ordering::Relaxed);
        [CLOSE_SECOND, MIDNIGHT_SECOND]
            .iter()
            .any(|end| (end - CALM_SECONDS..*end).contains(&second))
    }
}

/// An order as it is asked for.
#[derive(Debug, Clone)]
pub struct Terms {
    pub stock: &'static str,
    pub buys: bool,
    pub kind: &'static str,
    pub quantity: i32,
    pub limit: Option<f64>,
    /// Price of a stop, or the distance of a trailing one.
    pub stop: Option<f64>,
    pub tif: &'static str,
    pub parent: i32,
    pub transmit: bool,
    pub group: String,
}

/// What a client does.
#[derive(Debug)]
pub enum Act {
    Place(Vec<(i32, Terms)>),
    Cancel(i32),
    CancelAll,
    Leave,
    Nothing,
}

/// What a client is told.
#[derive(Debug)]
pub enum News {
    Status { order: i32, status: String },
    Refused { order: i32, code: i32 },
    Trade { id: String, trade: Trade },
    Fee { id: String, fee: f64 },
    NextId(i32),
}

/// An execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Trade {
    pub order: i32,
    pub stock: String,
    /// Shares, below zero where they were sold.
    pub shares: Decimal,
    pub price: Decimal,
}

pub struct Trader {
    pub client: i32,
    random: u64,
    next_id: i32,
    /// All orders, with the terms that were asked for last.
    pub asked: BTreeMap<i32, Terms>,
    live: BTreeSet<i32>,
    acknowledged: BTreeSet<i32>,
    /// How each order ended.
    pub ended: BTreeMap<i32, String>,
    /// Orders that neither live nor ended, which must never be.
    pub lost: Vec<i32>,
    pub trades: BTreeMap<String, Trade>,
    pub fees: BTreeMap<String, Decimal>,
    pub acts: usize,
}

impl Trader {
    pub fn new(client: i32) -> Self {
        Self {
            client,
            random: mix(client as u64),
            next_id: 1,
            asked: BTreeMap::new(),
            live: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            ended: BTreeMap::new(),
            lost: Vec::new(),
            trades: BTreeMap::new(),
            fees: BTreeMap::new(),
            acts: 0,
        }
    }

    /// Whether all of its orders have ended and each of their trades was charged.
    pub fn is_done(&self) -> bool {
        self.live.is_empty() && self.trades.keys().all(|id| self.fees.contains_key(id))
    }

    pub fn hear(&mut self, news: News) {
        match news {
            News::Status { order, status } => {
                self.acknowledged.insert(order);
                if matches!(&status[..], "Filled" | "Cancelled" | "ApiCancelled" | "Inactive") {
                    self.end(order, status);
                }
            }
            // What was acknowledged lives on: its change or its cancel was refused.
            News::Refused { order, code } => {
                if !matches!(code, 202 | 399) && !self.acknowledged.contains(&order) {
                    self.end(order, format!("refused {code}"));
                }
            }
            News::Trade { id, trade } => {
                let before = self.trades.insert(id, trade.clone());
                assert!(
                    before.is_none_or(|before| before == trade),
                    "told twice: {trade:?}"
                );
            }
            News::Fee { id, fee } => {
                self.fees.insert(id, exact(fee).unwrap());
            }
            News::NextId(id) => self.next_id = self.next_id.max(id),
        }
    }

    fn end(&mut self, order: i32, how: String) {
        if self.live.remove(&order) {
            self.ended.insert(order, how);
        }
    }

    /// After a new connection: what the gateway says is open and ended, and its next id. On a slow machine the last
    /// orders before the end of a connection can be lost with it, and so can a refusal: that of a child whose parent has
    /// ended is the only one that leaves no trace.
    pub fn settle(&mut self, open: &BTreeSet<i32>, ended: &BTreeMap<i32, String>, next_id: i32) {
        for order in self.live.clone() {
            let known = self.acknowledged.contains(&order);
            let parent = self.asked[&order].parent;
            if let Some(how) = ended.get(&order) {
                self.end(order, how.clone());
            } else if open.contains(&order) {
                self.acknowledged.insert(order);
            } else if !known && order >= next_id {
                self.end(order, "never arrived".into());
            } else if !known && self.ended.contains_key(&parent) {
                self.end(order, "without a parent".into());
            } else {
                self.lost.push(order);
            }
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random = mix(self.random);
        self.random % end
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// What it does next. Only those that can come back leave.
    pub fn act(&mut self, day: &Day, leaves: bool) -> Act {
        self.acts += 1;
        let live: Vec<i32> = self.live.iter().copied().collect();
        match self.below(1000) {
            0 if day.is_calm() => Act::Nothing,
            0 => Act::CancelAll,
            1 if leaves => Act::Leave,
            2..20 => Act::Cancel(self.next_id - 1),
            20..250 if !live.is_empty() => Act::Cancel(self.any(&live)),
            250..400 if !live.is_empty() => {
                let order = self.any(&live);
                self.change(order, day)
            }
            400..430 => self.bracket(day),
            _ if live.len() >= OPEN_MAX => Act::Cancel(self.any(&live)),
            _ => self.single(day),
        }
    }

    /// New terms for an order: another price and quantity.
    fn change(&mut self, order: i32, day: &Day) -> Act {
        let Some(fresh) = self.terms(day) else {
            return Act::Nothing;
        };
        let Some(terms) = self.asked.get_mut(&order) else {
            return Act::Nothing;
        };
        terms.quantity += fresh.quantity;
        let price = day.prices.lock().unwrap().get(terms.stock).copied();
        let near = price.map(|price| cents(price * if terms.buys { 0.999 } else { 1.001 }));
        terms.limit = terms.limit.and(near);
        Act::Place(vec![(order, terms.clone())])
    }

    fn take_id(&mut self, terms: &Terms) -> i32 {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, terms.clone());
        self.live.insert(id);
        id
    }

    fn single(&mut self, day: &Day) -> Act {
        let Some(terms) = self.terms(day) else {
            return Act::Nothing;
        };
        let id = self.take_id(&terms);
        Act::Place(vec![(id, terms)])
    }

    /// An order with a target and a stop behind it, told in three messages.
    fn bracket(&mut self, day: &Day) -> Act {
        let Some(parent) = self.terms(day) else {
            return Act::Nothing;
        };
        let price = day.prices.lock().unwrap()[parent.stock];
        let away = |part: f64| Some(cents(price * if parent.buys { 1.0 + part } else { 1.0 - part }));
        let parent = Terms {
            kind: "LMT",
            limit: away(0.000_5),
            stop: None,
            tif: "DAY",
            transmit: false,
            group: String::new(),
            ..parent
        };
        let first = self.take_id(&parent);
        let child = Terms {
            buys: !parent.buys,
            parent: first,
            tif: "GTC",
            ..parent.clone()
        };
        let target = Terms {
            limit: away(0.002),
            ..child.clone()
        };
        let stop = Terms {
            kind: "STP",
            limit: None,
            stop: away(-0.002),
            transmit: true,
            ..child
        };
        let (second, third) = (self.take_id(&target), self.take_id(&stop));
        Act::Place(vec![(first, parent), (second, target), (third, stop)])
    }

    /// A new order of any kind, near the market.
    fn terms(&mut self, day: &Day) -> Option<Terms> {
        let stock = self.any(&STOCKS);
        let price = *day.prices.lock().unwrap().get(stock)?;
        let buys = self.below(2) == 0;
        let mut near = |widest: f64| {
            let part = (self.below(2001) as f64 / 1000.0 - 1.0) * widest;
            Some(cents(price * (1.0 + part)))
        };
        let (limit, stop) = (near(0.004), near(0.003));
        let kind = self.any(&[
            "MKT", "MKT", "LMT", "LMT", "LMT", "STP", "STP LMT", "TRAIL", "MOC", "LOC",
        ]);
        let (limit, stop) = match kind {
            "LMT" | "LOC" => (limit, None),
            "STP" => (None, stop),
            "STP LMT" => (limit, stop),
            "TRAIL" => (None, Some(cents(price * 0.002))),
            _ => (None, None),
        };
        let tif = match kind {
            "LMT" => self.any(&["DAY", "GTC", "IOC", "FOK"]),
            "MOC" | "LOC" => "DAY",
            _ => self.any(&["DAY", "GTC"]),
        };
        let grouped = kind == "LMT" && tif != "FOK" && self.below(10) == 0;
        let group = if grouped {
            let number = self.below(5);
            format!("{}-{number}", self.client)
        } else {
            String::new()
        };
        Some(Terms {
            stock,
            buys,
            kind,
            quantity: 1 + self.below(400) as i32,
            limit,
            stop,
            tif,
            parent: 0,
            transmit: true,
            group,
        })
    }
}

fn cents(price: f64) -> f64 {
    (price * 100.0).round() / 100.0
}
