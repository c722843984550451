//! `/api/v1/people`: people of the spec to look at, those of domains that say `people "api"` to make, change and remove,
//! and everybody's app passwords and second factors, with scripts and identities in [`owned`]. `docs/people.md` shows
//! each request.

use super::Facts;
use super::key::{bearer, may};
use super::problem::{Answer, problem, unavailable};
use crate::server::Server;
use crate::snapshot::Snapshot;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{delete, get, put};
use bytes::Bytes;
use schema::config::{Account, ApiKey};
use schema::name::{Address, DomainName};
use schema::spec::Permission;
use schema::unit::Size;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use store::directory::people::{AppPassword, Entry, Kept, NAME_MOST, PAGE_MOST, People, Print, Secrets, Update, Whom};
use store::directory::{Access, Person, Scope, Target, totp};
use store::password::PASSWORD_MOST;
use tracing::info;

mod owned;

type Answered = Result<Answer, Answer>;

/// What is answered under `/api/v1/people`.
pub fn routes() -> Router<Facts> {
    Router::new()
        .route("/api/v1/people", get(list).post(create))
        .route("/api/v1/people/{address}", get(show).patch(update).delete(remove))
        .route("/api/v1/people/{address}/password", put(set_password).delete(remove_password))
        .route("/api/v1/people/{address}/app-passwords", get(app_passwords).post(add_app_password))
        .route("/api/v1/people/{address}/app-passwords/{id}", delete(remove_app_password))
        .route("/api/v1/people/{address}/totp", put(confirm_totp).post(begin_totp).delete(remove_totp))
        .merge(owned::routes())
}

/// A request of a key that holds.
struct Asked {
    server: Arc<Server>,
    snapshot: Arc<Snapshot>,
    key: ApiKey,
    headers: HeaderMap,
}

/// Somebody that a request is about.
struct Somebody {
    address: Address,
    by: Keeper,
    entry: Entry,
}

/// Who keeps somebody.
enum Keeper {
    /// The spec, in this account.
    Spec(Account),
    /// The API.
    Api,
    /// The directory of the domain.
    Directory(Arc<Person>),
}

impl Somebody {
    /// To be changed, if it is what this stamp says.
    fn whom(&self, stamp: Option<u64>) -> Whom<'_> {
        Whom { account: &self.address, kept: matches!(self.by, Keeper::Api), stamp }
    }
}

/// A body, whole.
struct Sent(Bytes);

impl FromRequest<Facts> for Sent {
    type Rejection = Answer;

    async fn from_request(request: Request, facts: &Facts) -> Result<Sent, Answer> {
        Bytes::from_request(request, facts).await.map(Sent).map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than this request may have")
            }
            _ => problem(StatusCode::BAD_REQUEST, "the body ended too early"),
        })
    }
}

/// Before anything else of a request is read: who has no key learns nothing of what is wrong with the rest.
impl FromRequestParts<Facts> for Asked {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, facts: &Facts) -> Result<Asked, Answer> {
        let key = bearer(&facts.server, &parts.headers, facts.connection.peer).await?;
        let server = Arc::clone(&facts.server);
        Ok(Asked { snapshot: server.live.now(), server, key, headers: parts.headers.clone() })
    }
}

impl Asked {
    fn people(&self) -> &People {
        self.snapshot.directory.people()
    }

    /// Whoever has this address, where the key may do this there.
    async fn somebody(&self, address: &str, permission: Permission) -> Result<Somebody, Answer> {
        let address = parsed(address)?;
        may(&self.key, permission, &address.domain)?;
        let directory = &self.snapshot.directory;
        let entry = self.people().entry(&address).await.map_err(|error| unavailable(&error))?;
        let by = match directory.account_of_spec(&address) {
            Some(account) => Some(Keeper::Spec(account.clone())),
            None if directory.is_by_api(&address.domain) => entry.kept.as_ref().map(|_| Keeper::Api),
            None => {
                let person = directory.person_elsewhere(&address).await.map_err(|error| unavailable(&error))?;
                person.map(Keeper::Directory)
            }
        };
        let says = match self.snapshot.domain(&address.domain) {
            None => format!("no domain of the spec is called `{}`", address.domain),
            Some(_) => format!("nobody's own address is `{address}`"),
        };
        let by = by.ok_or_else(|| problem(StatusCode::NOT_FOUND, &says))?;
        Ok(Somebody { address, by, entry })
    }

