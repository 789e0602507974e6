//! Faults on their way: every message passes here once faults are allowed, and the rules say what becomes of it.

use std::time::Duration;

use anyhow::Result;
use engine::venue::Input;
use engine::venue::desk::Desk;
use protocol::Quantity;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Hub;
use super::news::News;
use super::trouble::{Fate, Trouble};
use crate::door::Door;
use crate::fault::{Clear, Due, Facts, Line, Order, Place, Rules};
use crate::outbox::Outbox;
use crate::peer::{NO_REQUEST, Peer};
use crate::request::{Request, START_API};
use crate::wire;

/// Most faults that are carried out in one turn; the rest wait for the next.
const EVENTS_TURN_MAX: usize = 64;
/// Requests that change orders; all others are questions.
const ORDERS: [i32; 3] = [3, 4, 58];
/// Requests that a competing session makes useless.
const PRICES: [i32; 4] = [1, 10, 50, 97];
/// What IB says while another session has the market data.
pub(super) const COMPETING: (i32, &str) = (10197, "No market data during competing live session");

/// What a client finds that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    Serve,
    /// Its id is in use.
    Taken,
    Close,
}

impl Hub {
    /// Lets faults happen, those of a scenario to begin with. Returns what tells the port to open and close.
    pub(crate) fn allow(&mut self, port: u16, scenario: Vec<Line>) -> watch::Receiver<Door> {
        let (door, changes) = watch::channel(Door::Open);
        self.trouble = Some(Box::new(Trouble::new(port, door, scenario)));
        changes
    }

    /// Handles a request, unless a fault says otherwise.
    pub(super) fn take(&mut self, session: u64, number: i32, request: Request) -> Result<()> {
        if self.trouble.is_none() {
            return self.answer(session, request);
        }
        self.release(false);
        let client = self.peer(session).client;
        let mut facts = Facts::of_request(client, number, &request);
        let Some(trouble) = &mut self.trouble else {
            return Ok(());
        };
        trouble.name(&mut facts, self.venue.account());
        match trouble.judge(session, &facts) {
            Fate::Serve => self.serve(session, number, request)?,
            Fate::Swallow => {}
            Fate::Cut(place) => {
                if place == Place::After {
                    self.answer(session, request)?;
                    self.peer(session).unchecked();
                }
                self.leave(session);
            }
            Fate::Delay(for_so_long) => {
                let due = Due::Request(session, number, Box::new(request));
                if let Some(Due::Request(_, _, request)) =
                    trouble.delays.put(trouble.now() + for_so_long, due)
                {
                    self.serve(session, number, *request)?;
                }
            }
            Fate::Hold => trouble.hold(session, client, number, request),
            Fate::HalfOpen(seconds) => {
                if let Some(peer) = self.peers.get_mut(&session) {
                    trouble.freeze(session, peer, seconds);
                }
            }
            Fate::Error(id, code, text) => {
                self.peer(session).error(id, code, &text);
                self.release(true);
                self.hush(session);
            }
            Fate::Inactive(reason) => self.refuse(session, request, reason)?,
            Fate::Suspend(for_so_long) => {
                let order_id = facts.order_id.unwrap_or(NO_REQUEST);
                trouble.inactive.insert((client, order_id));
                let due = Due::Activate(client, order_id);
                let no_room = trouble.delays.put(trouble.now() + for_so_long, due);
                self.serve_limited((session, number, request), (client, order_id), Quantity::ZERO)?;
                no_room.map_or(Ok(()), |due| self.come_due(due))?;
            }
            Fate::Partial(shares) => {
                let of = (client, facts.order_id.unwrap_or(NO_REQUEST));
                self.serve_limited((session, number, request), of, shares)?;
            }
        }
        Ok(())
    }

    /// Places an order that trades no more than so many shares.
    fn serve_limited(
        &mut self,
        (session, number, request): (u64, i32, Request),
        (client, order_id): (i32, i32),
        shares: Quantity,
    ) -> Result<()> {
        self.limit_shares(client, order_id, Some(shares))?;
        self.serve(session, number, request)?;
        if self.venue.account().find_open(client, order_id).is_none() {
            // Nothing came of it, and another order may get its number.
            self.set_active(client, order_id);
            self.limit_shares(client, order_id, None)?;
        }
        Ok(())
    }

    fn limit_shares(&mut self, client: i32, order_id: i32, shares: Option<Quantity>) -> Result<()> {
        self.step(Input::Desk(Desk::Limit {
            client,
            order_id,
            shares,
        }))
    }

