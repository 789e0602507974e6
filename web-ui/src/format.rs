//! Numbers and times as people read them: grouped, with a true minus, and never changing in width by chance.

use protocol::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

/// The minus that is as wide as a plus: U+2212.
pub const MINUS: char = '\u{2212}';
/// What stands where there is no value: an en dash.
pub const NONE: &str = "\u{2013}";

/// A value without its sign, rounded half away from zero and grouped by thousands: `104,165.32`.
fn magnitude(value: Decimal, places: u32) -> String {
    let text = format!("{:.*}", places as usize, rounded(value, places).abs());
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut grouped = String::with_capacity(text.len() + text.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

fn rounded(value: Decimal, places: u32) -> Decimal {
    value.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

/// `1,234.50` or a minus before it.
#[must_use]
pub fn plain(value: Decimal, places: u32) -> String {
    let minus = if rounded(value, places) < Decimal::ZERO {
        "\u{2212}"
    } else {
        ""
    };
    format!("{minus}{}", magnitude(value, places))
}

/// With a sign unless it rounds to zero: `+193.20`.
#[must_use]
pub fn signed(value: Decimal, places: u32) -> String {
    format!("{}{}", sign(value, places), magnitude(value, places))
}

/// An amount: `$33,748.32`.
#[must_use]
pub fn dollars(value: Decimal) -> String {
    let minus = if rounded(value, 2) < Decimal::ZERO {
        "\u{2212}"
    } else {
        ""
    };
    format!("{minus}${}", magnitude(value, 2))
}

/// An amount that is a change: `+$239.24`.
#[must_use]
pub fn signed_dollars(value: Decimal) -> String {
    format!("{}${}", sign(value, 2), magnitude(value, 2))
}

/// A fraction as a change in percent: `+0.62%`.
#[must_use]
pub fn signed_percent(fraction: Decimal, places: u32) -> String {
    format!("{}%", signed(fraction * Decimal::ONE_HUNDRED, places))
}

/// A fraction in percent: `67.6%`.
#[must_use]
pub fn percent(fraction: Decimal, places: u32) -> String {
    format!("{}%", plain(fraction * Decimal::ONE_HUNDRED, places))
}

/// Shares, without needless zeros: `6,000`.
#[must_use]
pub fn shares(value: Decimal) -> String {
    let value = value.normalize();
    plain(value, value.scale().min(4))
}

/// Decimals of a price: cents, and finer below one dollar.
#[must_use]
pub fn price_places(price: Decimal) -> u32 {
    if price.abs() < Decimal::ONE { 4 } else { 2 }
}

/// A price: `190.42`, `0.4127`.
#[must_use]
pub fn price(value: Decimal) -> String {
    plain(value, price_places(value))
}

/// A part of one with two digits: `0.68`.
#[must_use]
pub fn share_of_one(value: f64) -> String {
    format!("{value:.2}")
}

fn sign(value: Decimal, places: u32) -> &'static str {
    match rounded(value, places).cmp(&Decimal::ZERO) {
        std::cmp::Ordering::Greater => "+",
        std::cmp::Ordering::Less => "\u{2212}",
        std::cmp::Ordering::Equal => "",
    }
}

/// The class of a change: `gain`, `loss` or `zero`, by what is shown and not by what was rounded away.
#[must_use]
pub fn tone(value: Decimal, places: u32) -> &'static str {
    match rounded(value, places).cmp(&Decimal::ZERO) {
        std::cmp::Ordering::Greater => "gain",
        std::cmp::Ordering::Less => "loss",
        std::cmp::Ordering::Equal => "zero",
    }
}

/// How long ago, in as few characters as still say it: `0.4 s`, `41 s`, `5:21`, `42 min`, `3 h`, `2 d`.
#[must_use]
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let whole = seconds as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=59 => format!("{whole} s"),
        60..=599 => format!("{}:{:02}", whole / 60, whole % 60),
        600..=7_199 => format!("{} min", whole / 60),
        7_200..=172_799 => format!("{} h", whole / 3_600),
        _ => format!("{} d", whole / 86_400),
    }
}

/// What is left: `1:52:28`, `2:28`, and days when there are any.
#[must_use]
pub fn countdown(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}"),
        1..=47 => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// Seconds from one instant to a later one; negative when it is earlier.
#[must_use]
pub fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// A kebab-case word of the wire as people write it: `broker-link` is `Broker link`.
#[must_use]
pub fn sentence_case(word: &str) -> String {
    let mut text = word.replace(['-', '_'], " ");
    if let Some(first) = text.get(0..1).map(str::to_ascii_uppercase) {
        text.replace_range(0..1, &first);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_are_grouped_and_carry_a_true_minus() {
        for (value, text) in [
            ("104165.32", "$104,165.32"),
            ("-1234567.005", "\u{2212}$1,234,567.01"),
            ("0", "$0.00"),
        ] {
            assert_eq!(dollars(decimal(value)), text);
        }
        for (value, text) in [
            ("193.2", "+193.20"),
            ("-95.4", "\u{2212}95.40"),
            ("-0.001", "0.00"),
            ("999.995", "+1,000.00"),
        ] {
            assert_eq!(signed(decimal(value), 2), text);
        }
        assert_eq!(signed_dollars(decimal("239.24")), "+$239.24");
        assert_eq!(signed_percent(decimal("-0.0133"), 2), "\u{2212}1.33%");
        assert_eq!(percent(decimal("0.676"), 1), "67.6%");
    }

    #[test]
    fn colour_follows_what_is_shown() {
        assert_eq!(
            (
                tone(decimal("0.004"), 2),
                tone(decimal("0.005"), 2),
                tone(decimal("-3"), 2)
            ),
            ("zero", "gain", "loss")
        );
    }

    #[test]
    fn prices_below_a_dollar_are_finer() {
        assert_eq!(
            (price(decimal("190.4")), price(decimal("0.4127"))),
            ("190.40".to_owned(), "0.4127".to_owned())
        );
        assert_eq!(
            (shares(decimal("6000.00")), shares(decimal("1.5"))),
            ("6,000".to_owned(), "1.5".to_owned())
        );
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (0.42, "0.4 s"),
            (41.0, "41 s"),
            (107.0, "1:47"),
            (2_520.0, "42 min"),
            (-1.0, "0.0 s"),
            (200_000.0, "2 d"),
        ] {
            assert_eq!(age(seconds), text);
        }
        for (seconds, text) in [(6_748.0, "1:52:28"), (148.9, "2:28"), (180_000.0, "2 d 2 h")] {
            assert_eq!(countdown(seconds), text);
        }
    }

    #[test]
    fn words_of_the_wire_read_as_words() {
        assert_eq!(
            (sentence_case("broker-link"), sentence_case("")),
            ("Broker link".to_owned(), String::new())
        );
    }
}