    /// The same, if the API keeps the person.
    async fn kept(&self, address: &str, permission: Permission) -> Result<Somebody, Answer> {
        let somebody = self.somebody(address, permission).await?;
        match somebody.by {
            Keeper::Api => Ok(somebody),
            Keeper::Spec(_) => Err(of_the_spec(&somebody.address)),
            Keeper::Directory(_) => Err(of_a_directory(&somebody.address)),
        }
    }

    /// The same, if the person may have app passwords and a second factor made here.
    async fn owner(&self, address: &str) -> Result<Somebody, Answer> {
        let somebody = self.somebody(address, Permission::SetPasswords).await?;
        if !self.snapshot.config.login.app_passwords {
            return Err(problem(StatusCode::FORBIDDEN, "`login { app-passwords #false; }` of the spec forbids it"));
        }
        Ok(somebody)
    }

    /// What is to be changed, if it is still what `If-Match` says (RFC 9110 §13.1.1).
    fn whom<'a>(&self, somebody: &'a Somebody) -> Result<Whom<'a>, Answer> {
        let conditional = self.is_what_it_was(Some(self.etag(somebody)))?;
        Ok(somebody.whom(conditional.then_some(somebody.entry.stamp)))
    }

    /// Whether `If-Match` names something, which then is this.
    fn is_what_it_was(&self, etag: Option<String>) -> Result<bool, Answer> {
        let given = self.headers.get_all(header::IF_MATCH).iter();
        let mut tags = given.flat_map(|tags| tags.to_str().unwrap_or_default().split(',')).map(str::trim).peekable();
        let conditional = tags.peek().is_some();
        if conditional && !tags.any(|tag| etag.as_ref().is_some_and(|etag| tag == "*" || tag == etag)) {
            return Err(problem(StatusCode::PRECONDITION_FAILED, "it is not what `If-Match` names any more"));
        }
        Ok(conditional)
    }

    /// What a password of somebody of the spec would be in place of, if it may be.
    fn replaceable(&self, account: &Account) -> Result<Print, Answer> {
        let address = &account.address;
        let conflict = |says: String| problem(StatusCode::CONFLICT, &says);
        if !self.snapshot.config.login.own_passwords {
            return Err(conflict(format!(
                "the password of `{address}` is kept by the spec: change it there, or write `login {{ own-passwords; }}` \
                 there, which lets people have their own in place of it"
            )));
        }
        let says = match account.suspended {
            true => format!("`{address}` is suspended in the spec, so nobody logs in as it"),
            false => format!("the spec gives `{address}` no password, so there is none to have another in place of"),
        };
        Print::of(account).ok_or_else(|| conflict(says))
    }

    fn etag(&self, somebody: &Somebody) -> String {
        match somebody.by {
            Keeper::Spec(_) => format!("\"{}-{:016x}\"", self.snapshot.generation, somebody.entry.stamp),
            Keeper::Api | Keeper::Directory(_) => format!("\"{:016x}\"", somebody.entry.stamp),
        }
    }

    fn shown(&self, status: StatusCode, somebody: &Somebody) -> Answer {
        Answer::json(status, described(somebody)).with(header::ETAG, self.etag(somebody))
    }

    fn note(&self, address: &Address, what: &str) {
        info!(key = self.key.name, %address, "by the API: {what}");
    }

    /// Holds an address that is to become somebody's against the spec; the store holds it against the others.
    fn free(&self, address: &Address) -> Result<(), Answer> {
        may(&self.key, Permission::WritePeople, &address.domain)?;
        let directory = &self.snapshot.directory;
        if !directory.is_by_api(&address.domain) {
            let says = match self.snapshot.domain(&address.domain) {
                Some(_) => {
                    format!("the API keeps no people of {0}: write `people \"api\"` into its node", address.domain)
                }
                None => format!("no domain of the spec is called `{}`", address.domain),
            };
            return Err(problem(StatusCode::FORBIDDEN, &says));
        }
        if address.local.as_str().contains('+') {
            let says = format!("mail for `{address}` is for whoever has what stands before the `+`");
            return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, &says));
        }
        let roles = ["-bounces", "-owner", "-request"];
        let list = roles.iter().find_map(|role| address.local.as_str().strip_suffix(role)?.parse().ok());
        let list = list.and_then(|list| directory.of_spec(&Address::new(list, address.domain.clone())));
        if directory.of_spec(address).is_some() || matches!(list, Some(Target::List(_))) {
            return Err(problem(StatusCode::CONFLICT, &format!("`{address}` is an address of the spec")));
        }
        Ok(())
    }

    fn aliases(&self, given: &[String]) -> Result<Vec<Address>, Answer> {
        let free = |alias: &String| {
            let alias = parsed(alias)?;
            self.free(&alias).map(|()| alias)
        };
        given.iter().map(free).collect()
    }

    /// What is to be kept of a password or of a hash that was made elsewhere.
    async fn secrets(&self, password: Option<String>, hash: Option<String>) -> Result<Secrets, Answer> {
        let wrong = |says: &str| problem(StatusCode::UNPROCESSABLE_ENTITY, says);
        match (password, hash) {
            (Some(_), Some(_)) => Err(wrong("send `password` or `hash`, not both")),
            (None, None) => Ok(Secrets::default()),
            (None, Some(hash)) => Secrets::foreign(&hash).ok_or_else(|| {
                wrong("the hash has no form that is known: argon2, scrypt, PBKDF2, bcrypt, sha512-crypt, SSHA, SCRAM-SHA-256")
            }),
            (Some(password), None) => {
                let least = self.snapshot.config.login.password_least;
                if password.chars().count() < usize::try_from(least).unwrap_or(usize::MAX) {
                    return Err(wrong(&format!("a password has {least} characters at least: see `login` of the spec")));
                }
                if password.len() > PASSWORD_MOST || password.chars().any(char::is_control) {
                    return Err(wrong(&format!("a password has {PASSWORD_MOST} octets at most, and no control characters")));
                }
                Secrets::of_password(password).await.map_err(|error| unavailable(&error))
            }
        }
    }
}

