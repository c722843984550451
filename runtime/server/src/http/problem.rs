//! Answers of the API: JSON, and problems in words (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use store::directory::people::PeopleError;
use store::error::StoreError;

/// An answer of the API. Nothing of it is kept on the way.
pub struct Answer {
    status: StatusCode,
    body: Option<Value>,
    headers: Vec<(header::HeaderName, String)>,
}

impl Answer {
    /// A value.
    pub fn json(status: StatusCode, body: Value) -> Answer {
        Answer { status, body: Some(body), headers: Vec::new() }
    }

    /// Done, and nothing to say.
    pub fn done() -> Answer {
        Answer { status: StatusCode::NO_CONTENT, body: None, headers: Vec::new() }
    }

    /// A problem with more to say of it (RFC 9457 §3.2).
    #[must_use]
    pub fn and(mut self, member: &str, value: Value) -> Answer {
        if let Some(body) = self.body.as_mut().and_then(Value::as_object_mut) {
            body.insert(member.to_owned(), value);
        }
        self
    }

    /// With a header field; one that cannot be sent is left out.
    #[must_use]
    pub fn with(mut self, name: header::HeaderName, value: String) -> Answer {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let kind = match self.status.is_client_error() || self.status.is_server_error() {
            true => "application/problem+json",
            false => "application/json",
        };
        let mut response = match self.body {
            Some(body) => (self.status, [(header::CONTENT_TYPE, kind)], format!("{body}\n")).into_response(),
            None => self.status.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// What is wrong, and what to do about it.
pub fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("error");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    Answer::json(status, body)
}

/// What a store's error means to who asks.
pub fn unavailable(error: &StoreError) -> Answer {
    tracing::warn!(%error, "the API cannot answer");
    match error {
        StoreError::Full => problem(StatusCode::INSUFFICIENT_STORAGE, "the data store is full"),
        StoreError::Unavailable(_) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "the data store cannot be reached now, try again later")
        }
        StoreError::Corrupt { .. } | StoreError::Misconfigured(_) => {
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the data store cannot be used; the log says why")
        }
    }
}

impl From<PeopleError> for Answer {
    fn from(error: PeopleError) -> Answer {
        let conflict = |says: &str| problem(StatusCode::CONFLICT, says);
        match error {
            PeopleError::Store(error) => unavailable(&error),
            PeopleError::Nobody => problem(StatusCode::NOT_FOUND, "nobody has this address"),
            PeopleError::Missing => problem(StatusCode::NOT_FOUND, "there is none"),
            PeopleError::Taken(address) => conflict(&format!("`{address}` is somebody's already")),
            PeopleError::NameTaken => conflict("another script of the person is called so"),
            PeopleError::Active => conflict(
                "the script is active: `PATCH` it with `{\"isActive\": false}` first, or make another the active one",
            ),
            PeopleError::MailLies => conflict(
                "the mailbox of a former person lies at this address: take another, or say `\"takeOver\": true` where \
                 the new person is to have it",
            ),
            PeopleError::Changed => {
                problem(StatusCode::PRECONDITION_FAILED, "it was changed meanwhile: read it again, and try again")
            }
            PeopleError::TooMany { what, most } => conflict(&format!("a person has at most {most} {what}")),
            PeopleError::Confirmed => {
                conflict("there is a second factor already: remove it first, with `DELETE` on the same path")
            }
            PeopleError::WrongCode => {
                problem(StatusCode::UNPROCESSABLE_ENTITY, "the code is not the one of now, or was given before")
            }
        }
    }
}
