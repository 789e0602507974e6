//! Whether and at which price an order trades against what the book shows now.

use protocol::{Price, Quantity};

use super::book::Book;
use super::order::{Order, Side};

/// A trade that the book allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Price of a share.
    pub price: Price,
    /// Shares.
    pub quantity: Quantity,
    /// Whether the order was resting in the book.
    pub added_liquidity: bool,
}

/// What an order in the book trades now; `None` when it must wait.
/// `resting` says that it has already waited for one trade of the market or more.
#[must_use]
pub fn matched(order: &Order, book: &Book, resting: bool) -> Option<Match> {
    let side = order.ticket.side;
    let quantity = order.remaining().min(book.available(side));
    if quantity <= Quantity::ZERO {
        return None;
    }
    let touch = book.touch(side);
    let Some(limit) = order.limit() else {
        return Some(Match {
            price: touch,
            quantity,
            added_liquidity: false,
        });
    };
    let crossed = match side {
        Side::Buy => touch <= limit,
        Side::Sell => touch >= limit,
    };
    if !crossed {
        return None;
    }
    // The market came to an order that waited: it trades at its own price, where that has been shown.
    let price = if resting && book.within_shown(limit) == limit {
        limit
    } else {
        touch
    };
    Some(Match {
        price,
        quantity,
        added_liquidity: resting,
    })
}