    /// The broker trades an order that it had as inactive, unless that has ended.
    fn activate(&mut self, client: i32, order_id: i32) -> Result<()> {
        let mut trouble = self.trouble.iter();
        if trouble.any(|trouble| trouble.inactive.contains(&(client, order_id))) {
            self.limit_shares(client, order_id, None)?;
            self.hear(News::Order { client, order_id });
        }
        Ok(())
    }

    /// Answers a request, and lets the answers pass.
    pub(super) fn serve(&mut self, session: u64, number: i32, request: Request) -> Result<()> {
        let id = Facts::of_request(0, number, &request).request_id;
        self.answer(session, request)?;
        if PRICES.contains(&number) {
            self.tell_competed(session, id.unwrap_or(NO_REQUEST));
        }
        self.release(!ORDERS.contains(&number));
        Ok(())
    }

    /// Tells who has begun to follow prices that another session gets them, if one does.
    pub(super) fn tell_competed(&mut self, session: u64, id: i32) {
        let mut trouble = self.trouble.iter();
        if trouble.any(|trouble| trouble.weather.is_competed()) {
            let (code, text) = COMPETING;
            self.peer(session).error(id, code, text);
        }
    }

    /// An order is taken, refused, and told as Inactive.
    fn refuse(&mut self, session: u64, request: Request, reason: String) -> Result<()> {
        let Request::PlaceOrder(place) = request else {
            return Ok(());
        };
        let client = self.peer(session).client;
        let order_id = place.order_id.unwrap_or(0);
        let ticket = match self.ticket(client, &place) {
            Ok(ticket) => Box::new(ticket),
            Err((code, text)) => {
                self.peer(session).error(order_id, code, &text);
                return Ok(());
            }
        };
        self.step(Input::Desk(Desk::Refuse {
            client,
            order_id,
            ticket,
            reason,
        }))?;
        self.hear(News::Order { client, order_id });
        self.release(false);
        Ok(())
    }

    /// Lets everything that was queued since the last time pass, or not.
    pub(super) fn release(&mut self, asked: bool) {
        let Self {
            trouble: Some(trouble),
            peers,
            told,
            ..
        } = self
        else {
            return;
        };
        for (session, peer) in peers {
            let bytes = peer.unchecked();
            let mut at = 0;
            for (_, _, length) in wire::frames(&bytes) {
                let frame = bytes.slice(at..at + length);
                at += length;
                if !peer.muted {
                    trouble.pass(*session, peer, frame, asked, told);
                }
            }
        }
    }

    /// Carries out what is due, and lets pass what was told of it.
    pub(super) fn meet_faults(&mut self) -> Result<()> {
        if self.trouble.is_none() {
            return Ok(());
        }
        self.release(false);
        for _ in 0..EVENTS_TURN_MAX {
            let Some(trouble) = &mut self.trouble else { break };
            if let Some((fault, session, client)) = trouble.events.pop_front() {
                self.carry_out(fault, Some((session, client)))?;
            } else if let Some(due) = trouble.delays.due(trouble.now()) {
                self.come_due(due)?;
            } else {
                break;
            }
            self.release(false);
        }
        Ok(())
    }

    fn come_due(&mut self, due: Due) -> Result<()> {
        match due {
            Due::Order(Order::Now(fault)) => {
                self.carry_out(fault, None)?;
            }
            Due::Order(order) => {
                self.command(Line { after: None, order })?;
            }
            Due::Frame(session, frame) => {
                if let Some(peer) = self.peers.get_mut(&session) {
                    peer.pass(&frame);
                }
            }
            Due::Request(session, number, request) => {
                let peer = self.peers.get(&session).filter(|peer| !peer.muted);
                match (peer, &mut self.trouble) {
                    (Some(peer), Some(trouble)) if trouble.weather.holds(number) => {
                        trouble.hold(session, peer.client, number, *request);
                    }
                    (Some(_), _) => self.serve(session, number, *request)?,
                    (None, _) => {}
                }
            }
            Due::Start(session, client, outbox) => self.start(session, client, outbox),
            Due::Reopen => {
                if let Some(trouble) = self
                    .trouble
                    .as_ref()
                    .filter(|trouble| trouble.closed_until <= trouble.now())
                {
                    tracing::info!("clients can connect again");
                    trouble.door.send_replace(Door::Open);
                }
            }
            Due::Activate(client, order_id) => self.activate(client, order_id)?,
            Due::GiveUp(session) => {
                if let Some(peer) = self.peers.remove(&session) {
                    peer.cut();
                }
            }
        }
        Ok(())
    }

