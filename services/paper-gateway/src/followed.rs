//! Requests of one client that follow a stock, found by their number or by their stock.

use std::collections::BTreeMap;

use protocol::Symbol;

/// Requests and what is known of each.
#[derive(Debug)]
pub(crate) struct Followed<T> {
    numbers: BTreeMap<i32, Symbol>,
    stocks: BTreeMap<(Symbol, i32), T>,
}

impl<T> Default for Followed<T> {
    fn default() -> Self {
        Self {
            numbers: BTreeMap::new(),
            stocks: BTreeMap::new(),
        }
    }
}

impl<T> Followed<T> {
    /// Begins to follow a stock under a number, which takes the place of an earlier request of that number.
    pub(crate) fn insert(&mut self, id: i32, symbol: Symbol, about: T) {
        self.remove(id);
        self.numbers.insert(id, symbol);
        self.stocks.insert((symbol, id), about);
    }

    /// Ends a request. `None` when there is none of that number.
    pub(crate) fn remove(&mut self, id: i32) -> Option<T> {
        let symbol = self.numbers.remove(&id)?;
        self.stocks.remove(&(symbol, id))
    }

    /// Whether there is a request of a number.
    pub(crate) fn contains(&self, id: i32) -> bool {
        self.numbers.contains_key(&id)
    }

    /// What is known of a request, to change it.
    pub(crate) fn get_mut(&mut self, id: i32) -> Option<&mut T> {
        let symbol = *self.numbers.get(&id)?;
        self.stocks.get_mut(&(symbol, id))
    }

    /// How many requests there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is no request.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether a stock is followed.
    pub(crate) fn follows(&self, symbol: Symbol) -> bool {
        self.of(symbol).next().is_some()
    }

    /// The stocks that are followed, each once for every request.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.numbers.values().copied()
    }

    /// All requests with their stocks, to change them.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = (i32, Symbol, &mut T)> {
        self.stocks
            .iter_mut()
            .map(|((symbol, id), about)| (*id, *symbol, about))
    }

    /// All requests with their stocks.
    pub(crate) fn all(&self) -> impl Iterator<Item = (i32, Symbol, &T)> {
        self.stocks
            .iter()
            .map(|((symbol, id), about)| (*id, *symbol, about))
    }

    /// The requests that follow a stock, in order of their numbers.
    pub(crate) fn of(&self, symbol: Symbol) -> impl Iterator<Item = (i32, &T)> {
        let all = (symbol, i32::MIN)..=(symbol, i32::MAX);
        self.stocks.range(all).map(|((_, id), about)| (*id, about))
    }

    /// The same, to change them.
    pub(crate) fn of_mut(&mut self, symbol: Symbol) -> impl Iterator<Item = (i32, &mut T)> {
        let all = (symbol, i32::MIN)..=(symbol, i32::MAX);
        self.stocks.range_mut(all).map(|((_, id), about)| (*id, about))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_both_ways() {
        let [a, b]: [Symbol; 2] = ["AAPL", "IBM"].map(|name| name.parse().unwrap());
        let mut followed = Followed::default();
        followed.insert(5, a, "five");
        followed.insert(-1, a, "minus one");
        followed.insert(7, b, "seven");
        let of = |followed: &Followed<&'static str>, symbol| -> Vec<(i32, &str)> {
            followed.of(symbol).map(|(id, about)| (id, *about)).collect()
        };
        assert_eq!(of(&followed, a), [(-1, "minus one"), (5, "five")]);
        followed.insert(5, b, "moved");
        assert_eq!(of(&followed, b), [(5, "moved"), (7, "seven")]);
        assert_eq!(followed.remove(5), Some("moved"));
        assert!(followed.remove(5).is_none() && !followed.contains(5) && followed.follows(b));
    }
}
