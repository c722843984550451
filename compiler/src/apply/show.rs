//! How a survey is told: for people, for programs, and as the comment of a pull request.

use super::Survey;
use crate::authority::Shown;
use crate::diagnostic::{machine, printable};
use crate::emit::Artefacts;
use crate::locate::Located;
use crate::plan::{Change, Kept, Refused, Set, SetKey, Why};
use crate::transition::Rollout;
use schema::name::DomainName;
use schema::unit::Period;
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

/// The longest comment that forges take, in octets, with room for what they add.
const LONGEST_COMMENT: usize = 60_000;
/// A longer value, in characters, is cut in what people read.
const LONGEST_VALUE: usize = 100;

/// Where each set of a zone was written.
pub struct Places<'a> {
    /// The zones.
    pub artefacts: &'a Artefacts,
    /// The files.
    pub located: &'a Located,
}

impl Places<'_> {
    /// `mail.kdl:12:5`, where the spec wants the set.
    fn at(&self, zone: &DomainName, key: &SetKey) -> Option<String> {
        let zones = &self.artefacts.zones;
        let zone = zones.binary_search_by(|one| one.name.cmp(zone)).ok().and_then(|at| zones.get(at))?;
        let origin = zone.set(&key.name, key.kind)?.origins.last()?;
        Some(self.located.at(&self.located.place(&origin.at))).filter(|at| !at.is_empty())
    }
}

/// What a change does, as a sign.
fn sign(change: &Change) -> char {
    match (&change.before, &change.after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '~',
    }
}

fn values(set: Option<&Set>) -> Vec<String> {
    set.map_or_else(Vec::new, |set| set.values.iter().map(ToString::to_string).collect())
}

fn short(value: &str) -> String {
    let value = printable(value);
    match value.char_indices().nth(LONGEST_VALUE) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value,
    }
}

fn set(set: Option<&Set>) -> String {
    values(set).iter().map(|value| short(value)).collect::<Vec<_>>().join(", ")
}

/// What a change does to a set's values, in words.
fn words(change: &Change) -> String {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) if before.values == after.values => {
            format!("time to live {} s, was {} s", after.ttl, before.ttl)
        }
        (Some(_), Some(_)) => format!("{}, was {}", set(change.after.as_ref()), set(change.before.as_ref())),
        (None, _) => set(change.after.as_ref()),
        (_, None) => set(change.before.as_ref()),
    }
}

fn why(refused: &Refused) -> String {
    let adopt = if refused.why.adoptable() { "; `--adopt` takes it over" } else { "" };
    let says = match &refused.why {
        Why::Foreign(values) => {
            let values: Vec<String> = values.iter().map(|value| short(&value.to_string())).collect();
            format!("somebody else's is there: {}", values.join(", "))
        }
        Why::Beside(keys) => {
            let keys: Vec<String> = keys.iter().map(|key| key.kind.name().to_owned()).collect();
            format!("{} stands there, and a CNAME has its name alone", keys.join(" and "))
        }
        Why::BesideOthers => {
            "records of another type stand there, and a CNAME has its name alone: take them out".into()
        }
        Why::Strange => {
            "a value there cannot be understood, and would be lost: take it out, or leave the set out by `omit`".into()
        }
    };
    format!("{says}{adopt}")
}

/// How much of what: `3 to add, 1 to change, 0 to remove`.
pub fn counts(survey: &Survey) -> String {
    let count = |wanted: char| survey.changes().filter(|(_, change)| sign(change) == wanted).count();
    format!("{} to add, {} to change, {} to remove", count('+'), count('~'), count('-'))
}

