//! SPF over the whole tree of records that a check walks (RFC 7208), what lies outside the spec as `waybill.lock` has it.

mod record;

use super::Around;
use super::world::{Answer, World, own, place};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::lock::Asked;
use crate::resolve::{Domain, MOST_LOOKUPS, is_spf};
use crate::zone::{Kind, Rdata, RecordSet};
use record::{Record, Target, Term};
use schema::name::DomainName;
use schema::spec::SpfTerm;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

/// Look-ups that find nothing, of one check (RFC 7208 §4.6.4).
const MOST_VOID: usize = 2;
/// The deepest tree that is walked; ten look-ups cannot go deeper.
const DEEPEST: usize = 12;
/// The most look-ups that are followed for one record, of which ten are too many.
const MOST_STEPS: usize = 200;
/// A DNS message that fits into UDP everywhere (RFC 7208 §3.4, RFC 1035 §2.3.4).
const UDP: usize = 512;

/// Looks at every SPF record that the spec publishes.
pub fn lint(around: &Around<'_>, world: &World<'_>, report: &mut Report) {
    let mut lint = Lint { world, report, trees: HashMap::new(), told: HashSet::new(), read: HashMap::new(), steps: 0 };
    for zone in &around.artefacts.zones {
        let domain = around.resolved.domain(&zone.name);
        let sets = zone.sets.iter().filter(|set| set.kind == Kind::Txt && set.values.iter().any(is_spf));
        for set in sets {
            lint.steps = 0;
            lint.set(set, domain.filter(|domain| domain.name == set.name));
        }
    }
}

struct Lint<'a, 'r> {
    world: &'r World<'a>,
    report: &'r mut Report,
    /// What was walked already: partners' records are many domains' includes.
    trees: HashMap<DomainName, Rc<Tree>>,
    /// One cause is told once, also where many domains take it from one place.
    told: HashSet<(Code, Path)>,
    /// Records as read, by their names.
    read: HashMap<DomainName, Rc<Record>>,
    /// Look-ups that were followed for the present record.
    steps: usize,
}

/// What walking a record costs.
#[derive(Clone, Debug, Default)]
struct Tree {
    lookups: usize,
    /// Look-ups that find nothing: for senders with IPv4, with IPv6, and for both.
    void: [usize; 3],
    troubles: Vec<(Code, String, &'static str)>,
    /// Names whose records are not known.
    unknown: BTreeSet<DomainName>,
}

impl Tree {
    fn add(&mut self, other: &Tree) {
        self.lookups = self.lookups.saturating_add(other.lookups);
        for (sum, one) in self.void.iter_mut().zip(other.void) {
            *sum = sum.saturating_add(one);
        }
        for trouble in &other.troubles {
            if !self.troubles.contains(trouble) {
                self.troubles.push(trouble.clone());
            }
        }
        self.unknown.extend(other.unknown.iter().cloned());
    }
    fn trouble(&mut self, code: Code, says: String, help: &'static str) {
        self.troubles.push((code, says, help));
    }
}

impl Lint<'_, '_> {
    fn find(&mut self, code: Code, at: &Path, says: String, help: &str) {
        if self.told.insert((code, at.clone())) {
            self.report.find(code, at.clone(), says).help(help);
        }
    }

    fn set(&mut self, set: &RecordSet, domain: Option<&Domain>) {
        let Some(Rdata::Txt(text)) = set.values.iter().find(|value| is_spf(value)) else { return };
        let record = Record::read(text);
        let written = domain
            .filter(|domain| !domain.records.iter().any(|own| own.name == set.name && own.values.iter().any(is_spf)));
        let base = match written {
            Some(domain) => domain.spf.at.clone().unwrap_or_else(|| domain.at.clone()),
            None => own(set).cloned().unwrap_or_else(|| place(set)),
        };
        self.form(&set.name, &record, &base);
        let mut whole = Tree::default();
        let mut costs = Vec::new();
        let mut over = None;
        let mut terms: Vec<(Tree, Path, String)> = Vec::new();
        for term in &record.terms {
            let at = written.map_or_else(|| base.clone(), |domain| term_place(domain, term, &base));
            terms.push((self.term(&set.name, term, &mut vec![set.name.clone()]), at, label(term)));
        }
        if let Some(to) = record.redirect.as_ref().filter(|_| record.all.is_none()) {
            let tree = self.follow(&set.name, to, &mut vec![set.name.clone()]);
            terms.push((tree, base.clone(), "redirect".to_owned()));
        }
        for (tree, at, label) in terms {
            self.partner(&set.name, &tree, &at);
            let fitted = whole.lookups <= MOST_LOOKUPS;
            whole.add(&tree);
            if tree.lookups > 0 && costs.len() < MOST_LOOKUPS {
                costs.push(format!("{label} {}", tree.lookups));
            }
            if fitted && whole.lookups > MOST_LOOKUPS {
                over = Some(at);
            }
        }
        if let Some(at) = over {
            let says = format!(
                "with this, the record of `{}` needs {} look-ups, and receivers stop at {MOST_LOOKUPS}",
                set.name, whole.lookups
            );
            let help = format!("take some out, or write addresses in their place; they cost: {}", costs.join(", "));
            self.find(Code::SpfLookups, &at, says, &help);
        }
        self.void(&set.name, whole.void, &base);
        self.size(set, &base);
    }

