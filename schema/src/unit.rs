//! Quantities with units, parsed once and printed the same.

use crate::name::text;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why something is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number where one must be.
    #[error("must begin with a whole number")]
    Number,
    /// No unit, or one that is not known.
    #[error("needs one of the units {0}")]
    Unit(&'static str),
    /// More than can be counted.
    #[error("is too large")]
    Large,
    /// Units out of order or twice.
    #[error("must name larger units first, each once")]
    Order,
    /// A rate without its period.
    #[error("must have the form `100/1h`")]
    Rate,
}

/// Octets: `"512KiB"`, `"5GiB"`, `"10MB"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size(pub u64);
text!(Size, "A size", "size", "5GiB");

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl FromStr for Size {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Size, UnitError> {
        let (count, unit) = number(text)?;
        let wanted = if unit == "KB" { "kB" } else { unit };
        let (_, factor) = SIZES
            .iter()
            .find(|(name, _)| *name == wanted)
            .ok_or(UnitError::Unit("B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"))?;
        count.checked_mul(*factor).map(Size).ok_or(UnitError::Large)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (name, factor) = SIZES.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// A length of time: `"90s"`, `"1h30m"`, `"7d"`. Whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period(pub u64);
text!(Period, "A period", "period", "1h30m");

const PERIODS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

impl Period {
    /// The period as the standard library has it.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Period {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Period, UnitError> {
        let mut rest = text;
        let (mut total, mut last) = (0_u64, usize::MIN);
        let mut first = true;
        while first || !rest.is_empty() {
            let (count, tail) = number(rest)?;
            let at = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(at);
            let place = PERIODS.iter().position(|(name, _)| *name == unit).ok_or(UnitError::Unit("s, m, h, d, w"))?;
            if !first && place <= last {
                return Err(UnitError::Order);
            }
            total = count.checked_mul(PERIODS[place].1).and_then(|n| n.checked_add(total)).ok_or(UnitError::Large)?;
            (rest, last, first) = (next, place, false);
        }
        Ok(Period(total))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        // Weeks are read, never written: `7d` is what people put beside MTA-STS and DKIM periods.
        for (name, factor) in &PERIODS[1..] {
            if rest >= *factor {
                write!(f, "{}{name}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

/// So many in a period: `"100/1h"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In how long.
    pub period: Period,
}
text!(Rate, "A rate", "rate", "100/1h");

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Rate, UnitError> {
        let (count, period) = text.split_once('/').ok_or(UnitError::Rate)?;
        Ok(Rate { count: count.parse().map_err(|_| UnitError::Number)?, period: period.parse()? })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period)
    }
}

fn number(text: &str) -> Result<(u64, &str), UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(UnitError::Number);
    }
    Ok((digits.parse().map_err(|_| UnitError::Large)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed_the_same() {
        for text in ["512KiB", "5GiB", "10MB", "1B", "0B"] {
            assert_eq!(text.parse::<Size>().map(|s| s.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("5".parse::<Size>().map_err(|e| matches!(e, UnitError::Unit(_))), Err(true));
        assert_eq!("99999999TiB".parse::<Size>(), Err(UnitError::Large));
    }

    #[test]
    fn periods_are_read_and_printed_the_same() {
        for text in ["90s", "1h30m", "7d", "0s"] {
            let printed = text.parse::<Period>().map(|p| p.to_string());
            assert_eq!(printed.as_deref(), Ok(if text == "90s" { "1m30s" } else { text }));
        }
        assert_eq!("1m1h".parse::<Period>(), Err(UnitError::Order));
        assert_eq!("h".parse::<Period>(), Err(UnitError::Number));
        assert_eq!("".parse::<Period>(), Err(UnitError::Number));
    }
}
