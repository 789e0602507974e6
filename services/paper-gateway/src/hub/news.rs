//! What the broker says of orders and of the account: told at once, or once its link is back. Until then the gateway
//! knows nothing newer than the loss, and answers from that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::venue::Refusal;
use engine::venue::account::Position as Holding;
use engine::venue::money::Valuation;
use engine::venue::record::Record;
use protocol::{Price, Symbol};

use super::Hub;

/// Most news that waits for the link. Of more, the oldest is taken in untold.
pub(super) const NEWS_MAX: usize = 10_000;

/// One thing that the broker says.
#[derive(Debug)]
pub(super) enum News {
    /// The account changed.
    Record(Record),
    /// What a client asked for was not carried out.
    Refused {
        client: i32,
        order_id: i32,
        why: Refusal,
    },
    /// A fault changed how an order is.
    Order { client: i32, order_id: i32 },
}

/// A lost link: what waits for it, and what the account was worth before.
#[derive(Debug)]
pub(crate) struct Outage {
    news: VecDeque<News>,
    /// The newest of each stop that trails. Nobody is told of it alone, and it comes with every price; so it waits apart for
    /// the next news of its order, and pushes nothing out.
    trailed: BTreeMap<i64, Record>,
    /// Stocks whose position changed by news that was pushed out.
    moved: BTreeSet<Symbol>,
    valuation: Valuation,
    prices: BTreeMap<Symbol, Price>,
}

impl Hub {
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.trouble.as_ref()?.outage.as_ref()
    }

    /// Takes in what the broker says, and tells it: now or when the link is back.
    pub(super) fn hear(&mut self, news: News) {
        let Some(outage) = self.trouble.as_mut().and_then(|trouble| trouble.outage.as_mut()) else {
            let moved = self.tell_news(news);
            return self.tell_positions(&moved.into_iter().collect());
        };
        if let News::Record(record @ Record::Trailed { perm_id, .. }) = news {
            outage.trailed.insert(perm_id, record);
            return;
        }
        let trailed = match &news {
            News::Record(record) => record.order().and_then(|order| outage.trailed.remove(&order)),
            _ => None,
        };
        outage.news.extend(trailed.map(News::Record));
        outage.news.push_back(news);
        let too_many = outage.news.len().saturating_sub(NEWS_MAX);
        for oldest in outage.news.drain(..too_many).collect::<Vec<_>>() {
            self.take_in(&oldest);
        }
    }

    /// Takes news in untold.
    fn take_in(&mut self, news: &News) {
        match news {
            News::Record(record) => {
                self.told.apply(record);
                let moved = self.position_of(record);
                if let Some(outage) = self.trouble.as_mut().and_then(|trouble| trouble.outage.as_mut()) {
                    outage.moved.extend(moved);
                }
                if let Record::Ended { perm_id, .. } = record
                    && let Some(order) = self.told.completed.get(perm_id)
                {
                    self.set_active(order.client, order.order_id);
                }
            }
            News::Order { client, order_id } => self.set_active(*client, *order_id),
            News::Refused { .. } => {}
        }
    }

    /// The stock whose position a record changed.
    fn position_of(&self, record: &Record) -> Option<Symbol> {
        match record {
            Record::Filled { fill } => Some(fill.symbol),
            Record::Corrected { number, .. } => {
                let mut fills = self.told.fills.iter().rev();
                fills.find(|fill| fill.number == *number).map(|fill| fill.symbol)
            }
            _ => None,
        }
    }

    /// Tells those whom it is about, and returns the stock whose position it changed.
    fn tell_news(&mut self, news: News) -> Option<Symbol> {
        match news {
            News::Record(record) => {
                self.tell_record(&record);
                return self.position_of(&record);
            }
            News::Refused {
                client,
                order_id,
                why,
            } => self.tell_refusal(client, order_id, &why),
            News::Order { client, order_id } => {
                self.set_active(client, order_id);
                let order = self.told.find_open(client, order_id);
                let order = order.or_else(|| self.told.find_completed(client, order_id));
                if let Some(perm_id) = order.map(|order| order.perm_id) {
                    self.tell_order(perm_id);
                }
            }
        }
        None
    }

    /// An order is not, or no longer, one that the broker has and does not trade.
    pub(super) fn set_active(&mut self, client: i32, order_id: i32) {
        if let Some(trouble) = &mut self.trouble {
            trouble.inactive.remove(&(client, order_id));
        }
    }

    /// The link is lost: what is known now is all that is told until it is back.
    pub(super) fn lose_link(&mut self) {
        let holdings = self.told.positions.iter();
        let price =
            |(symbol, holding): (&Symbol, &Holding)| (*symbol, self.venue.price_held(*symbol, holding));
        let outage = Outage {
            news: VecDeque::new(),
            trailed: BTreeMap::new(),
            moved: BTreeSet::new(),
            valuation: self.venue.valuation(),
            prices: holdings.map(price).collect(),
        };
        if let Some(trouble) = &mut self.trouble {
            trouble.outage = Some(outage);
        }
    }

    /// The link is back: what waited for it is told.
    pub(super) fn regain_link(&mut self) {
        let outage = self.trouble.as_mut().and_then(|trouble| trouble.outage.take());
        let Some(outage) = outage else { return };
        let news = outage.news.into_iter();
        let mut moved: BTreeSet<Symbol> = news.filter_map(|news| self.tell_news(news)).collect();
        moved.extend(outage.moved);
        // With where stops stand that trailed meanwhile.
        self.told.clone_from(self.venue.account());
        self.tell_positions(&moved);
    }

    /// What the account is worth, as far as the gateway knows.
    pub(super) fn valuation(&self) -> Valuation {
        let known = self.outage().map(|outage| outage.valuation.clone());
        known.unwrap_or_else(|| self.venue.valuation())
    }

    /// The price at which a share that is held counts, as far as the gateway knows.
    pub(super) fn price_held(&self, symbol: Symbol, holding: &Holding) -> Price {
        let known = self
            .outage()
            .and_then(|outage| outage.prices.get(&symbol).copied());
        known.unwrap_or_else(|| self.venue.price_held(symbol, holding))
    }
}
