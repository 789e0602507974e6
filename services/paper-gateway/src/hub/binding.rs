//! Orders that a person placed at the broker's own screen: client 0 alone can have them bound to numbers of its own, and
//! changes and cancels them by those.

use anyhow::Result;
use engine::venue::Input;
use engine::venue::desk;
use engine::venue::order::UNBOUND;

use super::Hub;
use crate::message::account::OrderBound;
use crate::message::request::AutoOpenOrdersRequest;
use crate::peer::NO_REQUEST;

impl Hub {
    /// Tells a client its open orders, client 0 those by hand too.
    pub(super) fn own_open_orders(&mut self, session: u64) -> Result<()> {
        if self.peer(session).client == desk::CLIENT {
            self.step(Input::Bind)?;
        }
        self.open_orders(session, false);
        Ok(())
    }

    /// Whether orders by hand are bound to client 0 as they come, too.
    pub(super) fn auto_open_orders(&mut self, session: u64, request: &AutoOpenOrdersRequest) -> Result<()> {
        let peer = self.peer(session);
        if peer.client != desk::CLIENT {
            let text = "Error validating request.-'b1' : cause - Only the default client (i.e 0) can auto bind orders";
            peer.error(NO_REQUEST, 321, text);
            return Ok(());
        }
        peer.auto_bind = request.auto_bind.unwrap_or(false);
        if peer.auto_bind {
            self.step(Input::Bind)?;
        }
        self.open_orders(session, false);
        Ok(())
    }

    /// The number of an order that a person places now: a free one, where none is given and somebody wants it bound.
    pub(super) fn number_by_hand(&self, order_id: i32) -> i32 {
        let binds = order_id == UNBOUND && self.peers.values().any(|peer| peer.auto_bind);
        let free = self.venue.account().free_numbers().next().filter(|_| binds);
        free.unwrap_or(order_id)
    }

    /// Whether a number below zero is that of an order by hand.
    pub(super) fn is_bound(&self, client: i32, order_id: i32) -> bool {
        let account = self.venue.account();
        let known = account.find_open(client, order_id);
        let order = known.or_else(|| account.find_completed(client, order_id));
        order_id < UNBOUND && order.is_some()
    }

    /// Tells client 0 by which number it knows an order by hand.
    pub(super) fn tell_bound(&mut self, perm_id: i64) {
        let Some(order) = self.find(perm_id).filter(|order| order.is_by_hand()) else {
            return;
        };
        let (client, order_id) = (order.client, order.order_id);
        let bound = OrderBound {
            perm_id: Some(perm_id),
            client_id: Some(client),
            order_id: Some(order_id),
        };
        self.each_owner(client, order_id, |peer| peer.send(100, &bound));
    }
}
