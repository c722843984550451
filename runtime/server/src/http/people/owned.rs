//! What people own beside their mail: Sieve scripts (as RFC 5804 and RFC 9661 have them) and identities (RFC 8621 §6).

use super::{Answered, Asked, Sent, Somebody, name, parsed, read};
use crate::http::Facts;
use crate::http::problem::{Answer, problem, unavailable};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use mail::sieve::{self, Capabilities, Problem, SCRIPT_MOST};
use schema::spec::Permission;
use serde::Deserialize;
use serde_json::{Value, json};
use store::directory::people::Whom;
use store::directory::people::owned::{COPIES_MOST, Identity, Named, SCRIPT_NAME_MOST, SIGNATURES_MOST, Script};

/// The largest body that says an identity: signatures escaped as JSON has it.
const IDENTITY_BODY_MOST: usize = 256 << 10;

pub(super) fn routes() -> Router<Facts> {
    let script = get(script).put(put_script).patch(change_script).delete(remove_script);
    let identity = get(identity).put(put_identity).delete(remove_identity);
    Router::new()
        .route("/api/v1/people/{address}/scripts", get(scripts))
        .route("/api/v1/people/{address}/scripts/{name}", script.layer(DefaultBodyLimit::max(SCRIPT_MOST)))
        .merge(
            Router::new()
                .route("/api/v1/people/{address}/identities", get(identities).post(add_identity))
                .route("/api/v1/people/{address}/identities/{id}", identity)
                .layer(DefaultBodyLimit::max(IDENTITY_BODY_MOST)),
        )
}

impl Asked {
    /// Whose something is changed, if that is still what `If-Match` says; `number` is what the store knows it by.
    fn of_whom<'a>(&self, somebody: &'a Somebody, number: Option<u64>) -> Result<Whom<'a>, Answer> {
        Ok(somebody.whom(self.is_what_it_was(number.map(tag))?.then_some(number).flatten()))
    }

    /// The script with a name, if there is one.
    async fn listed(&self, somebody: &Somebody, name: &str) -> Result<Option<Script>, Answer> {
        let scripts = self.people().scripts(&somebody.address).await.map_err(|error| unavailable(&error))?;
        Ok(scripts.into_iter().find(|one| one.name == name))
    }
}

fn tag(number: u64) -> String {
    format!("\"{number:016x}\"")
}

fn wrong(says: &str) -> Answer {
    problem(StatusCode::UNPROCESSABLE_ENTITY, says)
}

fn none() -> Answer {
    problem(StatusCode::NOT_FOUND, "there is none")
}

fn described(script: &Script) -> Value {
    let id = format!("{:016x}", script.id);
    json!({
        "id": id, "name": script.name, "isActive": script.active, "octets": script.octets,
        "changed": super::moment(script.changed),
    })
}

/// RFC 5804 §1.6: what a script may be called.
fn script_name(given: &str) -> Result<&str, Answer> {
    let strange = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let fits = (1..=SCRIPT_NAME_MOST).contains(&given.len()) && !given.chars().any(strange);
    let says = format!("a script's name has 1 to {SCRIPT_NAME_MOST} octets, on one line");
    fits.then_some(given).ok_or_else(|| wrong(&says))
}

async fn scripts(asked: Asked, Path(address): Path<String>) -> Answered {
    let somebody = asked.somebody(&address, Permission::ReadPeople).await?;
    let scripts = asked.people().scripts(&somebody.address).await.map_err(|error| unavailable(&error))?;
    let scripts: Vec<Value> = scripts.iter().map(described).collect();
    Ok(Answer::json(StatusCode::OK, json!({ "scripts": scripts })))
}