/// For people, on a terminal or in a log; `colour` for a terminal.
pub fn human(survey: &Survey, places: &Places<'_>, colour: bool) -> String {
    let mut out = String::new();
    let paint = |sign: char, text: &str| match (colour, sign) {
        (false, _) => text.to_owned(),
        (_, '+') => format!("\u{1b}[32m{text}\u{1b}[0m"),
        (_, '-' | '!') => format!("\u{1b}[31m{text}\u{1b}[0m"),
        _ => format!("\u{1b}[33m{text}\u{1b}[0m"),
    };
    // Writing to a String cannot fail.
    for looked in &survey.zones {
        let Ok(plan) = &looked.plan else { continue };
        if plan.changes.is_empty() && plan.refused.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{} ({})", looked.zone, printable(&looked.provider));
        let names = plan.changes.iter().map(|change| &change.key).chain(plan.refused.iter().map(|one| &one.key));
        let width = names.map(|key| key.name.as_str().len()).max().unwrap_or(0);
        for change in &plan.changes {
            let at = places.at(&looked.zone, &change.key).map(|at| format!("  ({at})")).unwrap_or_default();
            let SetKey { name, kind } = &change.key;
            let line = format!("{} {:<5} {:<width$}  {}", sign(change), kind.name(), name.as_str(), words(change));
            let _ = writeln!(out, "  {}{at}", paint(sign(change), &line));
        }
        for refused in &plan.refused {
            let SetKey { name, kind } = &refused.key;
            let line = format!("! {:<5} {:<width$}  {}", kind.name(), name.as_str(), why(refused));
            let _ = writeln!(out, "  {}", paint('!', &line));
        }
        for Kept { key, value } in &plan.kept {
            let _ = writeln!(
                out,
                "    {:<5} {:<width$}  kept: {}",
                key.kind.name(),
                key.name.as_str(),
                short(&value.to_string())
            );
        }
        out.push('\n');
    }
    for zone in &survey.orphans {
        let _ = writeln!(out, "{zone}: is in the spec no more; `--prune` removes what was written there");
    }
    for (zone, before) in &survey.left {
        let _ = writeln!(
            out,
            "{zone}: `{}` published it before; what was written there stays, for those who are still led there",
            printable(before)
        );
    }
    let _ = match survey.changes().next() {
        None => writeln!(out, "no change"),
        Some(_) => writeln!(out, "{}", counts(survey)),
    };
    out
}

/// Values as people read them.
fn listed(values: &[String]) -> String {
    if values.is_empty() { "nothing".to_owned() } else { printable(&values.join(", ")) }
}

/// What rollovers wait for.
pub fn waiting(rollouts: &[Rollout], shown: &Shown, now: i64) -> String {
    let mut out = String::new();
    for rollout in rollouts {
        let Some(step) = rollout.step() else { continue };
        let Rollout { zone, topic, from, to, at, steps, .. } = rollout;
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{zone} {topic}: from {} to {}; step {} of {}: until {}",
            listed(from),
            listed(to),
            at.map_or(1, |at| at + 1),
            steps.len(),
            step.says
        );
        let _ = match rollout.due() {
            Some(due) => writeln!(out, ", in {}", Period(u64::try_from(due - now).unwrap_or(0))),
            None => writeln!(out),
        };
        for lack in shown.lacking.get(zone).into_iter().flatten().filter(|_| rollout.due().is_none()) {
            let _ = writeln!(out, "    {}", printable(lack));
        }
    }
    out
}

/// Rollovers with all of their steps.
pub fn rollouts(rollouts: &[Rollout], shown: &Shown, now: i64) -> String {
    let mut out = String::new();
    for rollout in rollouts {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} {}: from {} to {}",
            rollout.zone,
            rollout.topic,
            listed(&rollout.from),
            listed(&rollout.to)
        );
        if rollout.at.is_none() {
            let _ = writeln!(out, "  begins with the next `waybill apply`");
        }
        for (at, step) in rollout.steps.iter().enumerate() {
            let is_now = rollout.at == Some(at);
            let sign = match rollout.at {
                Some(now) if at < now => "done   ",
                Some(_) if is_now => "now    ",
                _ => "       ",
            };
            let due = rollout.due().filter(|_| is_now);
            let left = due.map(|due| Period(u64::try_from(due - now).unwrap_or(0)));
            let due = match left {
                None => String::new(),
                Some(Period(0)) => ": `waybill apply` goes on".to_owned(),
                Some(left) => format!(", in {left}"),
            };
            let _ = writeln!(out, "  {sign}{}. until {}{due}", at + 1, step.says);
            let lacking = shown.lacking.get(&rollout.zone).filter(|_| is_now && rollout.due().is_none());
            for lack in lacking.into_iter().flatten() {
                let _ = writeln!(out, "            {}", printable(lack));
            }
        }
    }
    out
}

