//! A subscription to a stock's quote: whether it is live or delayed, and what it carries beside the quote.

use std::str::FromStr;

/// What prices the account may see, as bought at IB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entitlement {
    /// Prices as they happen.
    Live,
    /// Prices some time late, to clients that ask for delayed ones.
    Delayed,
    /// No prices at all.
    None,
}

impl FromStr for Entitlement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "live" => Ok(Self::Live),
            "delayed" => Ok(Self::Delayed),
            "none" => Ok(Self::None),
            _ => Err(format!("`{text}` is not `live`, `delayed` or `none`")),
        }
    }
}

/// The kind of prices that a client asks for with request 59.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DataType {
    #[default]
    Live,
    Frozen,
    Delayed,
    DelayedFrozen,
}

impl DataType {
    /// The type of IB's number.
    pub(crate) fn of(number: i32) -> Option<Self> {
        [Self::Live, Self::Frozen, Self::Delayed, Self::DelayedFrozen]
            .into_iter()
            .find(|kind| kind.number() == number)
    }

    /// IB's number.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Live => 1,
            Self::Frozen => 2,
            Self::Delayed => 3,
            Self::DelayedFrozen => 4,
        }
    }

    fn is_delayed(self) -> bool {
        matches!(self, Self::Delayed | Self::DelayedFrozen)
    }

    /// Whether the last quote is wanted while the market is closed.
    pub(crate) fn is_frozen(self) -> bool {
        matches!(self, Self::Frozen | Self::DelayedFrozen)
    }
}

/// How a request for prices is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Live,
    Delayed,
    Refused(i32, &'static str),
}

impl Entitlement {
    /// How a client is served that asked for a type. Who may see live prices gets them whatever it asks for.
    pub(crate) fn serve(self, asked: DataType) -> Service {
        match (self, asked.is_delayed()) {
            (Self::Live, _) => Service::Live,
            (Self::Delayed, true) => Service::Delayed,
            (Self::Delayed, false) => Service::Refused(
                354,
                "Requested market data is not subscribed.Delayed market data is available.",
            ),
            (Self::None, true) => Service::Refused(
                10168,
                "Requested market data is not subscribed. Delayed market data is not enabled.",
            ),
            (Self::None, false) => Service::Refused(354, "Requested market data is not subscribed."),
        }
    }
}

/// A client's subscription to a stock's quote.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) delayed: bool,
    /// Whether the client wants to be told that the quote is frozen while the market is closed.
    pub(crate) frozen: bool,
    /// The number of the data type that the client was told last.
    pub(crate) told: i32,
    pub(crate) extras: Extras,
}

impl Line {
    /// The number of the data type that holds while the market is closed or not.
    pub(crate) fn kind(&self, closed: bool) -> i32 {
        let kind = match (self.delayed, self.frozen && closed) {
            (false, false) => DataType::Live,
            (false, true) => DataType::Frozen,
            (true, false) => DataType::Delayed,
            (true, true) => DataType::DelayedFrozen,
        };
        kind.number()
    }
}

/// What a client wants beside the quote, by IB's list of generic ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extras {
    /// 233: price, size, time, volume and average price of each trade told, as one text.
    pub(crate) trades: bool,
    /// 375: the same, without trades that are not reported; here there are none of those.
    pub(crate) reported: bool,
    /// 221 and 232: the price at which positions are valued.
    pub(crate) mark: bool,
    /// 236: whether the stock can be sold short.
    pub(crate) shortable: bool,
    /// 165: highest and lowest prices of weeks, and the average volume of a day.
    pub(crate) statistics: bool,
}

/// Generic ticks that IB knows for stocks. Those that are not served here are accepted and stay silent, as they do
/// at IB where nothing is known: volumes of options, auctions, dividends, news.
const GENERIC: [i32; 36] = [
    100, 101, 104, 105, 106, 162, 165, 220, 221, 225, 232, 233, 236, 256, 258, 292, 293, 294, 295, 318, 375,
    411, 456, 460, 576, 577, 578, 586, 587, 588, 595, 614, 619, 623, 645, 787,
];

impl Extras {
    /// Reads a list such as `233,236`.
    ///
    /// # Errors
    /// What IB says of a list with an unknown number in it.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let mut extras = Self::default();
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        for part in parts.filter(|part| *part != "mdoff") {
            // A provider of news may follow its number: 292:BRFG.
            let number = part.split(':').next().unwrap_or_default().parse::<i32>();
            match number {
                Ok(233) => extras.trades = true,
                Ok(375) => extras.reported = true,
                Ok(221 | 232) => extras.mark = true,
                Ok(236) => extras.shortable = true,
                Ok(165) => extras.statistics = true,
                Ok(number) if GENERIC.contains(&number) => {}
                _ => {
                    let known = GENERIC.map(|number| number.to_string()).join(",");
                    let part: String = part.chars().take(40).collect();
                    return Err(format!(
                        "Incorrect generic tick list of {part}.  Legal ones for (STK) are: {known}"
                    ));
                }
            }
        }
        Ok(extras)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_live_prices_never_gets_late_ones() {
        use DataType as Asked;
        for (entitled, asked, code) in [
            (Entitlement::Live, Asked::Delayed, None),
            (Entitlement::Live, Asked::Frozen, None),
            (Entitlement::Delayed, Asked::Live, Some(354)),
            (Entitlement::Delayed, Asked::Frozen, Some(354)),
            (Entitlement::None, Asked::Live, Some(354)),
            (Entitlement::None, Asked::DelayedFrozen, Some(10168)),
        ] {
            let served = match entitled.serve(asked) {
                Service::Refused(code, _) => Some(code),
                Service::Live => None,
                Service::Delayed => panic!("{entitled:?} {asked:?}"),
            };
            assert_eq!(served, code, "{entitled:?} {asked:?}");
        }
        assert_eq!(Entitlement::Delayed.serve(Asked::Delayed), Service::Delayed);
    }

    #[test]
    fn lists_of_generic_ticks_are_read_or_refused() {
        let extras = Extras::parse("mdoff,292:BRFG, 233,165").unwrap();
        assert!(extras.trades && extras.statistics && !extras.mark);
        assert_eq!(Extras::parse(""), Ok(Extras::default()));
        for list in ["999", "233,x", "233;236", "-1"] {
            assert!(
                Extras::parse(list)
                    .unwrap_err()
                    .contains("Incorrect generic tick list"),
                "{list}"
            );
        }
    }
}
