//! Password hashes of other servers, as a spec has them. A hash that Waybill cannot check is not written, and a plain
//! password never is.

use super::facts::{Facts, Place, Sort};
use crate::resolve::credential::{Worth, judge};
use schema::name::Address;
use schema::spec::Credential;

/// The longest hash that is looked at, in octets.
const LONGEST: usize = 1024;

/// Gives a person what it logs in with, from a text as `{SCHEME}hash`, or a bare hash.
pub fn give(facts: &mut Facts, address: &Address, text: &str, usual: Option<&str>) {
    let text = text.trim();
    if text.is_empty() || matches!(text, "*" | "!" | "!!" | "x") {
        return;
    }
    match credential(text, usual) {
        Ok(credential) => {
            if let Some(account) = facts.account(address)
                && !account.credentials.contains(&credential)
            {
                account.credentials.push(credential);
            }
        }
        Err(why) => facts.note(Place::Person(address.clone()), Sort::Left, format!("the password: {why}")),
    }
}

/// What a text is as a credential; else why it is none, without a word of it but the scheme's name.
fn credential(text: &str, usual: Option<&str>) -> Result<Credential, String> {
    if text.len() > LONGEST {
        return Err("it is too long for a hash".to_owned());
    }
    let braced = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let (scheme, hash) = match braced {
        Some((scheme, hash)) if scheme.len() <= 24 => (scheme.to_ascii_uppercase(), hash),
        _ => (usual.unwrap_or_default().to_ascii_uppercase(), text),
    };
    if scheme == "SCRAM-SHA-256" {
        return scram(hash).ok_or_else(|| "it is no SCRAM verifier of 4096 iterations or more".to_owned());
    }
    if matches!(scheme.as_str(), "PLAIN" | "CLEARTEXT" | "CLEAR") {
        return Err("it is stored as it is, and a spec never holds that; write a hash of it".to_owned());
    }
    if scheme.is_empty() && !hash.starts_with('$') {
        return Err("it is no hash that is known, and may be the password itself".to_owned());
    }
    let credential = Credential::Hash(hash.to_owned());
    let printable = hash.chars().all(|c| c.is_ascii_graphic());
    match judge(&credential) {
        Worth::Good | Worth::Weak(_) if printable => Ok(credential),
        Worth::Unknown(why) if scheme.is_empty() || hash.starts_with('$') => Err(format!("it is {why}")),
        _ => {
            let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            let scheme: String = scheme.chars().filter(|c| known(*c)).collect();
            Err(format!("{scheme} is a scheme that Waybill does not check; set a new one"))
        }
    }
}

/// Dovecot's `iterations,salt,stored,server`.
fn scram(text: &str) -> Option<Credential> {
    let parts: Vec<&str> = text.split(',').collect();
    let [iterations, salt, stored, server] = parts.as_slice() else { return None };
    let verifier = Credential::Scram(format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}"));
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=,".contains(c));
    (plain && matches!(judge(&verifier), Worth::Good)).then_some(verifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_taken_and_nothing_else() {
        let sha512 = format!("$6$rounds=5000$abcdefgh${}", "x".repeat(86));
        let bcrypt = format!("$2y$10${}", "y".repeat(53));
        let argon2 = "$argon2id$v=19$m=65536,t=3,p=1$c2l4dGVlbiBvY3RldHMh$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (text, usual) in [
            (format!("{{SHA512-CRYPT}}{sha512}"), None),
            (format!("{{CRYPT}}{sha512}"), None),
            (sha512.clone(), Some("crypt")),
            (sha512, None),
            (format!("{{BLF-CRYPT}}{bcrypt}"), None),
            (format!("{{ARGON2ID}}{argon2}"), None),
        ] {
            let got = credential(&text, usual);
            assert!(matches!(&got, Ok(Credential::Hash(hash)) if text.ends_with(hash.as_str())), "{text} {got:?}");
        }
        let b64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let got = credential(&format!("{{SCRAM-SHA-256}}4096,c2FsdA==,{b64},{b64}"), None);
        assert_eq!(got, Ok(Credential::Scram(format!("SCRAM-SHA-256$4096:c2FsdA==${b64}:{b64}"))));
        for text in [
            "hunter2",
            "{PLAIN}hunter2",
            "{SSHA256}aHVudGVyMg==",
            "{PBKDF2}$1$hunter2$5000$00",
            "{SHA512-CRYPT}hunter2",
            "{MD5-CRYPT}$1$hunter2$x",
            "{SCRAM-SHA-256}1,hunter2,a,b",
            "{hunter2",
            "$2y$hunter2",
        ] {
            let why = credential(text, None).expect_err(text);
            assert!(!why.contains("hunter2"), "{text}: {why}");
        }
    }
}