fn one(of: Option<&Set>) -> Json {
    of.map_or(Json::Null, |set| json!({ "ttl": set.ttl, "values": values(Some(set)) }))
}

/// For programs; also what `apply` takes.
pub fn json_form(survey: &Survey, places: &Places<'_>, facts: &Json) -> Json {
    let zone = |looked: &super::Looked| {
        let Ok(plan) = &looked.plan else {
            return json!({ "zone": looked.zone, "provider": looked.provider, "failed": looked.plan.as_ref().err() });
        };
        let change = |change: &Change| {
            json!({
                "name": change.key.name,
                "type": change.key.kind.name(),
                "before": one(change.before.as_ref()),
                "after": one(change.after.as_ref()),
                "at": places.at(&looked.zone, &change.key),
            })
        };
        let refused = |refused: &Refused| {
            let SetKey { name, kind } = &refused.key;
            json!({ "name": name, "type": kind.name(), "why": why(refused), "adoptable": refused.why.adoptable() })
        };
        let kept = |kept: &Kept| json!({ "name": kept.key.name, "type": kept.key.kind.name(), "value": kept.value.to_string() });
        json!({
            "zone": looked.zone,
            "provider": looked.provider,
            "changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
            "kept": plan.kept.iter().map(kept).collect::<Vec<_>>(),
            "refused": plan.refused.iter().map(refused).collect::<Vec<_>>(),
        })
    };
    json!({
        "format": super::file::FORMAT,
        "spec": facts["spec"],
        "state": facts["state"],
        "stages": facts["stages"],
        "zones": survey.zones.iter().map(zone).collect::<Vec<_>>(),
        "orphans": survey.orphans,
        "findings": machine::json(&survey.report, places.located),
    })
}

/// As the comment of a pull request, cut at what forges take.
pub fn markdown(survey: &Survey, places: &Places<'_>) -> String {
    let mut out = match survey.changes().next() {
        None => "### Waybill: no change in DNS\n".to_owned(),
        Some(_) => format!("### Waybill: DNS would change: {}\n", counts(survey)),
    };
    let code = |text: &str| format!("`` {} ``", printable(text).replace("``", "`\u{200b}`"));
    for found in survey.report.diagnostics() {
        let help = found.help.as_deref().unwrap_or_default();
        let _ = writeln!(out, "\n> **Refused** {}: {}. {}", found.code.id(), printable(&found.says), printable(help));
    }
    let mut left = 0;
    for looked in &survey.zones {
        let Ok(plan) = &looked.plan else {
            let _ = writeln!(
                out,
                "\n**{}** could not be read: {}",
                looked.zone,
                printable(looked.plan.as_ref().err().map_or("", |why| why))
            );
            continue;
        };
        if plan.changes.is_empty() && plan.refused.is_empty() {
            continue;
        }
        let mut part = format!("\n#### {}\n\n| | type | name | value | spec |\n|-|-|-|-|-|\n", looked.zone);
        for change in &plan.changes {
            let at = places.at(&looked.zone, &change.key).unwrap_or_default();
            let SetKey { name, kind } = &change.key;
            let value = code(&words(change)).replace('|', "\\|");
            let _ = writeln!(part, "| {} | {} | {} | {value} | {at} |", sign(change), kind.name(), code(name.as_str()));
        }
        for refused in &plan.refused {
            let SetKey { name, kind } = &refused.key;
            let value = printable(&why(refused)).replace('|', "\\|");
            let _ = writeln!(part, "| ! | {} | {} | refused: {value} | |", kind.name(), code(name.as_str()));
        }
        if out.len() + part.len() > LONGEST_COMMENT {
            left += 1;
        } else {
            out.push_str(&part);
        }
    }
    if left > 0 {
        let s = if left == 1 { "" } else { "s" };
        let _ = writeln!(out, "\n{left} more zone{s}: see the plan that is attached (`--out plan.json`).");
    }
    out
}
