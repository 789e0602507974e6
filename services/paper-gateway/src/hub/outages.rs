//! Faults of the whole gateway: its link to the broker, its farms, its port, its account.

use anyhow::Result;
use engine::venue::Input;
use engine::venue::desk::{self, Desk};
use protocol::Symbol;
use serde_json::{Value, json};

use super::Hub;
use super::faults::COMPETING;
use crate::door::Door;
use crate::fault::{
    Ask, DataType, Due, Farm, Fault, Line, LinkState, Order, Pacing, Port, Side, State, time,
};
use crate::message::market::MarketDataType;
use crate::message::request::PlaceOrderRequest;
use crate::message::shared::{Contract, Order as WireOrder};
use crate::message::terms::Terms;
use crate::number::approximate;
use crate::outbox::outbox;
use crate::peer::{NO_REQUEST, Peer};
use crate::request::Request;

const MARKET_DATA_TYPE: i32 = 58;
/// IB's limit is on messages within a second.
const PACING_SECONDS: f64 = 1.0;

impl Hub {
    /// Does what a line says, and says what came of it.
    pub(super) fn command(&mut self, line: Line) -> Result<Value> {
        let Line { after, order } = line;
        if let Some(symbol) = order.symbols().find(|symbol| !self.trades(*symbol)) {
            return Ok(wrong(&crate::fault::unknown(symbol)));
        }
        let Some(trouble) = &mut self.trouble else {
            return Ok(wrong("faults are not allowed here"));
        };
        if let (Some(after), false) = (after, matches!(order, Order::Ask(_))) {
            let refused = trouble.delays.put(trouble.now() + after, Due::Order(order));
            return Ok(refused.map_or_else(fine, |_| wrong("too much waits already")));
        }
        Ok(match order {
            Order::Now(fault) => {
                tracing::warn!(?fault, "a fault is asked for");
                self.carry_out(fault, None)?
            }
            Order::When(trigger, fault) => {
                tracing::warn!(?fault, ?trigger, "a fault waits for its message");
                match trouble.rules.add(trigger, fault) {
                    Some(number) => json!({ "ok": true, "rule": number }),
                    None => wrong("there are too many rules: clear some"),
                }
            }
            Order::Clear(what) => match self.clear(what)? {
                true => fine(),
                false => wrong("there is no rule of this number"),
            },
            Order::Ask(ask) => self.tell(ask),
        })
    }

    fn trades(&self, symbol: Symbol) -> bool {
        self.venue.market().price_step(symbol).is_some()
    }

    fn tell(&self, ask: Ask) -> Value {
        match ask {
            Ask::Regime { symbol } => {
                let at = self.venue.now();
                let regime = self.venue.market().truth(symbol, at);
                json!({ "ok": true, "symbol": symbol, "at": at.to_string(), "regime": regime })
            }
            Ask::Orders {} => {
                let orders: Vec<_> = self.venue.account().open.values().collect();
                json!({ "ok": true, "orders": orders })
            }
            Ask::Clients {} => {
                let clients = self.peers.iter().map(|(session, peer)| {
                    let (client, waiting) = (peer.client, peer.backlog().frames);
                    json!({ "session": session, "client": client, "waiting": waiting, "mute": peer.muted })
                });
                json!({ "ok": true, "clients": clients.collect::<Vec<_>>() })
            }
            Ask::Faults {} => {
                let told = self.trouble.as_ref().map(|trouble| {
                    json!({ "ok": true, "rules": trouble.rules.list(), "lasting": trouble.weather.list() })
                });
                told.unwrap_or_default()
            }
        }
    }

    /// Makes a fault happen now. `by` is the connection and the client whose message set it off.
    pub(super) fn carry_out(&mut self, fault: Fault, by: Option<(u64, i32)>) -> Result<Value> {
        match fault {
            Fault::Notice {
                code,
                text,
                client,
                order_id,
            } => {
                let text = text.unwrap_or_else(|| self.usual(code));
                // An order is one client's: of the same number, another one has another.
                let client = client.or(by.filter(|_| order_id.is_some()).map(|(_, client)| client));
                self.notify(client, order_id.unwrap_or(NO_REQUEST), code, &text);
            }
            Fault::Link { state, code } => self.link(state, code)?,
            Fault::Farm { farm, state } => self.farm(farm, state),
            Fault::PortReset {} => {
                let text = self.usual(1300);
                self.notify(None, NO_REQUEST, 1300, &text);
                self.part();
            }
            Fault::CompetingSession { state } => self.compete(state),
            Fault::Restart { seconds, port } => {
                let door = match port {
                    Port::Closed => Door::Closed,
                    Port::Refuses => Door::Refuses,
                };
                self.part();
                if let Some(trouble) = &mut self.trouble {
                    trouble.door.send_replace(door);
                    let end = trouble.now() + time(seconds);
                    trouble.closed_until = trouble.closed_until.max(end);
                    trouble.delays.reopen(trouble.closed_until);
                }
            }
            Fault::RollBackIds { .. } | Fault::ManualTrade { .. } | Fault::CorrectExecution { .. } => {
                return self.intervene(fault, by);
            }
            Fault::DataType { kind } => self.data_type(kind),
            _ => return Ok(self.limit(fault, by)),
        }
        Ok(fine())
    }

