//! Kubernetes quantities: `500m`, `2`, `1.5Gi`, `12e6`.

/// A text that is no Kubernetes quantity, or a negative one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an amount; write a number of at least 0 with an optional suffix, such as \"500m\", \"8\" or \"64Gi\""
)]
pub struct QuantityError {
    /// The text.
    pub text: String,
}

/// Thousandths, rounded up and capped at `u64::MAX`: CPU in millicores.
///
/// # Errors
/// When the text is no quantity or is below zero.
pub fn parse_milli(text: &str) -> Result<u64, QuantityError> {
    parse_scaled(text, 1000)
}

/// Whole units, rounded up and capped at `u64::MAX`: bytes, or a count of devices.
///
/// # Errors
/// When the text is no quantity or is below zero.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    parse_scaled(text, 1)
}

/// `text × scale`, exact in integers and rounded up, as the scheduler does.
fn parse_scaled(text: &str, scale: u128) -> Result<u64, QuantityError> {
    let fail = || QuantityError {
        text: text.chars().take(64).collect(),
    };
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let digits_end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at_checked(digits_end).ok_or_else(fail)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(fail());
    }
    let (mut numerator, mut denominator) = factor(suffix).ok_or_else(fail)?;
    numerator = numerator.saturating_mul(scale);

    // Trailing zeros carry nothing; more than 18 decimals are below every unit that is counted, so they only round up.
    let fraction = fraction.trim_end_matches('0');
    let (kept, rest) = fraction.split_at_checked(18).unwrap_or((fraction, ""));
    let mut mantissa: u128 = 0;
    for digit in whole.bytes().chain(kept.bytes()) {
        mantissa = mantissa
            .saturating_mul(10)
            .saturating_add(u128::from(digit.saturating_sub(b'0')));
    }
    for _ in 0..kept.len() {
        denominator = denominator.saturating_mul(10);
    }
    let mut value = mantissa.saturating_mul(numerator).div_ceil(denominator);
    if !rest.is_empty() && mantissa.saturating_mul(numerator) % denominator == 0 {
        value = value.saturating_add(1);
    }
    Ok(u64::try_from(value).unwrap_or(u64::MAX))
}

/// The suffix as a fraction.
fn factor(suffix: &str) -> Option<(u128, u128)> {
    const KILO: u128 = 1000;
    const KIBI: u128 = 1024;
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, KILO.pow(3)),
        "u" => (1, KILO.pow(2)),
        "m" => (1, KILO),
        "k" => (KILO, 1),
        "M" => (KILO.pow(2), 1),
        "G" => (KILO.pow(3), 1),
        "T" => (KILO.pow(4), 1),
        "P" => (KILO.pow(5), 1),
        "E" => (KILO.pow(6), 1),
        "Ki" => (KIBI, 1),
        "Mi" => (KIBI.pow(2), 1),
        "Gi" => (KIBI.pow(3), 1),
        "Ti" => (KIBI.pow(4), 1),
        "Pi" => (KIBI.pow(5), 1),
        "Ei" => (KIBI.pow(6), 1),
        exponent => {
            let exponent: i32 = exponent
                .strip_prefix(['e', 'E'])?
                .parse()
                .ok()
                .filter(|e| (-18..=18).contains(e))?;
            let power = 10_u128.pow(exponent.unsigned_abs());
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, milli) in [
            ("0", 0),
            ("1", 1000),
            ("500m", 500),
            ("1.5", 1500),
            (".5", 500),
            ("+2", 2000),
            ("100u", 1),
            ("1n", 1),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("12E-3", 12),
            ("0.0001", 1),
            ("99999999999999999999999999", u64::MAX),
        ] {
            assert_eq!(parse_milli(text), Ok(milli), "{text}");
        }
        assert_eq!(parse_bytes("1Gi"), Ok(1 << 30));
        assert_eq!(parse_bytes("1.5Gi"), Ok(3 << 29));
        assert_eq!(parse_bytes("1G"), Ok(1_000_000_000));
        assert_eq!(parse_bytes("128974848"), Ok(128_974_848));
        assert_eq!(parse_bytes("1Ei"), Ok(1 << 60));
        assert_eq!(parse_bytes("1.0000000000000000001"), Ok(2));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", "-1", "1.2.3", "abc", "1 Gi", "1gb", "e3", ".", "1e99", "é",
        ] {
            assert!(parse_milli(text).is_err(), "{text}");
        }
    }
}
