//! How people log in, the directories that they come from, and the keys of the API.

use super::{Class, Found, Part, Places, json, pairs, rest, v};
use crate::diagnostic::Path;
use schema::config::{ApiKey, Directory, RuntimeConfig};

/// Everything about who gets in.
pub fn access(found: &mut Found<'_>) {
    let (old, new) = (found.old, found.new);
    let (old, new) = (&old.artefacts.runtime, &new.artefacts.runtime);
    login(found, old, new);
    for (a, b) in pairs(&old.directories, &new.directories, |one| &one.name) {
        let side = |one: &Directory| (one.name.clone(), json(one));
        one(found, ("directory", "is asked no more"), (a.map(side), b.map(side)));
    }
    for (a, b) in pairs(&old.api_keys, &new.api_keys, |one| &one.name) {
        let side = |one: &ApiKey| (one.name.clone(), json(one));
        one(found, ("API key", "holds no more"), (a.map(side), b.map(side)));
    }
}

fn login(found: &mut Found<'_>, old: &RuntimeConfig, new: &RuntimeConfig) {
    let (a, b) = (&old.login, &new.login);
    let mut says = Vec::new();
    if a.own_passwords != b.own_passwords {
        says.push(match b.own_passwords {
            true => "people of the spec may have another password than the spec's, and those that they had count again"
                .to_owned(),
            false => {
                "people of the spec log in by the spec's passwords: those that they have in place of them count no more"
                    .to_owned()
            }
        });
    }
    if a.app_passwords != b.app_passwords {
        says.push(match b.app_passwords {
            true => "people may have passwords for single programs, and those that were made open again".to_owned(),
            false => "passwords for single programs that the API made open nothing any more".to_owned(),
        });
    }
    if a.password_least != b.password_least {
        says.push(format!(
            "a new password has at least {} characters instead of {}",
            v(b.password_least),
            v(a.password_least)
        ));
    }
    says.extend(rest(&json(a), &json(b), &["own-passwords", "app-passwords", "password-least"]));
    let at = Path::root().field("login");
    for says in says {
        found.note((Part::Policies, Class::Hot), "login", says, Places::both(&at, &at));
    }
}

/// Its name, and all that it says.
type Side = Option<(String, serde_json::Value)>;

/// A directory or a key: what it says is its own, and told by the names of what differs.
fn one(found: &mut Found<'_>, (what, gone): (&str, &str), sides: (Side, Side)) {
    let (name, says) = match sides {
        (None, None) => return,
        (Some((name, _)), None) => (name, vec![gone.to_owned()]),
        (None, Some((name, _))) => (name, vec!["is added".to_owned()]),
        (Some((_, a)), Some((name, b))) => {
            let changes = rest(&a, &b, &["name"]);
            (name, changes.iter().map(|says| format!("changes: {says}")).collect())
        }
    };
    for says in says {
        found.note((Part::Policies, Class::Hot), &name, format!("{what} {} {says}", v(&name)), Places::default());
    }
}