    /// What the broker does to the account.
    fn intervene(&mut self, fault: Fault, by: Option<(u64, i32)>) -> Result<Value> {
        let client_of = |client: Option<i32>| client.or(by.map(|(_, client)| client));
        match fault {
            Fault::RollBackIds { client, next } => {
                let Some(client) = client_of(client) else {
                    return Ok(wrong("this fault needs `client`"));
                };
                let next_order_id = next;
                self.step(Input::Desk(Desk::RollBack {
                    client,
                    next_order_id,
                }))?;
            }
            Fault::ManualTrade {
                symbol,
                side,
                quantity,
                limit,
                order_id,
            } => {
                let request = by_hand(
                    &symbol.broker_text(),
                    side,
                    &quantity.to_string(),
                    limit.map(approximate),
                );
                let ticket = match self.ticket(desk::CLIENT, &request) {
                    Ok(ticket) => Box::new(ticket),
                    Err((code, text)) => return Ok(wrong(&format!("{code}: {text}"))),
                };
                if let Err(why) = self.venue.check_by_hand(order_id, &ticket) {
                    let (code, text) = self.refusal(desk::CLIENT, order_id, &why);
                    return Ok(wrong(&format!("{code}: {text}")));
                }
                let order_id = self.number_by_hand(order_id);
                self.step(Input::Desk(Desk::Trade { order_id, ticket }))?;
            }
            Fault::CorrectExecution {
                client,
                order_id,
                price,
            } => {
                let mut fills = self.venue.account().fills.iter().rev();
                let found = fills.find(|fill| {
                    client.is_none_or(|client| client == fill.client)
                        && order_id.is_none_or(|order_id| order_id == fill.order_id)
                });
                let Some(number) = found.map(|fill| fill.number) else {
                    return Ok(wrong("there is no such execution"));
                };
                self.step(Input::Desk(Desk::Correct { number, price }))?;
            }
            _ => {}
        }
        Ok(fine())
    }

    /// The faults that only change what is to come.
    fn limit(&mut self, fault: Fault, by: Option<(u64, i32)>) -> Value {
        let Self {
            trouble: Some(trouble),
            peers,
            ..
        } = self
        else {
            return wrong("faults are not allowed here");
        };
        match fault {
            Fault::Ghost { client, seconds } => {
                let Some(client) = client.or(by.map(|(_, client)| client)) else {
                    return wrong("this fault needs `client`");
                };
                trouble.weather.haunt(client, trouble.now() + time(seconds));
            }
            Fault::HalfOpen { client, seconds } => {
                for (session, peer) in peers.iter_mut().filter(|(_, peer)| Some(peer.client) == client) {
                    trouble.freeze(*session, peer, seconds);
                }
            }
            Fault::Pacing { messages } => trouble.pacing = Some(Pacing::new(messages, time(PACING_SECONDS))),
            Fault::HistoryPacing { requests, seconds } => {
                trouble.history_pacing = Some(Pacing::new(requests, time(seconds)));
            }
            // What happens to a message was done when it passed.
            _ => {}
        }
        fine()
    }

    /// Tells a client, or all of them, something about an order or about no request.
    fn notify(&mut self, client: Option<i32>, id: i32, code: i32, text: &str) {
        let wanted = |peer: &&mut Peer| client.is_none_or(|client| client == peer.client);
        for peer in self.peers.values_mut().filter(wanted) {
            peer.error(id, code, text);
        }
    }

    /// What IB says with a code.
    pub(super) fn usual(&self, code: i32) -> String {
        let port = self.trouble.as_ref().map_or(0, |trouble| trouble.port);
        match code {
            1100 => "Connectivity between IB and Trader Workstation has been lost.".into(),
            1101 => "Connectivity between IB and Trader Workstation has been restored - data lost.".into(),
            1102 => {
                "Connectivity between IB and Trader Workstation has been restored - data maintained.".into()
            }
            1300 => format!(
                "TWS socket port has been reset and this connection is being dropped. \
                 Please reconnect on the new port - {port}"
            ),
            2103 => "Market data farm connection is broken:usfarm".into(),
            2104 => "Market data farm connection is OK:usfarm".into(),
            2105 => "HMDS data farm connection is broken:ushmds".into(),
            2106 => "HMDS data farm connection is OK:ushmds".into(),
            2107 => {
                "HMDS data farm connection is inactive but should be available upon demand.:ushmds".into()
            }
            2108 => {
                "Market data farm connection is inactive but should be available upon demand.:usfarm".into()
            }
            2110 => "Connectivity between Trader Workstation and server is broken. \
                     It will be restored automatically."
                .into(),
            _ => "A notice was asked for.".into(),
        }
    }

