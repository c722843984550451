//! Quantities as people say them.

use std::time::Duration;
use store::migrate::Amount;
use store::migrate::blobs::Listed;

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Octets: `1.4 GiB`.
pub fn octets(octets: u64) -> String {
    for (name, unit) in UNITS {
        if octets >= unit {
            let tenths = u128::from(octets) * 10 / u128::from(unit);
            return match tenths {
                100.. => format!("{} {name}", count(u64::try_from(tenths / 10).unwrap_or(u64::MAX))),
                _ => format!("{}.{} {name}", tenths / 10, tenths % 10),
            };
        }
    }
    format!("{octets} octets")
}

/// A number: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time, as exact as it is worth: `0.4 s`, `12 s`, `about 3 minutes`.
pub fn lasting(time: Duration) -> String {
    let (seconds, tenths) = (time.as_secs(), time.subsec_millis() / 100);
    match seconds {
        0..10 => format!("{seconds}.{tenths} s"),
        10..100 => format!("{seconds} s"),
        100..5_400 => format!("about {} minutes", (seconds + 30) / 60),
        5_400..172_800 => format!("about {} hours", (seconds + 1_800) / 3_600),
        _ => format!("about {} days", (seconds + 43_200) / 86_400),
    }
}

/// A speed: `12 MiB/s`.
pub fn rate(some: u64, time: Duration) -> String {
    let a_second = u128::from(some) * 1_000_000 / time.as_micros().max(1);
    format!("{}/s", octets(u64::try_from(a_second).unwrap_or(u64::MAX)))
}

/// How many keys, and how large: `12,345 keys, 3.1 MiB`.
pub fn keys(amount: Amount) -> String {
    format!("{} keys, {}", count(amount.items), octets(amount.octets))
}

/// How many blobs, and how large they are or seem to be.
pub fn blobs(listed: &Listed) -> String {
    let about = if listed.is_exact() { "" } else { "about " };
    format!("{} blobs, {about}{}", count(listed.items), octets(listed.octets()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_said_as_people_say_them() {
        assert_eq!(octets(999), "999 octets");
        assert_eq!(octets(1_536), "1.5 KiB");
        assert_eq!(octets(15 << 20), "15 MiB");
        assert_eq!(octets(1_023 << 30), "1,023 GiB");
        assert_eq!(octets(u64::MAX), "16,777,215 TiB");
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        let said = |milliseconds| lasting(Duration::from_millis(milliseconds));
        assert_eq!([said(40), said(1_450), said(59_999)], ["0.0 s", "1.4 s", "59 s"]);
        assert_eq!(
            [said(190_000), said(7_200_000), said(864_000_000)],
            ["about 3 minutes", "about 2 hours", "about 10 days"]
        );
    }
}