    /// Everything that faults changed is as it was.
    pub(super) fn clear(&mut self, what: Clear) -> Result<bool> {
        let Some(trouble) = &mut self.trouble else {
            return Ok(false);
        };
        if let Clear::Rule(number) = what {
            return Ok(trouble.rules.remove(number));
        }
        trouble.rules = Rules::default();
        trouble.weather.calm();
        (trouble.pacing, trouble.history_pacing) = (None, None);
        trouble.events.clear();
        trouble.closed_until = Duration::ZERO;
        let waiting = trouble.delays.clear();
        for ending in trouble.weather.endings() {
            self.carry_out(ending, None)?;
        }
        for due in waiting {
            self.come_due(due)?;
        }
        self.step(Input::Desk(Desk::Unlimit))?;
        self.peers.retain(|_, peer| {
            if peer.muted {
                peer.cut();
            }
            !peer.muted
        });
        Ok(true)
    }

    /// Takes a client in that finished its greeting, unless a rule says otherwise.
    pub(super) fn meet(&mut self, session: u64, client: i32, outbox: Outbox) {
        let facts = Facts::of_request(client, START_API, &Request::Ignored);
        let is_welcome = self.greet(client) == Greeting::Serve;
        let Some(trouble) = self.trouble.as_mut().filter(|_| is_welcome) else {
            return self.start(session, client, outbox);
        };
        match trouble.ruled(session, &facts) {
            Fate::Cut(_) => {}
            Fate::Swallow => {
                let mut peer = Peer::new(client, outbox);
                peer.muted = true;
                self.peers.insert(session, peer);
            }
            Fate::HalfOpen(seconds) => {
                let mut peer = Peer::new(client, outbox);
                trouble.freeze(session, &mut peer, seconds);
                self.peers.insert(session, peer);
            }
            Fate::Delay(for_so_long) => {
                let due = Due::Start(session, client, outbox);
                if let Some(Due::Start(_, _, outbox)) = trouble.delays.put(trouble.now() + for_so_long, due) {
                    self.start(session, client, outbox);
                }
            }
            _ => self.start(session, client, outbox),
        }
    }

    /// What a client finds that connects, whatever the rules say.
    pub(super) fn greet(&mut self, client: i32) -> Greeting {
        let Some(trouble) = &mut self.trouble else {
            return Greeting::Serve;
        };
        if *trouble.door.borrow() != Door::Open {
            return Greeting::Close;
        }
        if trouble.weather.is_haunted(trouble.now(), client) {
            return Greeting::Taken;
        }
        Greeting::Serve
    }

    /// Ends a connection after what is queued for it.
    pub(super) fn leave(&mut self, session: u64) {
        if let (Some(trouble), Some(peer)) = (&mut self.trouble, self.peers.get_mut(&session)) {
            trouble.leave(session, peer);
        }
    }

    /// Tells nothing more to a connection that is about to end.
    fn hush(&mut self, session: u64) {
        if let (Some(trouble), Some(peer)) = (&self.trouble, self.peers.get_mut(&session)) {
            peer.muted |= trouble.leaving.contains(&session);
        }
    }

    /// Lets go of the connections that end: what was queued has been handed over.
    pub(super) fn let_go(&mut self) {
        let Some(trouble) = &mut self.trouble else { return };
        for session in trouble.leaving.drain(..) {
            if let Some(peer) = self.peers.remove(&session) {
                tracing::info!(session, client = peer.client, "a fault ends a connection");
            }
        }
    }

    /// When the next fault is due.
    pub(super) fn fault_due(&self) -> Option<Instant> {
        let trouble = self.trouble.as_ref()?;
        if !trouble.events.is_empty() {
            return Some(Instant::now());
        }
        trouble.delays.next_at().map(|at| trouble.started + at)
    }

    /// A connection ended: nothing about it is kept.
    pub(super) fn forget(&mut self, session: u64) {
        if let Some(trouble) = &mut self.trouble {
            for pacing in [&mut trouble.pacing, &mut trouble.history_pacing]
                .into_iter()
                .flatten()
            {
                pacing.forget(session);
            }
            trouble.delays.forget(session);
        }
    }
}