    /// Every connection ends.
    fn part(&mut self) {
        for session in self.peers.keys().copied().collect::<Vec<_>>() {
            self.release(false);
            self.leave(session);
        }
    }

    fn link(&mut self, state: LinkState, code: Option<i32>) -> Result<()> {
        let code = code.unwrap_or(1100);
        let Some(trouble) = &mut self.trouble else {
            return Ok(());
        };
        if !trouble.weather.link(state, code) {
            return Ok(());
        }
        let code = match state {
            LinkState::Lost => code,
            LinkState::Restored => 1102,
            LinkState::RestoredDataLost => 1101,
        };
        let text = self.usual(code);
        self.notify(None, NO_REQUEST, code, &text);
        self.release(false);
        if state == LinkState::Lost {
            self.lose_link();
            return Ok(());
        }
        if state == LinkState::RestoredDataLost {
            for peer in self.peers.values_mut() {
                peer.quotes = Default::default();
                peer.bars = Default::default();
                peer.ticks = Default::default();
                peer.depths = Default::default();
                peer.histories = Default::default();
            }
        }
        self.catch_up()
    }

    /// The link is back: what waited for it happens, and is told.
    fn catch_up(&mut self) -> Result<()> {
        self.forget_told();
        let Some(trouble) = &mut self.trouble else {
            return Ok(());
        };
        let requests = std::mem::take(&mut trouble.held_requests);
        self.regain_link();
        self.release(false);
        for (session, client, number, request) in requests {
            self.send_late(session, client, number, request)?;
        }
        Ok(())
    }

    /// Handles a request that waited, also of a client that is gone: the broker has it all the same.
    fn send_late(&mut self, session: u64, client: i32, number: i32, request: Request) -> Result<()> {
        if self.peers.get(&session).is_some_and(|peer| !peer.muted) {
            return self.serve(session, number, request);
        }
        let (nowhere, _) = outbox(Default::default());
        let left = self.peers.insert(session, Peer::new(client, nowhere));
        let result = self.answer(session, request);
        match left {
            Some(peer) => self.peers.insert(session, peer),
            None => self.peers.remove(&session),
        };
        self.release(false);
        result
    }

    /// What was told did not arrive: the next quotes tell all.
    fn forget_told(&mut self) {
        self.quotes.forget();
        self.late_told.clear();
    }

    fn farm(&mut self, farm: Farm, state: State) {
        let Some(trouble) = &mut self.trouble else { return };
        let (code, text) = trouble.weather.farm(farm, state);
        self.notify(None, NO_REQUEST, code, text);
        if (farm, state) == (Farm::MarketData, State::Ends) {
            self.forget_told();
        }
    }

    fn compete(&mut self, state: State) {
        let Some(trouble) = &mut self.trouble else { return };
        trouble.weather.compete(state);
        if state == State::Ends {
            return self.forget_told();
        }
        let (code, text) = COMPETING;
        for peer in self.peers.values_mut() {
            let ids: Vec<i32> = peer
                .quotes
                .all()
                .map(|(id, ..)| id)
                .chain(peer.bars.all().map(|(id, ..)| id))
                .chain(peer.ticks.all().map(|(id, ..)| id))
                .chain(peer.depths.all().map(|(id, ..)| id))
                .chain(peer.histories.all().map(|(id, ..)| id))
                .collect();
            for id in ids {
                peer.error(id, code, text);
            }
        }
    }

    fn data_type(&mut self, kind: DataType) {
        let Some(trouble) = &mut self.trouble else { return };
        trouble.weather.data_type(kind);
        let number = trouble.weather.kind();
        for peer in self.peers.values_mut() {
            for id in peer.quotes.all().map(|(id, ..)| id).collect::<Vec<_>>() {
                let told = MarketDataType {
                    req_id: Some(id),
                    market_data_type: Some(number),
                };
                peer.send(MARKET_DATA_TYPE, &told);
            }
        }
        self.forget_told();
    }
}

/// An order as a person would enter it.
fn by_hand(symbol: &str, side: Side, quantity: &str, limit: Option<f64>) -> PlaceOrderRequest {
    let action = match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    };
    PlaceOrderRequest {
        order_id: Some(1),
        contract: Some(Contract {
            symbol: Some(symbol.to_owned()),
            sec_type: Some("STK".into()),
            ..Contract::default()
        }),
        order: Some(Terms::from(WireOrder {
            action: Some(action.into()),
            total_quantity: Some(quantity.to_owned()),
            order_type: Some(if limit.is_some() { "LMT" } else { "MKT" }.into()),
            lmt_price: limit,
            tif: Some("GTC".into()),
            transmit: Some(true),
            ..WireOrder::default()
        })),
        attached_orders: None,
    }
}

fn fine() -> Value {
    json!({ "ok": true })
}

fn wrong(why: &str) -> Value {
    // Of a fault that a message or a scenario sets off, nobody reads an answer.
    tracing::warn!(why, "a fault can't be carried out");
    json!({ "error": why })
}
