//! Decimals on their way into the wire's doubles, and out of its text.

use rust_decimal::Decimal;

/// The double nearest to a decimal: its shortest text reads back as the very same decimal.
pub(crate) fn approximate(value: Decimal) -> f64 {
    let value = value.normalize();
    let (mantissa, scale) = (value.mantissa(), value.scale());
    // Both sides are exact as doubles here, so that the quotient is rounded once.
    if mantissa.unsigned_abs() < 1 << 53 && scale <= 22 {
        return mantissa as f64 / 10f64.powi(scale.cast_signed());
    }
    value.to_string().parse().unwrap_or(f64::NAN)
}

/// The decimal that a client writes in plain digits: `10`, `-1`, `0.5`. `None` for all else that could be read as one.
pub(crate) fn plain(text: &str) -> Option<Decimal> {
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_decimal = is_plain(whole) && is_plain(fraction);
    is_decimal.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_survive_the_wire() {
        for mantissa in (1..3_000_000i64).step_by(7) {
            for scale in [2, 4] {
                let decimal = Decimal::new(mantissa, scale);
                assert_eq!(
                    protocol::units::exact(approximate(decimal)),
                    Some(decimal.normalize())
                );
            }
        }
        for text in [
            "0.1048",
            "123456789012.345678",
            "-0.000001",
            "79228162514264337593543950335",
        ] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(approximate(decimal), text.parse::<f64>().unwrap());
        }
    }
}
