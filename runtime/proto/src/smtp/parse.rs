//! A command line to a command, or to the reply that says what is wrong with it.

use super::types::{MailParams, Notify, Path, RcptParams, Reply, Ret};

/// RFC 5321 §4.1.1 and extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO, or HELO where `esmtp` is false.
    Hello {
        /// What the client calls itself.
        name: String,
        /// EHLO.
        esmtp: bool,
    },
    /// MAIL.
    Mail(Path, MailParams),
    /// RCPT.
    Rcpt(Path, RcptParams),
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// Octets that follow.
        size: u64,
        /// Whether they are the last.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954), with the initial response still in base64.
    Auth {
        /// The mechanism's name as given.
        mechanism: String,
        /// Base64, or `=` for an empty one.
        initial: Option<String>,
    },
}

fn syntax(text: &str) -> Reply {
    Reply::new(501, Some((5, 5, 4)), text)
}

/// Reads a line without its CRLF.
///
/// # Errors
/// The reply to send.
pub fn command(line: &str) -> Result<Command, Reply> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_end_matches([' ', '\t']);
    let bare = |command: Command| match rest.is_empty() {
        true => Ok(command),
        false => Err(syntax("this command takes no parameter")),
    };
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => hello(rest, true),
        "HELO" => hello(rest, false),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => bare(Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => bare(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "QUIT" => bare(Command::Quit),
        "VRFY" if rest.is_empty() => Err(syntax("VRFY wants a name")),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" => Ok(Command::Expn),
        "HELP" => Ok(Command::Help),
        "STARTTLS" => bare(Command::StartTls),
        "AUTH" => auth(rest),
        _ => Err(Reply::new(500, Some((5, 5, 2)), "command not recognised")),
    }
}

fn hello(rest: &str, esmtp: bool) -> Result<Command, Reply> {
    let name = rest.split(' ').next().unwrap_or_default();
    // RFC 5321 §4.1.4 forbids to refuse a name for being wrong, but not for being no name: it goes into Received.
    let fine =
        !name.is_empty() && name.len() <= 255 && name.chars().all(|c| !c.is_control() && !"()<>\\\"".contains(c));
    match fine {
        true => Ok(Command::Hello { name: name.to_owned(), esmtp }),
        false => Err(syntax("a host name or address literal is wanted")),
    }
}

/// Splits `FROM:<path> params` behind its keyword.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<(Path, &'a str), Reply> {
    let wrong = || syntax(&format!("the form is {keyword}<address>"));
    let head = rest.get(..keyword.len()).filter(|head| head.eq_ignore_ascii_case(keyword)).ok_or_else(wrong)?;
    let inner = rest[head.len()..].trim_start_matches(' ').strip_prefix('<').ok_or_else(wrong)?;
    let end = closing(inner).ok_or_else(wrong)?;
    let (address, params) = (&inner[..end], &inner[end + 1..]);
    if !params.is_empty() && !params.starts_with(' ') {
        return Err(wrong());
    }
    // RFC 5321 §4.1.2, appendix C: a source route is read and dropped.
    let address = match address.starts_with('@') {
        true => address.split_once(':').map(|(_, last)| last).ok_or_else(wrong)?,
        false => address,
    };
    let read = Path::parse(address).ok_or_else(|| {
        Reply::new(553, Some((5, 1, if keyword.starts_with('F') { 7 } else { 3 })), "this is not a mail address")
    })?;
    Ok((read, params))
}

/// Where the `>` is that ends a path: not one in a quoted string.
fn closing(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn parameters(text: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    text.split(' ').filter(|one| !one.is_empty()).map(|one| match one.split_once('=') {
        Some((name, value)) => (name.to_ascii_uppercase(), Some(value)),
        None => (one.to_ascii_uppercase(), None),
    })
}

/// A parameter that is not known, or that has a wrong value.
fn unknown(name: &str) -> Reply {
    match name {
        "SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "NOTIFY" | "ORCPT" => {
            Reply::new(501, Some((5, 5, 4)), &format!("the parameter {name} cannot have this value here"))
        }
        _ => Reply::new(555, Some((5, 5, 4)), &format!("the parameter {name} is not known")),
    }
}

