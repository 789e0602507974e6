//! The stocks as IB describes them: numbers, exchanges, price steps.

use std::collections::BTreeMap;

use engine::venue::market::Market;
use protocol::{Price, Symbol};

use crate::message::shared::Contract;

/// What IB says of a contract that does not exist.
pub(crate) const UNKNOWN: &str = "No security definition has been found for the request";

/// One stock.
#[derive(Debug, Clone)]
pub(crate) struct Stock {
    pub(crate) symbol: Symbol,
    pub(crate) con_id: i32,
    pub(crate) exchange: &'static str,
    pub(crate) step: Price,
}

/// All stocks that are traded here.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    stocks: BTreeMap<Symbol, Stock>,
    numbers: BTreeMap<i32, Symbol>,
}

impl Directory {
    /// The stocks of a market.
    pub(crate) fn of(market: &Market) -> Self {
        let mut directory = Self::default();
        for symbol in market.symbols() {
            let Some(step) = market.price_step(symbol) else {
                continue;
            };
            let mut con_id = number_of(symbol);
            while directory.numbers.contains_key(&con_id) {
                con_id += 1;
            }
            directory.numbers.insert(con_id, symbol);
            directory.stocks.insert(
                symbol,
                Stock {
                    symbol,
                    con_id,
                    exchange: exchange_of(symbol),
                    step,
                },
            );
        }
        directory
    }

    /// The stock that a request means, by its number or its names. Programs keep numbers of IB's, which are none here:
    /// then the name says what is meant. A number of one stock with the name of another means neither.
    pub(crate) fn find(&self, contract: Option<&Contract>) -> Option<&Stock> {
        let contract = contract?;
        let named = self.named(contract);
        let Some(numbered) = contract.con_id.and_then(|number| self.number(number)) else {
            return named;
        };
        let has_name = contract.symbol.as_ref().is_some_and(|name| !name.is_empty());
        let is_other = has_name && named.is_none_or(|named| named.symbol != numbered.symbol);
        Some(numbered).filter(|_| !is_other)
    }

    fn named(&self, contract: &Contract) -> Option<&Stock> {
        let is = |field: &Option<String>, names: &[&str]| {
            field
                .as_deref()
                .is_none_or(|text| text.is_empty() || names.contains(&text))
        };
        if !is(&contract.sec_type, &["STK"]) || !is(&contract.currency, &["USD"]) {
            return None;
        }
        let named = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if contract.sec_id_type.as_deref() == Some("ISIN") && named(&contract.symbol).is_none() {
            let isin = named(&contract.sec_id)?;
            return self.stocks.values().find(|stock| stock.isin() == isin);
        }
        let name = named(&contract.symbol).or_else(|| named(&contract.local_symbol))?;
        self.stocks.get(&name.parse::<Symbol>().ok()?)
    }

    /// The stock of a number.
    pub(crate) fn number(&self, con_id: i32) -> Option<&Stock> {
        self.numbers
            .get(&con_id)
            .and_then(|symbol| self.stocks.get(symbol))
    }

    /// The contract of a symbol.
    pub(crate) fn get(&self, symbol: Symbol) -> Option<&Stock> {
        self.stocks.get(&symbol)
    }

    /// All stocks, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stock> {
        self.stocks.values()
    }
}

impl Stock {
    /// The contract as answers carry it.
    pub(crate) fn contract(&self) -> Contract {
        let name = self.symbol.broker_text();
        Contract {
            con_id: Some(self.con_id),
            symbol: Some(name.clone()),
            sec_type: Some("STK".into()),
            exchange: Some("SMART".into()),
            primary_exch: Some(self.exchange.into()),
            currency: Some("USD".into()),
            local_symbol: Some(name),
            trading_class: Some(if self.exchange == "NASDAQ" {
                "NMS".into()
            } else {
                self.symbol.broker_text()
            }),
            ..Contract::default()
        }
    }

    /// The number of its rule of price steps.
    pub(crate) fn market_rule(&self) -> i32 {
        if self.step.scale() > 2 {
            RULE_PENNY
        } else {
            RULE_CENT
        }
    }

    /// A number in the shape of an ISIN, which some clients insist on. It names nothing in the world.
    pub(crate) fn isin(&self) -> String {
        let body = format!("US{:09}", self.con_id);
        // Letters count as two digits, then every second digit from the right is doubled.
        let digits: Vec<u32> = body
            .chars()
            .flat_map(|c| {
                c.to_digit(36)
                    .map(|d| if d > 9 { vec![d / 10, d % 10] } else { vec![d] })
                    .unwrap_or_default()
            })
            .collect();
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(place, digit)| {
                if place % 2 == 0 {
                    digit * 2 / 10 + digit * 2 % 10
                } else {
                    *digit
                }
            })
            .sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    }
}

/// Rule of stocks that move in cents.
pub(crate) const RULE_CENT: i32 = 26;
/// Rule of stocks that move in hundredths of a cent.
pub(crate) const RULE_PENNY: i32 = 635;

/// A number that follows from the symbol, the same in every run and every market.
fn number_of(symbol: Symbol) -> i32 {
    let hash = symbol.as_str().bytes().fold(0x811C_9DC5_u32, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    1_000_000 + i32::try_from(hash % 900_000_000).expect("the remainder is below the largest i32")
}

fn exchange_of(symbol: Symbol) -> &'static str {
    match symbol.as_str() {
        "SPY" | "IWM" | "EEM" => "ARCA",
        "IBM" | "AIG" | "BAC" | "VRT" => "NYSE",
        "ELTP" => "PINK",
        _ => "NASDAQ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isin_check_digits_are_right() {
        // The sum of a real number: Apple's US037833100 has the check digit 5.
        let stock = Stock {
            symbol: "AAPL".parse().unwrap(),
            con_id: 37_833_100,
            exchange: "NASDAQ",
            step: Price::ONE,
        };
        assert_eq!(stock.isin(), "US0378331005");
    }
}