fn of_the_spec(address: &Address) -> Answer {
    let (local, domain) = (&address.local, &address.domain);
    let says = format!(
        "`{address}` is kept by the spec: change the node `account \"{local}\"` of `domain \"{domain}\"` there, which the \
         API never does"
    );
    problem(StatusCode::CONFLICT, &says)
}

fn of_a_directory(address: &Address) -> Answer {
    problem(
        StatusCode::CONFLICT,
        &format!("`{address}` is kept by a directory, which the API only reads: change it there"),
    )
}

fn parsed(address: &str) -> Result<Address, Answer> {
    let wrong = |why| problem(StatusCode::UNPROCESSABLE_ENTITY, &format!("an address {why}"));
    address.parse().map_err(|why: schema::name::NameError| wrong(why.to_string()))
}

/// A body. What was sent is not repeated: it may hold a password.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        let says = error.to_string();
        let told = ["unknown field", "missing field", "duplicate field"].iter().any(|kind| says.starts_with(kind));
        let (line, column) = (error.line(), error.column());
        let says = if told {
            says
        } else {
            format!("the body is not JSON of the form that is wanted: line {line}, column {column}")
        };
        problem(StatusCode::BAD_REQUEST, &says)
    })
}

fn name(given: &str) -> Result<String, Answer> {
    let fits = given.len() <= NAME_MOST && !given.chars().any(char::is_control);
    let says = format!("a name has {NAME_MOST} octets at most, on one line");
    fits.then(|| given.to_owned()).ok_or_else(|| problem(StatusCode::UNPROCESSABLE_ENTITY, &says))
}

/// Octets as a number, or as in the spec: `"5GiB"`.
fn octets(given: &Value) -> Result<Option<u64>, Answer> {
    let octets = match given {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse::<Size>().ok().map(|size| size.0),
        other => other.as_u64(),
    };
    let octets = octets.filter(|octets| *octets > 0);
    let says = "a quota is a number of octets, or a text like \"5GiB\"";
    octets.map(Some).ok_or_else(|| problem(StatusCode::UNPROCESSABLE_ENTITY, says))
}

