//! What the spec says of findings: `level` makes a kind of finding an error, a warning or nothing; `allow` bears one for
//! a while, with a reason. Both hold at and below the node that they stand in.

use crate::code::{Code, Severity};
use crate::diagnostic::{Allowed, Diagnostic, Path, Report, Verdict, machine, nearest};
use crate::locate::Located;
use crate::read::files;
use crate::sound::Homes;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schema::spec::{Allow, Level, Loudness, Spec};
use std::collections::HashMap;

/// How far ahead an allowance may end, in days.
const LONGEST: i32 = 366;
/// How many days before its end an allowance is warned of.
const SOON: i32 = 14;

/// When and how the spec is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seconds since 1970.
    pub now: i64,
    /// Whether secrets were opened, which some findings need.
    pub secrets: bool,
}

/// Judges every finding by what the spec says of it, and tells what is wrong with that.
pub fn weigh(spec: &Spec, located: &Located, moment: Moment, report: &mut Report) {
    let mut rules = Rules::of(spec, moment);
    if rules.levels.is_empty() && rules.allows.is_empty() && rules.report.diagnostics().is_empty() {
        return;
    }
    let homes = Homes::of(located);
    // Where errors hide others, nobody knows what an allowance would match.
    let whole = !report.diagnostics().iter().any(is_fault) && !report.is_partial();
    report.weigh(|found| {
        if !rules.knows(found.code) {
            return Verdict::As(found.severity);
        }
        let Some(about) = homes.about(found) else { return Verdict::As(found.severity) };
        rules.judge(found, &Seen { about, file: file(found, located) })
    });
    report.forget(|code| rules.covers_all(code));
    let mut own = rules.close(whole);
    own.weigh(|found| rules.judge(found, &Seen { about: found.at.clone(), file: file(found, located) }));
    report.take(own, |_| true);
}

/// Judges findings of a comparison by what the new spec says of them; what is wrong with that, a check tells.
pub fn bear(spec: &Spec, located: &Located, now: i64, report: &mut Report) {
    let mut rules = Rules::of(spec, Moment { now, secrets: false });
    let homes = Homes::of(located);
    report.weigh(|found| match homes.about(found) {
        Some(about) if rules.knows(found.code) => rules.judge(found, &Seen { about, file: file(found, located) }),
        _ => Verdict::As(found.severity),
    });
}

/// An error that keeps other findings from being made.
fn is_fault(found: &Diagnostic) -> bool {
    found.code.severity() == Severity::Error && !found.code.allowable()
}

fn file(found: &Diagnostic, located: &Located) -> String {
    located.file(&machine::place(found, located)).map_or_else(String::new, |file| file.name.clone())
}

/// Where a finding is.
struct Seen {
    about: Path,
    file: String,
}

/// What a rule covers.
#[derive(Clone, Debug)]
struct Scope {
    path: Path,
    at: Option<String>,
}

impl Scope {
    fn covers(&self, seen: &Seen) -> bool {
        let within = seen.about.steps().starts_with(self.path.steps());
        within && self.at.as_ref().is_none_or(|pattern| files::fits(pattern, &seen.file))
    }
    /// The larger, the more particular.
    fn depth(&self) -> (usize, bool) {
        (self.path.steps().len(), self.at.is_some())
    }
}

struct Leveled {
    scope: Scope,
    /// `None`: not told.
    to: Option<Severity>,
}

struct Borne {
    scope: Scope,
    allowed: Allowed,
    /// Where it is written.
    at: Path,
    expired: bool,
    /// Days that are left.
    left: i32,
    used: usize,
}

struct Rules {
    levels: HashMap<Code, Vec<Leveled>>,
    allows: HashMap<Code, Vec<Borne>>,
    report: Report,
    today: Date,
    secrets: bool,
}

impl Rules {
    fn of(spec: &Spec, moment: Moment) -> Rules {
        let today = Timestamp::from_second(moment.now).unwrap_or_default();
        let mut rules = Rules {
            levels: HashMap::new(),
            allows: HashMap::new(),
            report: Report::new(),
            today: TimeZone::UTC.to_datetime(today).date(),
            secrets: moment.secrets,
        };
        rules.scope(&spec.level, &spec.allow, &Path::root());
        let part = |name: &'static str, at: usize| Path::root().field(name).item(at);
        for (at, domain) in spec.domain.iter().enumerate() {
            rules.scope(&domain.level, &domain.allow, &part("domain", at));
        }
        for (at, host) in spec.host.iter().enumerate() {
            rules.scope(&host.level, &host.allow, &part("host", at));
        }
        for (at, store) in spec.store.iter().enumerate() {
            rules.scope(&store.level, &store.allow, &part("store", at));
        }
        rules
    }

    fn scope(&mut self, levels: &[Level], allows: &[Allow], within: &Path) {
        for (n, level) in levels.iter().enumerate() {
            self.level(level, within, &within.field("level").item(n));
        }
        for (n, allow) in allows.iter().enumerate() {
            self.allow(allow, within, within.field("allow").item(n));
        }
    }

    fn knows(&self, code: Code) -> bool {
        self.levels.contains_key(&code) || self.allows.contains_key(&code)
    }

    fn judge(&mut self, found: &Diagnostic, seen: &Seen) -> Verdict {
        let level = self.levels.get(&found.code).into_iter().flatten().filter(|level| level.scope.covers(seen));
        let severity = match level.max_by_key(|level| level.scope.depth()) {
            Some(Leveled { to: None, .. }) => return Verdict::Off,
            Some(Leveled { to: Some(severity), .. }) => *severity,
            None => found.severity,
        };
        let mut verdict = Verdict::As(severity);
        let covering = self.allows.get_mut(&found.code).into_iter().flatten().filter(|one| one.scope.covers(seen));
        for one in covering {
            one.used += 1;
            if !one.expired {
                verdict = Verdict::Allowed(one.allowed.clone());
            }
        }
        verdict
    }

