//! What receivers report of a domain's mail (RFC 9990), held against what a plan would do to it.

use super::{tagged, weight};
use crate::apply::{Ground, Survey};
use crate::code::Code;
use crate::diagnostic::{Report, printable};
use crate::plan::{Set, SetKey, Sets};
use crate::resolve::{Domain, is_spf};
use crate::zone::{Kind, Rdata};
use mail::auth::{Authenticator, Supposed};
use mail::report::{Aggregate, Seen};
use schema::name::DomainName;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How long ago a report's time may have ended, in days.
const RECENT: i64 = 30;
/// The most reports that are read.
const MOST_REPORTS: usize = 100_000;
/// The largest file, in octets.
const LARGEST: u64 = 32 << 20;
/// How deep folders are looked into: a Maildir is two.
const DEEPEST: usize = 8;
/// The most senders of a domain that SPF is asked of; those with most mail come first.
const MOST_SENDERS: usize = 200;
/// Of this many messages that somebody known sent, one may fail before a policy is tightened.
const ONE_OF: u64 = 100;
/// How many senders a finding names.
const NAMED: usize = 3;
const DAY: i64 = 86_400;

/// What receivers saw lately.
#[derive(Debug, Default)]
pub struct Reports {
    /// Everything that was seen, with who reports it.
    seen: Vec<(String, Seen)>,
    /// How many reports are meant.
    pub read: usize,
    /// Files that are no reports, and why.
    pub others: Vec<String>,
}

impl Reports {
    /// Reads a report, or all in a folder and those in it, a Maildir say: those whose time ended in the last 30 days, each
    /// once.
    ///
    /// # Errors
    /// What the system says; where there are more than 100,000.
    pub fn read(path: &Path, now: i64) -> io::Result<Reports> {
        let mut files = Vec::new();
        walk(path, DEEPEST, &mut files)?;
        files.sort();
        let (mut reports, mut known) = (Reports::default(), BTreeSet::new());
        for path in files {
            let report = match one(&path)? {
                Ok(report) => report,
                Err(why) => {
                    reports.others.push(format!("{}: {why}", path.display()));
                    continue;
                }
            };
            let recent = report.end.saturating_add(RECENT * DAY) >= now;
            if recent && known.insert((report.reporter.clone(), report.id)) {
                reports.read += 1;
                reports.seen.extend(report.seen.into_iter().map(|seen| (report.reporter.clone(), seen)));
            }
        }
        Ok(reports)
    }

    /// What is seen by the domain of its From, or by the next one above that the spec has.
    fn by_domain<'a>(&'a self, ground: &'a Ground<'_>) -> HashMap<&'a DomainName, Vec<&'a Seen>> {
        let mut found: HashMap<&DomainName, Vec<&Seen>> = HashMap::new();
        for (_, seen) in &self.seen {
            let Ok(from) = seen.from.parse::<DomainName>() else { continue };
            let mut names = std::iter::successors(Some(from), DomainName::parent);
            if let Some(domain) = names.find_map(|name| ground.resolved.domain(&name)) {
                found.entry(&domain.name).or_default().push(seen);
            }
        }
        found
    }
}

/// An error of the system that says where.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn walk(path: &Path, deeper: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let with_path = |error| named(path, &error);
    if !fs::metadata(path).map_err(with_path)?.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(with_path)? {
        let entry = entry.map_err(with_path)?;
        let kind = entry.file_type().map_err(with_path)?;
        match kind.is_dir() {
            true if deeper > 0 => walk(&entry.path(), deeper - 1, files)?,
            false if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
        if files.len() > MOST_REPORTS {
            return Err(io::Error::other(format!("{}: more than {MOST_REPORTS} reports", path.display())));
        }
    }
    Ok(())
}

fn one(path: &Path) -> io::Result<Result<Aggregate, String>> {
    let with_path = |error| named(path, &error);
    let mut octets = Vec::new();
    File::open(path).map_err(with_path)?.take(LARGEST + 1).read_to_end(&mut octets).map_err(with_path)?;
    if octets.len() as u64 > LARGEST {
        return Ok(Err(format!("larger than {LARGEST} octets")));
    }
    Ok(Aggregate::read(&octets).map_err(|error| error.to_string()))
}