async fn script(asked: Asked, Path((address, name)): Path<(String, String)>) -> Result<Response, Answer> {
    // What somebody sorts out, and where it is sent on to, is nobody's who only reads lists.
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let found = asked.people().script(&somebody.address, &name).await.map_err(|error| unavailable(&error))?;
    let (script, text) = found.ok_or_else(none)?;
    let headers = [
        (header::CONTENT_TYPE, "application/sieve; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::ETAG, tag(script.text)),
    ];
    Ok((headers, text).into_response())
}

async fn put_script(asked: Asked, Path((address, name)): Path<(String, String)>, Sent(body): Sent) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let name = script_name(&name)?;
    let text = String::from_utf8(body.into()).map_err(|_| wrong("a script is UTF-8 (RFC 5228 §2.1)"))?;
    let checked = tokio::task::spawn_blocking(move || {
        let problems = sieve::check(&text, &Capabilities::all());
        let told: Vec<Value> = problems.iter().map(|problem| told(&text, problem)).collect();
        (text, problems.iter().all(|problem| problem.kind.is_warning()), told)
    });
    let Ok((text, runs, told)) = checked.await else {
        return Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "the script could not be checked"));
    };
    if !runs {
        return Err(wrong("the script cannot run: see `problems`").and("problems", told.into()));
    }
    let number = asked.listed(&somebody, name).await?.map(|one| one.text);
    let (script, is_new) = asked.people().put_script(asked.of_whom(&somebody, number)?, name, &text).await?;
    asked.note(&somebody.address, "a script was written");
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let answer = Answer::json(status, described(&script)).and("warnings", told.into());
    Ok(answer.with(header::ETAG, tag(script.text)))
}

/// A problem of a script, with the line and the column that it begins at, both from 1.
fn told(text: &str, problem: &Problem) -> Value {
    let before = text.get(..problem.span.start).unwrap_or(text);
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let line = before.matches('\n').count() + 1;
    json!({ "line": line, "column": column, "says": problem.says, "help": problem.help, "rule": problem.section })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ScriptPatch {
    name: Option<String>,
    is_active: Option<bool>,
}

async fn change_script(asked: Asked, Path((address, name)): Path<(String, String)>, Sent(body): Sent) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let given: ScriptPatch = read(&body)?;
    let renamed = given.name.as_deref().map(script_name).transpose()?;
    let number = asked.listed(&somebody, &name).await?.map(|one| one.text);
    let whom = asked.of_whom(&somebody, number)?;
    let script = asked.people().change_script(whom, &name, (renamed, given.is_active)).await?;
    asked.note(&somebody.address, "a script was changed");
    Ok(Answer::json(StatusCode::OK, described(&script)).with(header::ETAG, tag(script.text)))
}

async fn remove_script(asked: Asked, Path((address, name)): Path<(String, String)>) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let number = asked.listed(&somebody, &name).await?.map(|one| one.text);
    asked.people().remove_script(asked.of_whom(&somebody, number)?, &name).await?;
    asked.note(&somebody.address, "a script was removed");
    Ok(Answer::done())
}

fn shown((id, number, identity): &(u64, u64, Identity), status: StatusCode) -> Answer {
    Answer::json(status, said(*id, identity)).with(header::ETAG, tag(*number))
}

fn said(id: u64, identity: &Identity) -> Value {
    let named =
        |list: &[Named]| -> Value { list.iter().map(|one| json!({ "name": one.name, "email": one.email })).collect() };
    json!({
        "id": format!("{id:016x}"), "email": identity.email, "name": identity.name,
        "replyTo": named(&identity.reply_to), "bcc": named(&identity.bcc),
        "textSignature": identity.text_signature, "htmlSignature": identity.html_signature,
    })
}

/// An identity as it is sent: whole, but for what is empty.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Given {
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    reply_to: Vec<GivenNamed>,
    #[serde(default)]
    bcc: Vec<GivenNamed>,
    #[serde(default)]
    text_signature: String,
    #[serde(default)]
    html_signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenNamed {
    #[serde(default)]
    name: String,
    email: String,
}