fn described(somebody: &Somebody) -> Value {
    let Somebody { address, by, entry } = somebody;
    let second = match &entry.totp {
        None => "none",
        Some(totp) if totp.confirmed => "on",
        Some(_) => "pending",
    };
    let kept = entry.kept.clone().unwrap_or_default();
    let (kept_by, name, aliases, quota) = match by {
        Keeper::Spec(account) => ("spec", &account.name, &account.aliases, account.quota.map(|size| size.0)),
        Keeper::Api => ("api", &kept.name, &kept.aliases, kept.quota),
        Keeper::Directory(person) => ("directory", &person.name, &person.aliases, person.quota),
    };
    let (has_password, suspended, own) = match by {
        Keeper::Spec(account) => {
            let own = Print::of(account).is_some_and(|given| entry.in_place_of(&given).is_some());
            (!account.credentials.is_empty(), account.suspended, own)
        }
        Keeper::Api => (kept.secrets.are_there(), kept.suspended, false),
        // Many say it only by letting somebody in.
        Keeper::Directory(_) => (true, false, false),
    };
    json!({
        "address": address, "name": name, "aliases": aliases, "quota": quota, "keptBy": kept_by, "suspended": suspended,
        "hasPassword": has_password, "ownPassword": own, "appPasswords": entry.app_passwords.len(),
        "secondFactor": second,
    })
}

#[derive(Deserialize)]
struct Paging {
    domain: DomainName,
    after: Option<Address>,
    limit: Option<usize>,
}