/// Holds what a plan does to DMARC and SPF against reports. What DNS does not say is returned, in words.
pub async fn weigh(
    ground: &Ground<'_>,
    survey: &Survey,
    (reports, authenticator): (&Reports, &Authenticator),
    report: &mut Report,
) -> Vec<String> {
    let by_domain = reports.by_domain(ground);
    for looked in &survey.zones {
        let Ok(plan) = &looked.plan else { continue };
        for domain in ground.resolved.in_zone(&looked.zone) {
            let policy = domain.place("_dmarc").ok();
            for change in plan.changes.iter().filter(|change| Some(&change.key.name) == policy.as_ref()) {
                let (before, after) = (weight(change.before.as_ref()), weight(change.after.as_ref()));
                if let Some((is, after)) = after
                    && is > before.as_ref().map_or(0, |(was, _)| *was)
                {
                    let seen = by_domain.get(&domain.name).map_or(&[][..], Vec::as_slice);
                    tightened(domain, &after, seen, report);
                }
            }
        }
    }
    let sends = |key: &SetKey| matches!(key.kind, Kind::Mx | Kind::A | Kind::Aaaa | Kind::Txt);
    if !survey.changes().any(|(_, change)| sends(&change.key)) {
        return Vec::new();
    }
    let (before, after) = (supposed(survey, true), supposed(survey, false));
    let mut unknown = Vec::new();
    let mut passing: HashMap<&str, Vec<(&str, &Seen)>> = HashMap::new();
    for (reporter, seen) in &reports.seen {
        seen.spf.iter().for_each(|domain| passing.entry(domain).or_default().push((reporter, seen)));
    }
    let is_read = |domain: &&Domain| survey.zones.binary_search_by(|one| one.zone.cmp(&domain.name)).is_ok();
    for domain in ground.resolved.domains.iter().filter(is_read) {
        let mut senders: BTreeMap<IpAddr, (u64, BTreeSet<&str>)> = BTreeMap::new();
        for (reporter, seen) in passing.get(domain.name.as_str()).into_iter().flatten() {
            let sender = senders.entry(seen.ip).or_default();
            sender.0 = sender.0.saturating_add(seen.count);
            sender.1.insert(reporter);
        }
        let mut senders: Vec<_> = senders.into_iter().collect();
        senders.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        senders.truncate(MOST_SENDERS);
        let mut lost = Vec::new();
        for (ip, (count, reporters)) in senders {
            match authenticator.passes(ip, &domain.name, &after).await {
                Some(true) => continue,
                None => unknown.push(format!("whether SPF of `{}` still passes for {ip}", domain.name)),
                // What fails already is not this plan's doing.
                Some(false) if authenticator.passes(ip, &domain.name, &before).await == Some(false) => {}
                Some(false) => {
                    let by: Vec<&str> = reporters.into_iter().take(NAMED).collect();
                    lost.push(format!("{ip} ({count} messages, by {})", printable(&by.join(", "))));
                }
            }
        }
        if lost.is_empty() {
            continue;
        }
        let more = lost.len().saturating_sub(NAMED);
        lost.truncate(NAMED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let says = format!(
            "SPF of `{}` would pass no more for senders that reports of the last {RECENT} days show in use: {}{more}",
            domain.name,
            lost.join(", ")
        );
        let help =
            "leave them in until reports show them no more; or write `allow W0814 reason=\"…\" until=\"YYYY-MM-DD\"`";
        report.find(Code::SenderLost, domain.spf.at.clone().unwrap_or_else(|| domain.at.clone()), says).help(help);
    }
    unknown
}

/// RFC 9989: who sends mail in line with the From is known before what is not in line is refused.
fn tightened(domain: &Domain, policy: &str, seen: &[&Seen], report: &mut Report) {
    let at = domain.dmarc.at.clone().unwrap_or_else(|| domain.at.clone());
    let lift = "or write `allow W0815 reason=\"…\" until=\"YYYY-MM-DD\"`";
    let head = format!("the DMARC policy of `{}` is tightened to `p={}`", domain.name, printable(policy));
    let (mut good, mut bad) = (0_u64, 0_u64);
    let mut senders: BTreeMap<IpAddr, (u64, u64, BTreeSet<&str>)> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| !seen.excused) {
        let sender = senders.entry(seen.ip).or_default();
        match seen.aligned {
            true => sender.0 = sender.0.saturating_add(seen.count),
            false => sender.1 = sender.1.saturating_add(seen.count),
        }
        sender.2.extend(seen.spf.iter().chain(&seen.dkim).map(String::as_str));
    }
    if senders.is_empty() {
        let says = format!("{head}, and no report of the last {RECENT} days speaks of its mail");
        let help = format!("wait for reports to come in, and see that they are among `--reports`; {lift}");
        report.find(Code::PolicyUnsupported, at, says).help(help);
        return;
    }
    let mut failing = Vec::new();
    for (ip, (aligned, failed, vouchers)) in senders {
        good = good.saturating_add(aligned);
        // Who proves to be somebody, or sends good mail as well, is no forger.
        if failed == 0 || (aligned == 0 && vouchers.is_empty()) {
            continue;
        }
        bad = bad.saturating_add(failed);
        let who: Vec<&str> = vouchers.into_iter().take(NAMED).collect();
        failing.push((failed, format!("{failed} from {ip} ({})", printable(&who.join(", ")))));
    }
    if bad == 0 || bad.saturating_mul(ONE_OF) <= good.saturating_add(bad) {
        return;
    }
    failing.sort_by_key(|(failed, _)| std::cmp::Reverse(*failed));
    let named: Vec<String> = failing.into_iter().take(NAMED).map(|(_, says)| says).collect();
    let says = format!(
        "{head}, and by reports of the last {RECENT} days {bad} of {} messages of known senders fail it: {}",
        good.saturating_add(bad),
        named.join("; ")
    );
    let help = format!("have these senders sign as the domain, or send with a return path in it; {lift}");
    report.find(Code::PolicyUnsupported, at, says).help(help);
}

