//! Dovecot: people in a passwd-file, and what `doveconf -n` prints.

use super::facts::{Facts, Place, Sort};
use super::{ImportError, password, text_of};
use std::path::Path;

/// How deep sections of the configuration may nest.
const DEEPEST: usize = 32;

/// Takes people: `user:{SCHEME}hash:uid:gid:gecos:home:shell:extra`.
pub fn users(path: &Path, usual: Option<&str>, facts: &mut Facts) -> Result<(), ImportError> {
    let mut count = 0;
    for line in text_of(path)?.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut fields = line.splitn(8, ':');
        let user = fields.next().unwrap_or_default();
        let secret = fields.next().unwrap_or_default();
        let gecos = fields.nth(2).unwrap_or_default().split(',').next().unwrap_or_default();
        let extra = fields.nth(2).unwrap_or_default();
        let Some(address) = facts.address_at_home(user) else { continue };
        if facts.account(&address).is_none() {
            continue;
        }
        count += 1;
        password::give(facts, &address, secret, Some(usual.unwrap_or("CRYPT")));
        facts.name(&address, gecos);
        for field in extra.split_whitespace() {
            let Some((name, value)) = field.split_once('=') else {
                if field == "nopassword" {
                    facts.note(Place::Person(address.clone()), Sort::Left, "nopassword: any password was right");
                }
                continue;
            };
            match name.strip_prefix("userdb_").unwrap_or(name) {
                "quota_rule" => match rule(value) {
                    Some(octets) => facts.quota(&address, octets),
                    None => facts.note(Place::Person(address.clone()), Sort::Left, format!("the quota rule {value}")),
                },
                "quota_storage_size" => match size(value, 1) {
                    Some(octets) => facts.quota(&address, octets),
                    None => facts.note(Place::Person(address.clone()), Sort::Left, format!("the quota {value}")),
                },
                "mail" | "home" | "uid" | "gid" | "mail_path" => {}
                other => facts.left(format!("Dovecot's extra field {other} of people")),
            }
        }
    }
    facts.took("people of Dovecot", count);
    Ok(())
}

/// `*:storage=1G`, `*:bytes=…`: what all folders together may hold, in octets.
fn rule(text: &str) -> Option<u64> {
    let (of, limits) = text.split_once(':')?;
    if of != "*" {
        return None;
    }
    limits.split(':').find_map(|limit| match limit.split_once('=')? {
        ("storage", text) => size(text, 1024),
        ("bytes", text) => size(text, 1),
        _ => None,
    })
}

/// `1G`, in octets; `unit` is that of a bare number.
pub fn size(text: &str, unit: u64) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let suffix = suffix.trim().to_ascii_lowercase();
    let factor = match suffix.trim_end_matches('b').trim_end_matches('i') {
        "" if suffix.is_empty() => unit,
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Takes what `doveconf -n` prints: protocols, their ports, quotas for all.
pub fn config(path: &Path, facts: &mut Facts) -> Result<(), ImportError> {
    let text = text_of(path)?;
    let mut within: Vec<String> = Vec::new();
    let mut protocols: Vec<String> = Vec::new();
    let mut ports: Vec<(String, u16)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_suffix('{') {
            if within.len() == DEEPEST {
                return Err(ImportError::form(path, "sections nest too deeply"));
            }
            within.push(name.trim().to_owned());
        } else if line == "}" {
            within.pop();
        } else if let Some((name, value)) = line.split_once('=') {
            let (name, value) = (name.trim(), value.trim());
            let section = within.last().map_or("", String::as_str);
            match (section.split(' ').next().unwrap_or_default(), name) {
                ("", "protocols") => protocols = value.split_whitespace().map(str::to_owned).collect(),
                ("inet_listener", "port") => {
                    let service = section.split_whitespace().nth(1).unwrap_or_default();
                    if let Ok(port) = value.parse() {
                        ports.push((service.to_owned(), port));
                    }
                }
                ("plugin", "quota_rule") => common_quota(rule(value), value, facts),
                ("" | "quota", "quota_storage_size") => common_quota(size(value, 1), value, facts),
                ("", "ssl_cert" | "ssl_key" | "ssl_server_cert_file" | "ssl_server_key_file") => {
                    // In place of `<file` there may be the key itself.
                    let file = value.strip_prefix('<').unwrap_or_default();
                    facts.left(format!("Dovecot's {name} {file}: write `certificate` in the host's `tls`"));
                }
                ("plugin", _) => facts.left(format!("Dovecot's plugin setting {name}")),
                _ => {}
            }
        }
    }
    listeners(&protocols, &ports, facts);
    facts.took("Dovecot protocols", protocols.len());
    Ok(())
}

fn common_quota(octets: Option<u64>, written: &str, facts: &mut Facts) {
    let Some(octets) = octets.filter(|octets| *octets > 0) else {
        facts.left(format!("Dovecot's quota {written}"));
        return;
    };
    facts.common_quota = Some(octets);
}

fn listeners(protocols: &[String], ports: &[(String, u16)], facts: &mut Facts) {
    let services: [(&str, &str, &'static str, u16); 5] = [
        ("imap", "imap", "imap", 143),
        ("imap", "imaps", "imaps", 993),
        ("pop3", "pop3", "pop3", 110),
        ("pop3", "pop3s", "pop3s", 995),
        ("sieve", "sieve", "managesieve", 4190),
    ];
    for (protocol, listener, service, usual) in services {
        if !protocols.iter().any(|one| one == protocol) {
            continue;
        }
        let said = ports.iter().filter(|(name, _)| name == listener).map(|(_, port)| *port).collect::<Vec<_>>();
        // Dovecot's port 0 turns a listener off.
        let said = if said.is_empty() { vec![usual] } else { said };
        facts.own.listen.entry(service).or_default().extend(said.into_iter().filter(|port| *port > 0));
    }
    facts.own.listen.retain(|_, ports| !ports.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_rules_are_octets() {
        for (text, want) in [
            ("*:storage=1G", Some(1 << 30)),
            ("*:storage=512", Some(512 << 10)),
            ("*:bytes=1000", Some(1000)),
            ("*:messages=5:storage=2M", Some(2 << 20)),
            ("*:storage=10%", None),
            ("Trash:storage=+10M", None),
            ("*:storage=99999999999999999999", None),
            ("*:storage=18014398509481984k", None),
        ] {
            assert_eq!(rule(text), want, "{text}");
        }
        assert_eq!(size("5GiB", 1), Some(5 << 30));
        assert_eq!(size("5 GB", 1), Some(5 << 30));
        assert_eq!(size("7B", 1024), Some(7));
    }
}
