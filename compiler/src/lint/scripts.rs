//! Sieve scripts of the spec (RFC 5228): each is read and held against what its commands take, and what is wrong is
//! told in the script itself.

use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::locate::{File, Located, Place};
use crate::read::files::Sources;
use crate::resolve::Resolved;
use mail::sieve::{self, Capabilities, Capability, Kind, SCRIPT_MOST};
use schema::name::Address;
use schema::spec::Spec;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Redirects of a script that are looked at.
const REDIRECTS_MOST: usize = 100;

/// Who runs a script.
struct Use {
    /// Where it is named.
    at: Path,
    /// The person that it runs for; `None`: several.
    person: Option<Address>,
}

/// Reads and checks every script that the spec names, each once; its file joins those that findings can lie in.
pub fn lint(spec: &Spec, sources: &Sources, located: &mut Located, report: &mut Report) -> Vec<Redirect> {
    let offered = offered(spec, report);
    let mut redirects = Vec::new();
    for (name, uses) in named(spec) {
        let first = uses.first().map_or_else(Path::root, |one| one.at.clone());
        let text = match sources.text(&name) {
            Ok(text) if text.len() <= SCRIPT_MOST => text,
            Ok(_) => {
                let says = format!("`{name}` has more than the {SCRIPT_MOST} octets of a script");
                report.find(Code::ScriptLimit, first, says).help("take long lists out of it");
                continue;
            }
            Err(why) => {
                report
                    .find(Code::ScriptAway, first, format!("the script `{name}` {why}"))
                    .help("write the script into the spec's folder, or take the node out");
                continue;
            }
        };
        let file = located.files.len();
        for problem in sieve::check(&text, &offered) {
            let place = Place { file, span: problem.span };
            let says = format!("{} ({})", problem.says, problem.section);
            let found = report.find(code(problem.kind), first.clone(), says);
            found.place = Some(place);
            if !problem.help.is_empty() {
                found.help(problem.help);
            }
        }
        let people = uses.iter().filter_map(|one| Some((one.at.clone(), one.person.clone()?)));
        let people: Rc<[_]> = people.collect();
        let (script, _) = sieve::parse(&text);
        for target in script.redirects().into_iter().take(REDIRECTS_MOST) {
            let address = sieve::value::mailbox(&target.value).and_then(|address| address.parse::<Address>().ok());
            let place = Place { file, span: target.span.clone() };
            redirects.extend(address.map(|to| Redirect { to, place, people: people.clone() }));
        }
        located.files.push(File::script(name, text));
    }
    redirects
}

/// Where a script sends mail on.
pub struct Redirect {
    to: Address,
    place: Place,
    /// Whose script it is, and where that is written.
    people: Rc<[(Path, Address)]>,
}

/// Mail that a person's script sends back to the person.
pub fn loops(redirects: &[Redirect], resolved: &Resolved, report: &mut Report) {
    let accounts = &resolved.people.accounts;
    let account = |address: &Address| accounts.binary_search_by(|one| one.address.cmp(address)).ok();
    for redirect in redirects {
        let Some(owned) = resolved.people.owner_of(&redirect.to) else { continue };
        let is_own = |person: &Address| {
            let account = account(person).and_then(|at| accounts.get(at));
            *person == owned || account.is_some_and(|account| account.aliases.contains(&owned))
        };
        if let Some((at, person)) = redirect.people.iter().find(|(_, person)| is_own(person)) {
            let says = format!("the script of `{person}` sends mail on to `{}`, where it runs again", redirect.to);
            let found = report.find(Code::ScriptLoops, at.clone(), says);
            found.place = Some(redirect.place.clone());
            found.also(at.clone(), "the script is named here").help("write `keep;` for the person's own mailbox");
        }
    }
}

/// What scripts may use: what the server has, without what the spec takes away.
fn offered(spec: &Spec, report: &mut Report) -> Capabilities {
    let mut offered = Capabilities::all();
    let without = spec.sieve.iter().flat_map(|sieve| &sieve.without).enumerate();
    for (at, name) in without {
        match Capability::named(name) {
            Some(capability) => offered = offered.without(capability),
            None => {
                let path = Path::root().field("sieve").field("without").item(at);
                let help = crate::diagnostic::nearest(name, Capability::ALL.iter().map(|known| known.name()));
                let found = report.find(Code::WrongForm, path, format!("`{name}` is no extension of Sieve"));
                found.help(help.unwrap_or_else(|| "as in `enotify`".to_owned()));
            }
        }
    }
    offered
}

/// Every script by its file, with who runs it.
fn named(spec: &Spec) -> BTreeMap<String, Vec<Use>> {
    let mut found: BTreeMap<String, Vec<Use>> = BTreeMap::new();
    let mut note = |name: String, at: Path, person| found.entry(name).or_default().push(Use { at, person });
    let whole = Path::root().field("sieve");
    if let Some(sieve) = &spec.sieve {
        for (list, names) in [("before", &sieve.before), ("after", &sieve.after)] {
            for (at, name) in names.iter().enumerate() {
                note(name.to_string(), whole.field(list).item(at), None);
            }
        }
    }
    let common = spec.defaults.as_ref().and_then(|defaults| defaults.domain.as_ref()?.sieve.as_ref());
    if let Some(name) = common {
        note(name.to_string(), Path::root().field("defaults").field("domain").field("sieve"), None);
    }
    for (at, domain) in spec.domain.iter().enumerate() {
        let place = Path::root().field("domain").item(at);
        if let Some(name) = &domain.sieve {
            note(name.to_string(), place.field("sieve"), None);
        }
        for (at, account) in domain.account.iter().enumerate() {
            let person = || Address::new(account.local.clone(), domain.name.clone());
            if let Some(name) = &account.sieve {
                note(name.to_string(), place.field("account").item(at).field("sieve"), Some(person()));
            }
        }
    }
    found
}

fn code(kind: Kind) -> Code {
    match kind {
        Kind::Syntax => Code::ScriptSyntax,
        Kind::Unknown => Code::ScriptUnknown,
        Kind::Argument => Code::ScriptArgument,
        Kind::Value => Code::ScriptValue,
        Kind::NotOffered => Code::ScriptNotOffered,
        Kind::NotRequired => Code::ScriptNotRequired,
        Kind::Order => Code::ScriptOrder,
        Kind::Limit => Code::ScriptLimit,
        Kind::Unreachable => Code::ScriptUnreachable,
        Kind::NoEffect => Code::ScriptNoEffect,
        Kind::Doubtful => Code::ScriptDoubtful,
    }
}
