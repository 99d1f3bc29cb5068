//! Decimal numbers that never pass through floating point.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the API server accepts for a [`Decimal`]: up to twelve digits, then up to six places.
pub const PATTERN: &str = r"^[0-9]{1,12}(\.[0-9]{1,6})?$";

/// The longest string that [`PATTERN`] matches: twelve digits, the point, six digits.
pub const MAX_LENGTH: usize = 19;

const MICROS_PER_UNIT: i64 = 1_000_000;
const MAX_PLACES: usize = 6;
const MAX_WHOLE_DIGITS: usize = 12;

/// A number from 0 to 999 999 999 999.999999, held as millionths.
///
/// It is written as a string in manifests (`"98.32"`), because a YAML number would be read as floating
/// point somewhere on its way. The unit is the field's: US dollars, dollars per hour, units per second.
///
/// ```
/// use ampacity_api::Decimal;
///
/// let price: Decimal = "98.32".parse()?;
/// assert_eq!(price.micros(), 98_320_000);
/// assert_eq!(price.to_string(), "98.32");
/// # Ok::<(), ampacity_api::DecimalError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    micros: i64,
}

/// Why a string is not a [`Decimal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The string has other characters than digits and one point, or a part is empty.
    #[error("{0:?} is not a decimal: write digits with up to six places, such as \"98.32\"")]
    Malformed(String),
    /// More than twelve digits before the point.
    #[error("{0:?} is too large: at most twelve digits may stand before the point")]
    TooLarge(String),
    /// More than six digits after the point.
    #[error("{0:?} is too precise: at most six digits may stand after the point")]
    TooPrecise(String),
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self { micros: 0 };

    /// The largest value, 999 999 999 999.999999.
    pub const MAX: Self = Self {
        micros: 999_999_999_999_999_999,
    };

    /// From millionths; values outside of the range are brought to its nearest end.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < 0 {
            Self::ZERO
        } else if micros > Self::MAX.micros {
            Self::MAX
        } else {
            Self { micros }
        }
    }

    /// Whether it is 0. A price that is 0 is none: such a field is left out of a status, so that nobody takes it for a price.
    pub const fn is_zero(&self) -> bool {
        self.micros == 0
    }

    /// Millionths of the field's unit: micro-dollars where the field is in dollars.
    pub const fn micros(self) -> i64 {
        self.micros
    }

    /// The nearest floating-point number, for display and for ratios; never for money that is summed.
    pub fn to_f64(self) -> f64 {
        self.micros as f64 / MICROS_PER_UNIT as f64
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, places) = match text.split_once('.') {
            Some((whole, places)) if !places.is_empty() => (whole, places),
            Some(_) => return Err(DecimalError::Malformed(text.to_owned())),
            None => (text, ""),
        };
        let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits_only(whole) || !digits_only(places) {
            return Err(DecimalError::Malformed(text.to_owned()));
        }
        if whole.len() > MAX_WHOLE_DIGITS {
            return Err(DecimalError::TooLarge(text.to_owned()));
        }
        if places.len() > MAX_PLACES {
            return Err(DecimalError::TooPrecise(text.to_owned()));
        }
        // At most eighteen digits in all, so neither sum can leave an i64.
        let digits = whole
            .bytes()
            .chain(places.bytes())
            .chain(std::iter::repeat_n(b'0', MAX_PLACES - places.len()));
        let micros = digits.fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Ok(Self { micros })
    }
}

impl fmt::Display for Decimal {
    /// The shortest form: no trailing zeros, no point where there are no places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, places) = (self.micros / MICROS_PER_UNIT, self.micros % MICROS_PER_UNIT);
        if places == 0 {
            return f.pad(&whole.to_string());
        }
        let text = format!("{whole}.{places:06}");
        f.pad(text.trim_end_matches('0'))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal in quotes, such as \"98.32\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Decimal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": MAX_LENGTH })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_the_shortest_form() {
        for (text, micros, printed) in [
            ("0", 0, "0"),
            ("000", 0, "0"),
            ("1", 1_000_000, "1"),
            ("007.50", 7_500_000, "7.5"),
            ("98.32", 98_320_000, "98.32"),
            ("0.000001", 1, "0.000001"),
            ("10.400000", 10_400_000, "10.4"),
            (
                "999999999999.999999",
                999_999_999_999_999_999,
                "999999999999.999999",
            ),
        ] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(decimal.micros(), micros, "{text}");
            assert_eq!(decimal.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn refuses_what_the_pattern_refuses() {
        for text in [
            "", ".", "1.", ".5", "-1", "+1", "1e3", " 1", "1 ", "1,5", "1.2.3", "١", "NaN", "0x10",
        ] {
            assert_eq!(
                text.parse::<Decimal>(),
                Err(DecimalError::Malformed(text.to_owned())),
                "{text}"
            );
        }
        assert_eq!(
            "1000000000000".parse::<Decimal>(),
            Err(DecimalError::TooLarge("1000000000000".to_owned()))
        );
        assert_eq!(
            "0.0000001".parse::<Decimal>(),
            Err(DecimalError::TooPrecise("0.0000001".to_owned()))
        );
    }

    #[test]
    fn a_number_without_quotes_is_refused_with_advice() {
        let error = serde_json::from_str::<Decimal>("10.4")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a decimal in quotes, such as \"98.32\""),
            "{error}"
        );
        assert_eq!(
            serde_json::from_str::<Decimal>("\"10.4\"")
                .unwrap()
                .micros(),
            10_400_000
        );
        assert_eq!(
            serde_json::to_string(&Decimal::from_micros(10_400_000)).unwrap(),
            "\"10.4\""
        );
    }

    #[test]
    fn from_micros_stays_in_range() {
        assert_eq!(Decimal::from_micros(-1), Decimal::ZERO);
        assert_eq!(Decimal::from_micros(i64::MAX), Decimal::MAX);
        assert_eq!(Decimal::MAX.to_string().parse(), Ok(Decimal::MAX));
    }

    #[test]
    fn padding_is_honoured() {
        assert_eq!(
            format!("[{:>6}]", Decimal::from_micros(1_500_000)),
            "[   1.5]"
        );
    }
}
