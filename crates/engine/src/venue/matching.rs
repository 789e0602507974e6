//! Whether and at which prices an order trades against what the book shows now.

use jiff::Timestamp;
use protocol::{Price, Quantity};

use super::book::Book;
use super::order::{Lifetime, Order, Side};

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

/// What an order in the book trades at `now`, level by level; nothing when it must wait.
/// `resting` says that it has already waited for one trade of the market or more.
#[must_use]
pub fn matched(order: &Order, book: &Book, now: Timestamp, resting: bool) -> Vec<Match> {
    let side = order.ticket.side;
    let limit = order.limit();
    let crossed = |price: Price| match (limit, side) {
        (None, _) => true,
        (Some(limit), Side::Buy) => price <= limit,
        (Some(limit), Side::Sell) => price >= limit,
    };
    // The market came to an order that waited: it trades at its own price, where that has been shown. One that could
    // have traded before, and waits for shares only, takes what the book offers like a new one.
    let own =
        limit.filter(|limit| resting && book.came_to(side, *limit) && book.within_shown(*limit) == *limit);
    let mut left = order.remaining();
    let mut found = Vec::new();
    for level in book.offers(side, now) {
        if left <= Quantity::ZERO || !crossed(level.price) {
            break;
        }
        let quantity = left.min(level.size);
        left -= quantity;
        found.push(Match {
            price: level.price,
            quantity,
            added_liquidity: false,
        });
    }
    if order.ticket.lifetime == Lifetime::FillOrKill && left > Quantity::ZERO {
        return Vec::new();
    }
    match own {
        Some(price) if !found.is_empty() => vec![Match {
            price,
            quantity: order.remaining() - left,
            added_liquidity: true,
        }],
        _ => found,
    }
}
