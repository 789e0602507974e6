//! Stretches of the past as clients name them: a bar size, a duration, and what of both IB allows together.

use engine::venue::bars::BarSize;
use engine::venue::history::Show;

/// Most bars in one answer, as far as it can be told before they are made.
pub(crate) const BARS_MAX: i64 = 120_000;
/// Most made-up trades that are looked at one by one for an answer, as bars shorter than a minute need it.
pub(crate) const TRADES_MAX: i64 = 2_000_000;
/// Longest stretches: of bars of one second, of a duration in seconds, in days and in years.
const ONE_SECOND_BARS_SECONDS_MAX: i64 = 2_000;
const SECONDS_MAX: i64 = 86_400;
const DAYS_MAX: i64 = 365;
const YEARS_MAX: i64 = 30;
/// Longest piece of what a client said that is said back to it.
const SAID_MAX: usize = 40;

/// The unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Days,
    Weeks,
    Months,
    Years,
}

/// A duration such as `2 D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration {
    pub(crate) count: i64,
    pub(crate) unit: Unit,
}

/// Why a stretch is refused: the code and the text after IB's usual first words.
pub(crate) type Refusal = (i32, String);

/// A refusal of a request that makes no sense.
pub(crate) fn invalid(text: impl std::fmt::Display) -> Refusal {
    (321, format!("Error validating request.-'bN' : cause - {text}"))
}

/// A refusal by the service of the past.
pub(crate) fn unavailable(text: impl std::fmt::Display) -> Refusal {
    (
        162,
        format!("Historical Market Data Service error message:{text}"),
    )
}

/// What a client said, short enough to be said back.
pub(crate) fn said(text: &str) -> String {
    text.chars().take(SAID_MAX).collect()
}

impl Duration {
    /// Reads a number, a blank and one of S, D, W, M, Y.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = || {
            let said = said(text);
            invalid(format!(
                "`{said}` is no duration such as 3600 S, 2 D, 1 W, 6 M or 1 Y"
            ))
        };
        let (count, unit) = text.trim().split_once(' ').ok_or_else(refuse)?;
        let count: i64 = count.parse().ok().filter(|count| *count > 0).ok_or_else(refuse)?;
        let (unit, most, larger) = match unit.trim() {
            "S" => (Unit::Seconds, SECONDS_MAX, "86400 seconds must be made in days"),
            "D" => (Unit::Days, DAYS_MAX, "365 days must be made in years"),
            "W" => (Unit::Weeks, 52 * YEARS_MAX, "30 years can't be made"),
            "M" => (Unit::Months, 12 * YEARS_MAX, "30 years can't be made"),
            "Y" => (Unit::Years, YEARS_MAX, "30 years can't be made"),
            _ => return Err(refuse()),
        };
        if count > most {
            let text = format!("Historical data requests for durations longer than {larger}.");
            return Err(invalid(text));
        }
        Ok(Self { count, unit })
    }

    /// The shortest bars that IB makes for durations of the unit, in seconds.
    fn shortest_bar(self) -> i64 {
        match self.unit {
            Unit::Seconds => 1,
            Unit::Days => 5,
            Unit::Weeks => 10,
            Unit::Months => 30,
            Unit::Years => 60,
        }
    }

    /// Whether bars of a size are made for it.
    pub(crate) fn allow(self, size: BarSize) -> Result<(), Refusal> {
        let is_long = self.unit == Unit::Seconds
            && size == BarSize::Seconds(1)
            && self.count > ONE_SECOND_BARS_SECONDS_MAX;
        if is_long || size.seconds() < self.shortest_bar() {
            return Err(unavailable("Time length exceed max."));
        }
        Ok(())
    }
}

/// The bar sizes that IB knows.
pub(crate) fn bar_size(name: &str) -> Result<BarSize, Refusal> {
    let seconds = match name.trim() {
        "1 secs" | "1 sec" => 1,
        "5 secs" => 5,
        "10 secs" => 10,
        "15 secs" => 15,
        "30 secs" => 30,
        "1 min" => 60,
        "2 mins" => 120,
        "3 mins" => 180,
        "5 mins" => 300,
        "10 mins" => 600,
        "15 mins" => 900,
        "20 mins" => 1200,
        "30 mins" => 1800,
        "1 hour" => 3600,
        "2 hours" => 7200,
        "3 hours" => 10_800,
        "4 hours" => 14_400,
        "8 hours" => 28_800,
        "1 day" => return Ok(BarSize::Day),
        "1 week" | "1W" => return Ok(BarSize::Week),
        "1 month" | "1M" => return Ok(BarSize::Month),
        _ => {
            let said = said(name);
            return Err(invalid(format!(
                "Historical data bar size setting is invalid: `{said}`. Legal ones are: 1 secs,5 secs,10 secs,15 secs,30 secs,1 min,2 mins,3 mins,5 mins,10 mins,15 mins,20 mins,30 mins,1 hour,2 hours,3 hours,4 hours,8 hours,1 day,1W,1M"
            )));
        }
    };
    Ok(BarSize::Seconds(seconds))
}

/// What bars are made of, by IB's name; `None` for the schedule of sessions.
pub(crate) fn show(name: &str) -> Result<Option<Show>, Refusal> {
    Ok(Some(match name {
        "" | "TRADES" | "ADJUSTED_LAST" => Show::Trades,
        "BID" => Show::Bid,
        "ASK" => Show::Ask,
        "MIDPOINT" => Show::Middle,
        "BID_ASK" => Show::BidAsk,
        "SCHEDULE" => return Ok(None),
        "HISTORICAL_VOLATILITY"
        | "OPTION_IMPLIED_VOLATILITY"
        | "FEE_RATE"
        | "AGGTRADES"
        | "YIELD_BID"
        | "YIELD_ASK"
        | "YIELD_BID_ASK"
        | "YIELD_LAST" => {
            return Err(unavailable(format!(
                "No historical market data of {name} for stocks here"
            )));
        }
        other => return Err(invalid(format!("`{}` is not what can be shown", said(other)))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        let read = |text: &str| Duration::parse(text).map(|duration| (duration.count, duration.unit));
        assert_eq!(read("3600 S"), Ok((3600, Unit::Seconds)));
        assert_eq!(read(" 2 D "), Ok((2, Unit::Days)));
        for text in [
            "",
            "D",
            "2D",
            "0 D",
            "-1 D",
            "1.5 D",
            "1 X",
            "99999999999999999999 S",
            "86401 S",
            "366 D",
            "31 Y",
        ] {
            assert_eq!(read(text).unwrap_err().0, 321, "{text}");
        }
        let long = "9".repeat(100_000);
        assert!(read(&long).unwrap_err().1.len() < 200);
    }

    #[test]
    fn short_bars_are_made_for_short_durations_only() {
        for (duration, size, code) in [
            ("1800 S", "1 secs", None),
            ("2001 S", "1 secs", Some(162)),
            ("1 D", "1 secs", Some(162)),
            ("1 D", "5 secs", None),
            ("1 W", "5 secs", Some(162)),
            ("1 M", "15 secs", Some(162)),
            ("1 M", "30 secs", None),
            ("1 Y", "30 secs", Some(162)),
            ("1 Y", "1 min", None),
            ("60 S", "1 month", None),
        ] {
            let allowed = Duration::parse(duration).unwrap().allow(bar_size(size).unwrap());
            assert_eq!(allowed.err().map(|refusal| refusal.0), code, "{duration} {size}");
        }
        assert_eq!(bar_size("4 mins").unwrap_err().0, 321);
    }
}
