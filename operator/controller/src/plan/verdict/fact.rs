//! Numbers and names behind a reason or a fix, with their unit.

use ampacity_placement::{MicroUsd, Watts};
use serde_json::{Number, Value};

/// One number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A count: devices, replicas, nodes, millicores, MiB or seconds, as the fact's name says.
    Count(i64),
    /// Watts.
    Watts(Watts),
    /// US dollars.
    Usd(MicroUsd),
    /// A name.
    Text(String),
    /// Several things, each with facts of its own.
    List(Vec<Facts>),
}

/// Facts by name, in the order in which they are shown.
pub type Facts = Vec<(&'static str, Fact)>;

impl Fact {
    /// A count; what does not fit is capped.
    pub fn count(count: u64) -> Self {
        Self::Count(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A name.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As JSON: numbers in their unit, dollars with at most six decimals.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Count(count) => Value::from(*count),
            Self::Watts(watts) => Value::from(watts.0),
            Self::Usd(usd) => usd_number(*usd),
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(list) => list
                .iter()
                .map(|facts| {
                    let facts = facts.iter();
                    let object = facts.map(|(name, fact)| ((*name).to_owned(), fact.to_json()));
                    Value::Object(object.collect())
                })
                .collect(),
        }
    }

    /// As text for `details` of a status: whole numbers, or a decimal without a currency sign.
    pub fn to_text(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Watts(watts) => watts.0.to_string(),
            Self::Usd(usd) => usd_decimal(*usd),
            Self::Text(text) => text.clone(),
            Self::List(list) => {
                let words = |facts: &Facts| {
                    let facts = facts.iter();
                    let words: Vec<String> = facts
                        .map(|(name, fact)| format!("{name} {}", fact.to_text()))
                        .collect();
                    words.join(" ")
                };
                list.iter().map(words).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// The plain number: counts and watts as they are, dollars in millionths.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Count(count) => Some(*count),
            Self::Watts(watts) => Some(watts.0),
            Self::Usd(usd) => Some(usd.0),
            Self::Text(_) | Self::List(_) => None,
        }
    }
}

/// Dollars as a JSON number with at most six decimals: an integer where they are whole.
pub fn usd_number(usd: MicroUsd) -> Value {
    if usd.0 % 1_000_000 == 0 {
        return Value::from(usd.0 / 1_000_000);
    }
    // The double nearest to the decimal prints as that decimal.
    let nearest = usd_decimal(usd).parse().ok().and_then(Number::from_f64);
    nearest.map_or(Value::Null, Value::Number)
}

/// Dollars as a decimal without trailing zeros: `98.32`.
fn usd_decimal(usd: MicroUsd) -> String {
    let sign = if usd.0 < 0 { "-" } else { "" };
    let micro = usd.0.unsigned_abs();
    let text = format!("{sign}{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_keep_every_digit() {
        for (micro, text) in [
            (98_320_000, "98.32"),
            (1, "0.000001"),
            (-500_000, "-0.5"),
            (7_000_000, "7"),
            (0, "0"),
            (123_456_789_012_345, "123456789.012345"),
        ] {
            let fact = Fact::Usd(MicroUsd(micro));
            assert_eq!(fact.to_text(), text);
            let json = fact.to_json().to_string();
            assert_eq!(
                json.parse::<f64>().unwrap(),
                text.parse::<f64>().unwrap(),
                "{json}"
            );
        }
        assert_eq!(usd_number(MicroUsd(7_000_000)).to_string(), "7");
        assert_eq!(usd_number(MicroUsd(80_400_000)).to_string(), "80.4");
    }
}