    /// Whether all findings of a code are off or borne, wherever they are.
    fn covers_all(&self, code: Code) -> bool {
        let all = |scope: &Scope| scope.path.steps().is_empty() && scope.at.is_none();
        let (levels, allows) = (self.levels.get(&code), self.allows.get(&code));
        levels.is_some_and(|levels| levels.iter().all(|level| level.to.is_none() && all(&level.scope)))
            || allows.is_some_and(|allows| allows.iter().any(|one| !one.expired && all(&one.scope)))
    }

    fn code(&mut self, written: &str, at: &Path) -> Option<Code> {
        let code = Code::named(written);
        if code.is_none() {
            let found =
                self.report.find(Code::LevelCode, at.field("code"), format!("no finding is called `{written}`"));
            found.help = nearest(written, Code::ALL.iter().map(|code| code.id()));
            found.help.get_or_insert("the code stands before each finding, as in `warning[W0617]`".to_owned());
        }
        code
    }

    fn level(&mut self, level: &Level, within: &Path, at: &Path) {
        let Some(code) = self.code(&level.code, at) else { return };
        let to = match level.level {
            Loudness::Error => Some(Severity::Error),
            Loudness::Warning => Some(Severity::Warning),
            Loudness::Off => None,
        };
        if code.severity() == Severity::Error && to != Some(Severity::Error) {
            let says = format!("`{}` is an error, which no `level` lowers: {}", code.id(), code.title());
            let help = if code.allowable() {
                format!("write `allow {} reason=\"…\" until=\"…\"`", code.id())
            } else {
                format!("mend what it tells of; `waybill explain {}` says how", code.id())
            };
            self.report.find(Code::NotAllowable, at.field("level"), says).help(help);
            return;
        }
        let scope = Scope { path: within.clone(), at: level.at.clone() };
        self.levels.entry(code).or_default().push(Leveled { scope, to });
    }

    fn allow(&mut self, allow: &Allow, within: &Path, at: Path) {
        let code = self.code(&allow.code, &at);
        if let Some(code) = code.filter(|code| !code.allowable()) {
            let says = format!("`{}` cannot be allowed: {}", code.id(), code.title());
            let help = format!("mend what it tells of; `waybill explain {}` says how", code.id());
            self.report.find(Code::NotAllowable, at.field("code"), says).help(help);
        }
        let reasoned = !allow.reason.trim().is_empty();
        if !reasoned {
            let found = self.report.find(Code::AllowReason, at.field("reason"), "an allowance without a reason");
            found.help("say why it is borne, for who reviews it when it ends");
        }
        let left = self.left(&allow.until, &at);
        let (Some(code), Some(left), true) = (code.filter(|code| code.allowable()), left, reasoned) else { return };
        let scope = Scope { path: within.clone(), at: allow.at.clone() };
        let allowed = Allowed { reason: allow.reason.trim().to_owned(), until: allow.until.clone() };
        let one = Borne { scope, allowed, at, expired: left < 0, left, used: 0 };
        self.allows.entry(code).or_default().push(one);
    }

    /// How many days an allowance is good for after today.
    fn left(&mut self, until: &str, at: &Path) -> Option<i32> {
        let at = at.field("until");
        // Nothing but `YYYY-MM-DD`: other forms of ISO 8601 read badly in a review.
        let plain = until.len() == 10 && until.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
        let Some(date) = until.parse::<Date>().ok().filter(|_| plain) else {
            self.report.find(Code::AllowDate, at, "`until` is no day").help("write the last day, as in `2027-03-01`");
            return None;
        };
        let left = self.today.until(date).ok()?.get_days();
        if left > LONGEST {
            let last = self.today.checked_add(jiff::Span::new().years(1)).unwrap_or(self.today);
            let says = format!("`until` is {date}, more than a year ahead");
            self.report.find(Code::AllowDate, at, says).help(format!("write at most `{last}`, and look again then"));
            return None;
        }
        Some(left)
    }

    /// What became of the allowances.
    fn close(&mut self, whole: bool) -> Report {
        let mut report = std::mem::take(&mut self.report);
        let all = self.allows.iter().flat_map(|(code, all)| all.iter().map(move |one| (*code, one)));
        for (code, one) in all {
            let (id, until) = (code.id(), &one.allowed.until);
            match one {
                Borne { used: 0, .. } if !whole || (code.needs_secrets() && !self.secrets) => {}
                Borne { used: 0, expired: false, .. } if code.needs_two() => {}
                Borne { used: 0, .. } => {
                    let says = format!("nothing is found that `allow {id}` would bear here");
                    report.find(Code::AllowNothing, one.at.clone(), says).help("take it out, if it is mended");
                }
                Borne { expired: true, .. } => {
                    let says = format!("the allowance of `{id}` ended on {until}: {}", one.allowed.reason);
                    let help = "mend what it bore, or allow it anew with a reason of today";
                    report.find(Code::AllowExpired, one.at.field("until"), says).help(help);
                }
                Borne { left: ..=SOON, .. } => {
                    let says = format!("the allowance of `{id}` ends on {until}, in {} days", one.left);
                    let help = "mend what it bears before that";
                    report.find(Code::AllowSoon, one.at.field("until"), says).help(help);
                }
                Borne { .. } => {}
            }
        }
        report
    }
}