async fn list(asked: Asked, query: Result<Query<Paging>, QueryRejection>) -> Answered {
    let Ok(Query(Paging { domain, after, limit })) = query else {
        let says =
            "say which domain: `/api/v1/people?domain=example.org`, with `after=ADDRESS` and `limit=N` if wanted";
        return Err(problem(StatusCode::BAD_REQUEST, says));
    };
    may(&asked.key, Permission::ReadPeople, &domain)?;
    let most = limit.unwrap_or(100).clamp(1, PAGE_MOST);
    let snapshot = &asked.snapshot;
    if snapshot.domain(&domain).is_none() {
        return Err(problem(StatusCode::NOT_FOUND, &format!("no domain of the spec is called `{domain}`")));
    }
    let after = after.map(|after| after.local);
    let accounts = &snapshot.config.accounts;
    let start = accounts.partition_point(|one| after.as_ref().is_some_and(|after| one.address.local <= *after));
    let of_spec = accounts.iter().skip(start).filter(|one| one.address.domain == domain).take(most + 1);
    let (mut people, mut more) = (Vec::new(), false);
    for account in of_spec {
        let entry = asked.people().entry(&account.address).await.map_err(|error| unavailable(&error))?;
        people.push(Somebody { address: account.address.clone(), by: Keeper::Spec(account.clone()), entry });
    }
    if snapshot.directory.is_by_api(&domain) {
        let page = asked.people().page(&domain, after.as_ref(), most + 1).await;
        let page = page.map_err(|error| unavailable(&error))?;
        // Some of them may be behind people of the spec.
        more = page.len() > most;
        let kept = page.into_iter().filter(|(address, _)| snapshot.directory.account_of_spec(address).is_none());
        people.extend(kept.map(|(address, entry)| Somebody { address, by: Keeper::Api, entry }));
    }
    people.sort_by(|a, b| a.address.cmp(&b.address));
    let more = more || people.len() > most;
    people.truncate(most);
    let next = people.last().filter(|_| more).map(|last| last.address.clone());
    let people: Vec<Value> = people.iter().map(described).collect();
    Ok(Answer::json(StatusCode::OK, json!({ "people": people, "next": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewPerson {
    address: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    quota: Value,
    password: Option<String>,
    hash: Option<String>,
    #[serde(default)]
    suspended: bool,
    #[serde(default)]
    take_over: bool,
}

async fn create(asked: Asked, Sent(body): Sent) -> Answered {
    let given: NewPerson = read(&body)?;
    let address = parsed(&given.address)?;
    asked.free(&address)?;
    if given.password.is_some() || given.hash.is_some() {
        // Else whoever may make people could remove one and make it again with another password.
        may(&asked.key, Permission::SetPasswords, &address.domain)?;
    }
    let secrets = asked.secrets(given.password, given.hash).await?;
    let (aliases, quota) = (asked.aliases(&given.aliases)?, octets(&given.quota)?);
    let kept = Kept { name: name(&given.name)?, aliases, quota, secrets, suspended: given.suspended };
    let entry = asked.people().create(&address, kept, given.take_over).await?;
    asked.note(&address, "a person was made");
    let place = format!("/api/v1/people/{address}");
    let somebody = Somebody { address, by: Keeper::Api, entry };
    Ok(asked.shown(StatusCode::CREATED, &somebody).with(header::LOCATION, place))
}

async fn show(asked: Asked, Path(address): Path<String>) -> Answered {
    let somebody = asked.somebody(&address, Permission::ReadPeople).await?;
    Ok(asked.shown(StatusCode::OK, &somebody))
}

/// RFC 7396: what is absent stays, and `null` removes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Patch {
    #[serde(default, deserialize_with = "said")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "said")]
    aliases: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "said")]
    quota: Option<Value>,
    #[serde(default, deserialize_with = "said")]
    suspended: Option<Option<bool>>,
}

/// Tells `null` from nothing.
fn said<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

async fn update(asked: Asked, Path(address): Path<String>, Sent(body): Sent) -> Answered {
    let mut somebody = asked.kept(&address, Permission::WritePeople).await?;
    let given: Patch = read(&body)?;
    // Those that are there already may stay, even where a key could not make them.
    let own = somebody.entry.kept.as_ref().map(|kept| kept.aliases.clone()).unwrap_or_default();
    let aliases = given.aliases.map(Option::unwrap_or_default).map(|given| {
        let (old, new): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|alias| alias.parse().is_ok_and(|alias: Address| own.contains(&alias)));
        let old = old.iter().filter_map(|alias| alias.parse().ok());
        asked.aliases(&new).map(|new| old.chain(new).collect::<Vec<Address>>())
    });
    let update = Update {
        name: given.name.map(|given| name(&given.unwrap_or_default())).transpose()?,
        aliases: aliases.transpose()?,
        quota: given.quota.as_ref().map(octets).transpose()?,
        suspended: given.suspended.map(Option::unwrap_or_default),
    };
    somebody.entry = asked.people().update(asked.whom(&somebody)?, &update).await?;
    if update.suspended == Some(true) {
        asked.server.people.send_replace(());
    }
    asked.note(&somebody.address, "a person was changed");
    Ok(asked.shown(StatusCode::OK, &somebody))
}

async fn remove(asked: Asked, Path(address): Path<String>) -> Answered {
    let somebody = asked.kept(&address, Permission::WritePeople).await?;
    asked.people().remove(asked.whom(&somebody)?).await?;
    asked.server.people.send_replace(());
    asked.note(&somebody.address, "a person was removed; the mailbox stays");
    Ok(Answer::done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    password: Option<String>,
    hash: Option<String>,
}

async fn set_password(asked: Asked, Path(address): Path<String>, Sent(body): Sent) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let replaces = match &somebody.by {
        Keeper::Api => None,
        Keeper::Spec(account) => Some(asked.replaceable(account)?),
        Keeper::Directory(_) => return Err(of_a_directory(&somebody.address)),
    };
    let given: NewSecret = read(&body)?;
    let whom = asked.whom(&somebody)?;
    let secrets = asked.secrets(given.password, given.hash).await?;
    if !secrets.are_there() {
        return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, "send `password` or `hash`"));
    }
    match replaces {
        None => asked.people().set_secrets(whom, &secrets).await.map(drop)?,
        Some(replaces) => asked.people().set_own(whom, Some((&secrets, replaces))).await?,
    }
    asked.note(&somebody.address, "a password was set");
    Ok(Answer::done())
}

async fn remove_password(asked: Asked, Path(address): Path<String>) -> Answered {
    // Whatever the spec says of own passwords, those that there are can be taken back.
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    if matches!(somebody.by, Keeper::Api) {
        let says = "who is kept by the API has no other password to go back to: set one, or say `\"suspended\": true`";
        return Err(problem(StatusCode::CONFLICT, says));
    }
    if somebody.entry.own.is_none() {
        return Err(problem(StatusCode::NOT_FOUND, "there is none in place of the spec's"));
    }
    asked.people().set_own(asked.whom(&somebody)?, None).await?;
    asked.note(&somebody.address, "the spec's password is the one again");
    Ok(Answer::done())
}