    /// What the record itself says.
    fn form(&mut self, name: &DomainName, record: &Record, at: &Path) {
        if let Some(fault) = record.faults.first() {
            let says = format!("`{}` in the SPF record of `{name}` is no term, so every check fails", shown(fault));
            self.find(Code::SpfSyntax, at, says, "terms are all, include:, a, mx, ip4:, ip6:, exists: and redirect=");
        }
        if record.terms.contains(&Term::Ptr) {
            let says = format!("the SPF record of `{name}` counts on `ptr`, which receivers may leave out");
            self.find(Code::SpfPtr, at, says, "write the addresses by `ip4` and `ip6` in its place");
        }
        if record.all == Some('+') {
            let says = format!("the SPF record of `{name}` lets everybody send: `+all`");
            self.find(Code::SpfAllowsAll, at, says, "write `-all`");
        }
        if record.after > 0 || (record.all.is_some() && record.redirect.is_some()) {
            let says = format!("what stands beside `all` in the SPF record of `{name}` is never looked at");
            self.find(Code::SpfAfterAll, at, says, "put `all` at the end, and take `redirect` out");
        }
        if record.all.is_none() && record.redirect.is_none() {
            let says = format!("the SPF record of `{name}` does not say what of everybody else");
            self.find(Code::SpfNoAll, at, says, "write `-all` at its end");
        }
    }

    /// What is wrong behind a term.
    fn partner(&mut self, name: &DomainName, tree: &Tree, at: &Path) {
        for (code, says, help) in &tree.troubles {
            let says = format!("{says}, which the record of `{name}` leads to");
            self.find(*code, at, says, help);
        }
        if !tree.unknown.is_empty() {
            let mut names = tree.unknown.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let more = names.len().saturating_sub(3);
            names.truncate(3);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let says = format!("it is not known what the records of {}{more} say", names.join(", "));
            let help = "`waybill lock` asks, and writes it to waybill.lock beside the spec";
            self.find(Code::NotLocked, at, says, help);
        }
    }

    fn void(&mut self, name: &DomainName, [v4, v6, both]: [usize; 3], at: &Path) {
        if both > MOST_VOID {
            let says = format!("the SPF record of `{name}` leads to {both} names that have nothing");
            let help = "receivers fail the check after two: take the names out";
            self.find(Code::SpfVoid, at, says, help);
        } else if v4.max(v6) > MOST_VOID {
            let (family, count) = if v6 > v4 { ("IPv6", v6) } else { ("IPv4", v4) };
            let says =
                format!("for senders with {family} the record of `{name}` leads to {count} names without address");
            let help = "receivers fail the check after two: write the addresses by `ip4` and `ip6`";
            self.find(Code::SpfVoidFamily, at, says, help);
        }
    }

    /// RFC 7208 §3.4: the answer holds every TXT record of the name.
    fn size(&mut self, set: &RecordSet, at: &Path) {
        let size = super::txt::message_size(set);
        if size > UDP {
            let says = format!("the TXT records of `{}` make an answer of {size} octets", set.name);
            let help = "receivers that ask by UDP alone see none above 512: move proofs of ownership to other names, \
                        or networks to a record that is included";
            self.find(Code::SpfLarge, at, says, help);
        }
    }

    /// What a term of the record `of` costs.
    fn term(&mut self, of: &DomainName, term: &Term, above: &mut Vec<DomainName>) -> Tree {
        let mut tree = Tree { lookups: 1, ..Tree::default() };
        if *term == Term::Address {
            return Tree::default();
        }
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return tree;
        }
        let nothing = |answer: Answer<'_>| usize::from(answer.is_none());
        match term {
            Term::Address | Term::Ptr | Term::Exists(Target::Macro) => {}
            Term::A(Some(Target::Macro)) | Term::Mx(Some(Target::Macro)) => {}
            Term::Include(to) => return self.follow(of, to, above),
            Term::A(to) => {
                let name = match to {
                    Some(Target::Name(name)) => name,
                    _ => of,
                };
                let v4 = nothing(self.world.ask(name, Asked::A));
                let v6 = nothing(self.world.ask(name, Asked::Aaaa));
                tree.void = [v4, v6, v4 * v6];
            }
            Term::Exists(Target::Name(name)) => tree.void = [nothing(self.world.ask(name, Asked::A)); 3],
            Term::Mx(to) => {
                let name = match to {
                    Some(Target::Name(name)) => name,
                    _ => of,
                };
                let answer = self.world.ask(name, Asked::Mx);
                tree.void = [nothing(answer); 3];
                if answer.values().is_some_and(|values| values.len() > MOST_LOOKUPS) {
                    let says = format!("`{name}` has more than {MOST_LOOKUPS} hosts under `mx`");
                    tree.trouble(Code::SpfLookups, says, "receivers look up ten and fail the check after that");
                }
            }
        }
        tree
    }

