//! A folder of master files, `ZONE.zone` each, for whatever name server publishes them. Only the records that change are
//! rewritten: comments, layout, other records and the zone's own NS stay; the SOA serial goes up.

use super::{Collected, Limits, Provider, ProviderError, unmoved};
use crate::plan::{Change, Live, Set, SetKey};
use crate::write;
use crate::zone::master::{self, Entry};
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schema::name::DomainName;
use schema::spec;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// What it can hold.
pub const LIMITS: Limits = Limits::dns("master files");
/// The largest master file, in octets.
const LARGEST: u64 = 256 << 20;
/// How long the name server may take to load a zone.
const RELOAD: Duration = Duration::from_secs(60);
/// How much of what the reload command says is told.
const SAID: usize = 400;

/// Master files in a folder.
pub struct ZoneFile {
    folder: PathBuf,
    reload: Vec<String>,
    /// Seconds since 1970, for serial numbers that are dates.
    now: i64,
}

impl ZoneFile {
    /// The node's; its folder begins at the spec's.
    pub fn new(root: &Path, spec: &spec::ZoneFile, now: i64) -> ZoneFile {
        ZoneFile { folder: root.join(&spec.folder), reload: spec.reload.clone(), now }
    }

    fn path(&self, zone: &DomainName) -> PathBuf {
        self.folder.join(format!("{zone}.zone"))
    }

    fn text(&self, zone: &DomainName) -> Result<String, ProviderError> {
        let path = self.path(zone);
        let told = |error: io::Error| ProviderError::Unavailable(format!("{}: {error}", path.display()));
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let says = format!(
                    "there is no {}: write it once, with the zone's SOA and NS, and have the name server load it",
                    path.display()
                );
                return Err(ProviderError::Missing(says));
            }
            Err(error) => return Err(told(error)),
            Ok(facts) if facts.len() > LARGEST => {
                return Err(ProviderError::Refused(format!("{} is larger than {LARGEST} octets", path.display())));
            }
            Ok(_) => {}
        }
        fs::read_to_string(&path).map_err(told)
    }

    fn entries(&self, zone: &DomainName, text: &str) -> Result<Vec<Entry>, ProviderError> {
        let path = self.path(zone);
        master::read(text, Some(zone)).map_err(|why| ProviderError::Refused(format!("{}, {why}", path.display())))
    }

    async fn reload(&self, zone: &DomainName) -> Result<(), ProviderError> {
        let Some((program, arguments)) = self.reload.split_first() else { return Ok(()) };
        let arguments = arguments.iter().map(|word| word.replace("{zone}", zone.as_str()));
        let failed =
            |why: String| ProviderError::Unserved(format!("the file of `{zone}` is written, but `{program}` {why}"));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = match timeout(RELOAD, command.output()).await {
            Ok(output) => output.map_err(|error| failed(format!("does not run: {error}")))?,
            Err(_) => return Err(failed(format!("takes longer than {} s", RELOAD.as_secs()))),
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.get(..said.floor_char_boundary(SAID)).unwrap_or_default().trim();
        Err(failed(format!("ends with {}: {said}", output.status)))
    }
}

#[async_trait]
impl Provider for ZoneFile {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        let text = self.text(zone)?;
        Ok(live(zone, &self.entries(zone, &text)?))
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if changes.is_empty() {
            return self.reload(zone).await;
        }
        let text = self.text(zone)?;
        let entries = self.entries(zone, &text)?;
        unmoved(&live(zone, &entries), changes)?;
        let path = self.path(zone);
        let new = edited(&text, &entries, changes, self.now);
        let new = new.ok_or_else(|| ProviderError::Refused(format!("{} has no SOA record", path.display())))?;
        let told = |error: io::Error| ProviderError::Unavailable(error.to_string());
        let mode = fs::metadata(&path).map_err(told)?.permissions().mode();
        write::replace(&path, new.as_bytes(), write::Mode::Public).map_err(told)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(told)?;
        self.reload(zone).await
    }
}

fn live(zone: &DomainName, entries: &[Entry]) -> Live {
    let mut collected = Collected::default();
    // A record without time to live has the one before it (RFC 1035 §5.1).
    let mut ttl = 3600;
    for entry in entries {
        ttl = entry.ttl.unwrap_or(ttl);
        collected.take(zone, &entry.name, &entry.kind, (ttl, entry.rdata()));
    }
    collected.live()
}