/// An identity that somebody may write as.
async fn read_identity(asked: &Asked, somebody: &Somebody, body: &Bytes) -> Result<Identity, Answer> {
    let given: Given = read(body)?;
    let email = parsed(&given.email)?;
    let may = asked.snapshot.directory.may_send_as(&somebody.address, &email).await;
    if !may.map_err(|error| unavailable(&error))? {
        return Err(wrong(&format!("`{}` may not send as `{email}`", somebody.address)));
    }
    if given.text_signature.len() + given.html_signature.len() > SIGNATURES_MOST {
        return Err(wrong(&format!("both signatures together have {SIGNATURES_MOST} octets at most")));
    }
    let named = |list: Vec<GivenNamed>| {
        if list.len() > COPIES_MOST {
            return Err(wrong(&format!("`replyTo` and `bcc` name {COPIES_MOST} addresses at most")));
        }
        list.into_iter().map(|one| Ok(Named { name: name(&one.name)?, email: parsed(&one.email)? })).collect()
    };
    Ok(Identity {
        email,
        name: name(&given.name)?,
        reply_to: named(given.reply_to)?,
        bcc: named(given.bcc)?,
        text_signature: given.text_signature,
        html_signature: given.html_signature,
    })
}

/// The identity with this id, and how it is to be known again.
async fn known(asked: &Asked, somebody: &Somebody, id: &str) -> Result<(u64, u64, Identity), Answer> {
    let id = u64::from_str_radix(id, 16).map_err(|_| none())?;
    let all = asked.people().identities(&somebody.address).await.map_err(|error| unavailable(&error))?;
    all.into_iter().find(|one| one.0 == id).ok_or_else(none)
}

async fn identities(asked: Asked, Path(address): Path<String>) -> Answered {
    let somebody = asked.somebody(&address, Permission::ReadPeople).await?;
    let all = asked.people().identities(&somebody.address).await.map_err(|error| unavailable(&error))?;
    let all: Vec<Value> = all.iter().map(|(id, _, identity)| said(*id, identity)).collect();
    Ok(Answer::json(StatusCode::OK, json!({ "identities": all })))
}

async fn identity(asked: Asked, Path((address, id)): Path<(String, String)>) -> Answered {
    let somebody = asked.somebody(&address, Permission::ReadPeople).await?;
    Ok(shown(&known(&asked, &somebody, &id).await?, StatusCode::OK))
}

async fn add_identity(asked: Asked, Path(address): Path<String>, Sent(body): Sent) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let identity = read_identity(&asked, &somebody, &body).await?;
    let (id, number) = asked.people().put_identity(somebody.whom(None), None, &identity).await?;
    asked.note(&somebody.address, "an identity was made");
    let place = format!("/api/v1/people/{}/identities/{id:016x}", somebody.address);
    Ok(shown(&(id, number, identity), StatusCode::CREATED).with(header::LOCATION, place))
}

async fn put_identity(asked: Asked, Path((address, id)): Path<(String, String)>, Sent(body): Sent) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let (id, number, old) = known(&asked, &somebody, &id).await?;
    let identity = read_identity(&asked, &somebody, &body).await?;
    if identity.email != old.email {
        // RFC 8621 §6: programs know an identity by it.
        return Err(wrong("an identity keeps its `email`: make another one"));
    }
    let whom = asked.of_whom(&somebody, Some(number))?;
    let (id, number) = asked.people().put_identity(whom, Some(id), &identity).await?;
    asked.note(&somebody.address, "an identity was changed");
    Ok(shown(&(id, number, identity), StatusCode::OK))
}

async fn remove_identity(asked: Asked, Path((address, id)): Path<(String, String)>) -> Answered {
    let somebody = asked.somebody(&address, Permission::SetPasswords).await?;
    let (id, number, _) = known(&asked, &somebody, &id).await?;
    asked.people().remove_identity(asked.of_whom(&somebody, Some(number))?, id).await?;
    asked.note(&somebody.address, "an identity was removed");
    Ok(Answer::done())
}