    /// What a record costs that another includes, or hands over to.
    fn follow(&mut self, of: &DomainName, to: &Target, above: &mut Vec<DomainName>) -> Tree {
        let mut tree = Tree { lookups: 1, ..Tree::default() };
        let Target::Name(name) = to else { return tree };
        if above.contains(name) {
            let says = format!("the SPF record of `{of}` leads back to `{name}`");
            tree.trouble(Code::SpfCircle, says, "take one of the circle's `include` out");
            return tree;
        }
        if above.len() >= DEEPEST {
            tree.lookups = tree.lookups.saturating_add(MOST_LOOKUPS);
            return tree;
        }
        let below = match self.trees.get(name) {
            Some(known) => known.clone(),
            None => {
                above.push(name.clone());
                let below = Rc::new(self.record(name, above));
                above.pop();
                // Of a circle each member sees another part, and deeper down there may be less to see.
                if above.len() <= 1 && !below.troubles.iter().any(|(code, ..)| *code == Code::SpfCircle) {
                    self.trees.insert(name.clone(), below.clone());
                }
                below
            }
        };
        tree.add(&below);
        tree
    }

    fn record(&mut self, name: &DomainName, above: &mut Vec<DomainName>) -> Tree {
        let mut tree = Tree::default();
        let Some(values) = self.world.ask(name, Asked::Txt).values() else {
            tree.unknown.insert(name.clone());
            return tree;
        };
        let mut records = values.iter().filter(|value| is_spf(value));
        let Some(Rdata::Txt(text)) = records.next() else {
            tree.void = [1; 3];
            let says = format!("`{name}` has no SPF record");
            tree.trouble(Code::SpfNoRecord, says, "receivers fail the whole check there: take it out");
            return tree;
        };
        if records.next().is_some() {
            let says = format!("`{name}` has two SPF records");
            tree.trouble(Code::SpfTwice, says, "receivers fail the whole check there: tell who publishes it");
        }
        let record = self.read.entry(name.clone()).or_insert_with(|| Rc::new(Record::read(text))).clone();
        if let Some(fault) = record.faults.first() {
            let says = format!("`{}` in the SPF record of `{name}` is no term", shown(fault));
            tree.trouble(Code::SpfSyntax, says, "receivers fail the whole check there: tell who publishes it");
        }
        if record.all == Some('+') {
            let says = format!("the SPF record of `{name}` lets everybody send by `+all`");
            tree.trouble(Code::SpfAllowsAll, says, "everybody could send as the domain: take it out");
        }
        if record.terms.contains(&Term::Ptr) {
            let says = format!("the SPF record of `{name}` counts on `ptr`");
            tree.trouble(Code::SpfPtr, says, "receivers may leave it out: ask who publishes it for addresses");
        }
        for term in &record.terms {
            let below = self.term(name, term, above);
            tree.add(&below);
        }
        if let Some(to) = record.redirect.as_ref().filter(|_| record.all.is_none()) {
            let below = self.follow(name, to, above);
            tree.add(&below);
        }
        tree
    }
}

fn label(term: &Term) -> String {
    let name = |to: &Target| match to {
        Target::Name(name) => name.to_string(),
        Target::Macro => "a macro".to_owned(),
    };
    match term {
        Term::Include(to) | Term::Exists(to) | Term::A(Some(to)) | Term::Mx(Some(to)) => name(to),
        Term::A(None) => "a".to_owned(),
        Term::Mx(None) => "mx".to_owned(),
        Term::Ptr => "ptr".to_owned(),
        Term::Address => "an address".to_owned(),
    }
}

/// Where the spec has a term of the derived record.
fn term_place(domain: &Domain, term: &Term, base: &Path) -> Path {
    let name = match term {
        Term::Include(Target::Name(name)) | Term::A(Some(Target::Name(name))) | Term::Mx(Some(Target::Name(name))) => {
            Some(name)
        }
        _ => None,
    };
    let same = |one: &SpfTerm| match one {
        SpfTerm::Include(to) => matches!(term, Term::Include(_)) && name == Some(to),
        SpfTerm::A(to) => matches!(term, Term::A(_)) && name == Some(to),
        SpfTerm::Mx(to) => matches!(term, Term::Mx(_)) && name == Some(to),
        SpfTerm::Exists(_) => matches!(term, Term::Exists(_)),
        SpfTerm::Ip4(_) | SpfTerm::Ip6(_) => false,
    };
    domain.spf.terms.iter().position(same).map_or_else(|| base.clone(), |n| base.field("terms").item(n))
}

/// A part of a record as it is quoted: others' text, so not all of it.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}