/// The file with changes made; `None` where it has no SOA.
fn edited(text: &str, entries: &[Entry], changes: &[Change], now: i64) -> Option<String> {
    let of: HashMap<(&str, &str), &Change> =
        changes.iter().map(|change| ((change.key.name.as_str(), change.key.kind.name()), change)).collect();
    let mut out = String::with_capacity(text.len() + 4096);
    let (mut at, mut serial, mut put) = (0, false, HashSet::new());
    // Whose a record without name would be.
    let mut owner: Option<&str> = None;
    for entry in entries {
        out.push_str(text.get(at..entry.span.start)?);
        at = entry.span.end;
        if let Some(change) = of.get(&(entry.name.as_str(), entry.kind.as_str())) {
            if put.insert(&change.key) {
                lines(&mut out, change);
                owner = change.after.as_ref().map(|_| change.key.name.as_str()).or(owner);
            }
            continue;
        }
        if entry.indented && owner != Some(&entry.name) {
            out.push_str(&entry.name);
            out.push('.');
        }
        owner = Some(&entry.name);
        match &entry.serial {
            Some(span) if !serial => {
                serial = true;
                let old: u32 = text.get(span.clone())?.parse().ok()?;
                out.push_str(text.get(entry.span.start..span.start)?);
                out.push_str(&next_serial(old, now).to_string());
                out.push_str(text.get(span.end..entry.span.end)?);
            }
            _ => out.push_str(text.get(entry.span.clone())?),
        }
    }
    out.push_str(text.get(at..)?);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    changes.iter().filter(|change| !put.contains(&change.key)).for_each(|change| lines(&mut out, change));
    serial.then_some(out)
}

/// A set's records, each on a line, nothing left to what stands before.
fn lines(out: &mut String, change: &Change) {
    let Change { key: SetKey { name, kind }, after, .. } = change;
    let Some(Set { ttl, values }) = after else { return };
    for value in values {
        out.push_str(&format!("{name}. {ttl} IN {} {value}\n", kind.name()));
    }
}

/// The serial number after `old` (RFC 1982): today's as `YYYYMMDDnn` where it is such a date, the time where it is such
/// a time, else one more.
fn next_serial(old: u32, now: i64) -> u32 {
    let today = TimeZone::UTC.to_datetime(Timestamp::from_second(now).unwrap_or_default()).date();
    let number =
        |year: i16, month: i8, day: i8| i64::from(year) * 1_000_000 + i64::from(month) * 10_000 + i64::from(day) * 100;
    let (month, day) = (old / 10_000 % 100, old / 100 % 100);
    let is_date = (1990..=2100).contains(&(old / 1_000_000)) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_time = (1_000_000_000..=now).contains(&i64::from(old));
    let next = if is_date {
        number(today.year(), today.month(), today.day())
    } else if is_time {
        now
    } else {
        0
    };
    match u32::try_from(next) {
        Ok(next) if next > old => next,
        _ => old.wrapping_add(1).max(1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::zone::Kind;

    const NOW: i64 = 1_795_478_400;

    #[test]
    fn serial_numbers_go_up_by_their_own_rule() {
        for (old, want) in [
            (7, 8),
            (2_026_010_105, 2_026_112_400),
            (2_026_112_400, 2_026_112_401),
            (1_795_000_000, 1_795_478_400),
            (u32::MAX, 1),
        ] {
            assert_eq!(next_serial(old, NOW), want, "{old}");
        }
    }

    #[test]
    fn only_what_changes_is_rewritten() {
        let text = "$TTL 1h ; an hour\n@ IN SOA ns1 admin ( 2026010101 ; serial\n 3600 900 1209600 300 )\n  NS ns1\n; mail\n  MX 5 old\n  TXT \"site=1\"\nns1 A 192.0.2.1\n  AAAA 2001:db8::1";
        let zone: DomainName = "example.org".parse().unwrap();
        let entries = master::read(text, Some(&zone)).unwrap();
        let live = live(&zone, &entries);
        let key = |name: &str, kind| SetKey { name: name.parse().unwrap(), kind };
        let value = |kind, text: &str| Set::of(60, [master::value(kind, text).unwrap()]);
        let change = |key: SetKey, after| Change { before: live.sets.get(&key).cloned(), key, after };
        let changes = [
            change(key("example.org", Kind::Mx), value(Kind::Mx, "10 mail.example.org.")),
            change(key("ns1.example.org", Kind::A), None),
            change(key("_dmarc.example.org", Kind::Txt), value(Kind::Txt, "\"v=DMARC1; p=reject\"")),
        ];
        let new = edited(text, &entries, &changes, NOW).unwrap();
        assert_eq!(
            new,
            "$TTL 1h ; an hour\n@ IN SOA ns1 admin ( 2026112400 ; serial\n 3600 900 1209600 300 )\n  NS ns1\n; mail\nexample.org. 60 IN MX 10 mail.example.org.\n  TXT \"site=1\"\nns1.example.org.  AAAA 2001:db8::1\n_dmarc.example.org. 60 IN TXT \"v=DMARC1; p=reject\"\n"
        );
        let after = super::live(&zone, &master::read(&new, Some(&zone)).unwrap());
        unmoved(&after, &changes).unwrap_err();
        assert_eq!(after.sets.len(), 4);
        assert!(edited("a A 192.0.2.1\n", &[], &changes, NOW).is_none());
    }
}