fn mail(rest: &str) -> Result<Command, Reply> {
    let (path, rest) = path(rest, "FROM:")?;
    let mut params = MailParams::default();
    let mut seen = Vec::new();
    for (name, value) in parameters(rest) {
        if seen.contains(&name) {
            return Err(syntax("a parameter stands twice"));
        }
        match (name.as_str(), value) {
            ("SIZE", Some(size)) if size.len() <= 20 && size.bytes().all(|octet| octet.is_ascii_digit()) => {
                params.size = Some(size.parse().unwrap_or(u64::MAX));
            }
            ("BODY", Some(body)) if body.eq_ignore_ascii_case("7BIT") => {}
            ("BODY", Some(body)) if body.eq_ignore_ascii_case("8BITMIME") => params.eight_bit = true,
            ("SMTPUTF8", None) => params.smtputf8 = true,
            ("RET", Some(ret)) if ret.eq_ignore_ascii_case("FULL") => params.ret = Some(Ret::Full),
            ("RET", Some(ret)) if ret.eq_ignore_ascii_case("HDRS") => params.ret = Some(Ret::Headers),
            ("ENVID", Some(envid)) if envid.len() <= 100 => {
                params.envid = Some(xtext(envid).ok_or_else(|| unknown("ENVID"))?);
            }
            // RFC 4954 §5: whom an earlier server logged in; we believe only our own logins.
            ("AUTH", Some(_)) => {}
            _ => return Err(unknown(&name)),
        }
        seen.push(name);
    }
    if !params.smtputf8 && !path.is_ascii() {
        return Err(Reply::new(553, Some((5, 6, 7)), "this address needs SMTPUTF8"));
    }
    if path == Path::Postmaster {
        return Err(syntax("a sender has a domain"));
    }
    Ok(Command::Mail(path, params))
}

fn rcpt(rest: &str) -> Result<Command, Reply> {
    let (path, rest) = path(rest, "TO:")?;
    if path == Path::Null {
        return Err(Reply::new(553, Some((5, 1, 3)), "a recipient cannot be empty"));
    }
    let mut params = RcptParams::default();
    for (name, value) in parameters(rest) {
        match (name.as_str(), value) {
            ("NOTIFY", Some(list)) if params.notify.is_none() => {
                params.notify = Some(notify(list).ok_or_else(|| unknown("NOTIFY"))?);
            }
            ("ORCPT", Some(text)) if params.orcpt.is_none() && text.len() <= 500 => {
                let original = text.split_once(';').and_then(|(kind, address)| {
                    let atom = !kind.is_empty() && kind.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
                    atom.then_some(())?;
                    Some((kind.to_owned(), xtext(address)?))
                });
                params.orcpt = Some(original.ok_or_else(|| unknown("ORCPT"))?);
            }
            _ => return Err(unknown(&name)),
        }
    }
    Ok(Command::Rcpt(path, params))
}

fn notify(list: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    if list.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for one in list.split(',') {
        match one.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// RFC 3461 §4: `+` and two hexadecimal digits are an octet.
fn xtext(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(octet) = rest.next() {
        match octet {
            b'+' => {
                let digit = |octet: &u8| char::from(*octet).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                octets.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'=' => return None,
            other => octets.push(*other),
        }
    }
    let text = String::from_utf8(octets).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn bdat(rest: &str) -> Result<Command, Reply> {
    let mut fields = rest.split(' ').filter(|field| !field.is_empty());
    let size = fields.next().filter(|size| size.len() <= 18 && size.bytes().all(|octet| octet.is_ascii_digit()));
    let size = size.and_then(|size| size.parse().ok());
    let last = match fields.next() {
        None => Some(false),
        Some(word) if word.eq_ignore_ascii_case("LAST") => Some(true),
        Some(_) => None,
    };
    match (size, last, fields.next()) {
        (Some(size), Some(last), None) => Ok(Command::Bdat { size, last }),
        _ => Err(syntax("the form is BDAT size [LAST]")),
    }
}

fn auth(rest: &str) -> Result<Command, Reply> {
    let mut fields = rest.split(' ').filter(|field| !field.is_empty());
    match (fields.next(), fields.next(), fields.next()) {
        (Some(mechanism), initial, None) => {
            Ok(Command::Auth { mechanism: mechanism.to_owned(), initial: initial.map(str::to_owned) })
        }
        _ => Err(syntax("the form is AUTH mechanism [initial response]")),
    }
}