fn app_password(one: &AppPassword) -> Value {
    let scope: Vec<&str> = Access::ALL.into_iter().filter(|one_of| one.scope.has(*one_of)).map(Access::name).collect();
    let id = format!("{:016x}", one.id);
    json!({ "id": id, "name": one.name, "scope": scope, "made": moment(one.made), "until": one.until.map(moment) })
}

fn moment(milliseconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(milliseconds.div_euclid(1000)).ok().map(|moment| moment.to_string())
}

async fn app_passwords(asked: Asked, Path(address): Path<String>) -> Answered {
    let somebody = asked.somebody(&address, Permission::ReadPeople).await?;
    let all: Vec<Value> = somebody.entry.app_passwords.iter().map(app_password).collect();
    let answer = Answer::json(StatusCode::OK, json!({ "appPasswords": all }));
    Ok(answer.with(header::ETAG, asked.etag(&somebody)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAppPassword {
    name: String,
    scope: Vec<String>,
    until: Option<String>,
}

async fn add_app_password(asked: Asked, Path(address): Path<String>, Sent(body): Sent) -> Answered {
    let somebody = asked.owner(&address).await?;
    let given: NewAppPassword = read(&body)?;
    let wrong = |says: &str| problem(StatusCode::UNPROCESSABLE_ENTITY, says);
    let service = |text: &String| Access::ALL.into_iter().find(|one| one.name() == text);
    let scope: Option<Vec<Access>> = given.scope.iter().map(service).collect();
    let known = Access::ALL.map(Access::name).join(", ");
    let scope = scope.filter(|scope| !scope.is_empty()).ok_or_else(|| wrong(&format!("`scope` is some of {known}")))?;
    let until = given.until.map(|until| until.parse::<jiff::Timestamp>()).transpose();
    let until = until.map_err(|_| wrong("`until` is a moment like \"2027-03-01T00:00:00Z\" (RFC 3339)"))?;
    let until = until.map(jiff::Timestamp::as_millisecond);
    let (name, scope) = (name(&given.name)?, Scope::of(scope));
    let (made, shown) = asked.people().add_app_password(asked.whom(&somebody)?, &name, (scope, until)).await?;
    asked.note(&somebody.address, "an app password was made");
    let mut told = app_password(&made);
    if let Some(told) = told.as_object_mut() {
        told.insert("password".to_owned(), shown.into());
    }
    Ok(Answer::json(StatusCode::CREATED, told))
}

async fn remove_app_password(asked: Asked, Path((address, id)): Path<(String, String)>) -> Answered {
    // Whatever the spec says of app passwords, those that there are can be taken back.
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let id = u64::from_str_radix(&id, 16).map_err(|_| problem(StatusCode::NOT_FOUND, "there is none"))?;
    asked.people().remove_app_password(asked.whom(&somebody)?, id).await?;
    asked.note(&somebody.address, "an app password was removed");
    Ok(Answer::done())
}

async fn begin_totp(asked: Asked, Path(address): Path<String>) -> Answered {
    let somebody = asked.owner(&address).await?;
    let secret = asked.people().begin_totp(asked.whom(&somebody)?).await?;
    asked.note(&somebody.address, "a second factor was begun");
    let uri = totp::uri(&secret, asked.snapshot.host.name.as_str(), &somebody.address.to_string());
    Ok(Answer::json(StatusCode::CREATED, json!({ "uri": uri })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

async fn confirm_totp(asked: Asked, Path(address): Path<String>, Sent(body): Sent) -> Answered {
    let somebody = asked.owner(&address).await?;
    let Code { code } = read(&body)?;
    asked.people().take_code(asked.whom(&somebody)?, &code).await?;
    asked.note(&somebody.address, "a second factor was confirmed");
    Ok(Answer::done())
}

async fn remove_totp(asked: Asked, Path(address): Path<String>) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    asked.people().remove_totp(asked.whom(&somebody)?).await?;
    asked.note(&somebody.address, "a second factor was removed");
    Ok(Answer::done())
}

/// A key that was sent in clear over a network.
pub async fn in_clear() -> Answer {
    let says = "the API is served over https only; a key that was sent here has been seen on the way: change it";
    problem(StatusCode::FORBIDDEN, says)
}