/// What the zones say before a plan, or after it.
fn supposed(survey: &Survey, before: bool) -> Supposed {
    let mut supposed = Supposed::default();
    for looked in &survey.zones {
        let Ok(plan) = &looked.plan else { continue };
        let mut sets: Sets = looked.wanted.clone();
        let mut gone = Vec::new();
        for change in &plan.changes {
            match if before { &change.before } else { &change.after } {
                Some(set) => drop(sets.insert(change.key.clone(), set.clone())),
                None => {
                    sets.remove(&change.key);
                    gone.push(&change.key);
                }
            }
        }
        sets.iter().for_each(|(key, set)| put(&mut supposed, key, Some(set)));
        gone.into_iter().for_each(|key| put(&mut supposed, key, None));
    }
    supposed
}

fn put(supposed: &mut Supposed, key: &SetKey, set: Option<&Set>) {
    let values = || set.into_iter().flat_map(|set| &set.values);
    let name = &key.name;
    match key.kind {
        Kind::Txt => supposed.spf(name, &values().filter(|value| is_spf(value)).filter_map(tagged).collect::<Vec<_>>()),
        Kind::Mx => supposed.exchangers(name, &values().filter_map(Rdata::target).collect::<Vec<_>>()),
        Kind::A => {
            let of = |value: &Rdata| if let Rdata::A(ip) = value { Some(*ip) } else { None };
            supposed.v4(name, &values().filter_map(of).collect::<Vec<_>>());
        }
        Kind::Aaaa => {
            let of = |value: &Rdata| if let Rdata::Aaaa(ip) = value { Some(*ip) } else { None };
            supposed.v6(name, &values().filter_map(of).collect::<Vec<_>>());
        }
        _ => {}
    }
}
