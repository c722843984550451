//! LDAP filters as people write them (RFC 4515), with `{}` and `{local}` for what is asked.

/// How deep a filter's parts may lie in each other.
const DEPTH_MOST: u32 = 30;

/// What is wrong with a filter, if anything is.
pub fn wrong(text: &str) -> Option<String> {
    match parse(text, 0) {
        Err(why) => Some(why),
        Ok(rest) if !rest.is_empty() => Some(format!("`{rest}` stands behind its end")),
        Ok(_) if !text.contains("{}") && !text.contains("{local}") => {
            Some("no `{}` says where what is asked goes".to_owned())
        }
        Ok(_) => None,
    }
}

/// Whether this names an attribute (RFC 4512 §2.5): a name or number, with options.
pub fn is_attribute(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(known)
}

/// Reads one filter in parentheses and returns what stands behind it.
fn parse(text: &str, depth: u32) -> Result<&str, String> {
    if depth > DEPTH_MOST {
        return Err(format!("its parts lie more than {DEPTH_MOST} deep in each other"));
    }
    let inner = text.strip_prefix('(').ok_or_else(|| format!("`(` is missing at `{}`", start(text)))?;
    let rest = match inner.chars().next() {
        Some('&' | '|') => {
            let mut rest = inner.get(1..).unwrap_or_default();
            while rest.starts_with('(') {
                rest = parse(rest, depth + 1)?;
            }
            rest
        }
        Some('!') => parse(inner.get(1..).unwrap_or_default(), depth + 1)?,
        _ => item(inner)?,
    };
    rest.strip_prefix(')').ok_or_else(|| format!("`)` is missing at `{}`", start(rest)))
}

/// An attribute, what is asked of it, and a value.
fn item(text: &str) -> Result<&str, String> {
    let at = text.find('=').ok_or_else(|| format!("`=` is missing at `{}`", start(text)))?;
    let (attribute, value) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
    // `:dn:1.2.3:=` asks by another rule (RFC 4515 §3).
    let extended = attribute.strip_suffix(':');
    let name = extended.unwrap_or_else(|| attribute.trim_end_matches(['~', '<', '>']));
    let mut parts = name.split(':');
    let first = parts.next().unwrap_or_default();
    let rules = parts.all(is_attribute) && (extended.is_some() || !name.contains(':'));
    if !(is_attribute(first) || (first.is_empty() && extended.is_some() && name.len() > 1)) || !rules {
        return Err(format!("`{}` is no attribute", start(attribute)));
    }
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        match c {
            ')' => break,
            '(' | '\0' => return Err(format!("`{}` must be written `\\{:02x}`", c.escape_default(), c as u32)),
            '\\' => {
                let escaped = rest.get(1..3).is_some_and(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
                if !escaped {
                    return Err("`\\` is followed by two hexadecimal digits".to_owned());
                }
                rest = rest.get(3..).unwrap_or_default();
            }
            _ => rest = rest.get(c.len_utf8()..).unwrap_or_default(),
        }
    }
    Ok(rest)
}

fn start(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_rfc_4515s() {
        for good in [
            "(mail={})",
            "(&(objectClass=inetOrgPerson)(|(mail={})(mailAlternateAddress={})))",
            "(&(objectClass=user)(userPrincipalName={})(!(userAccountControl:1.2.840.113556.1.4.803:=2)))",
            "(|(proxyAddresses=smtp:{})(sAMAccountName={local}))",
            "(&(cn=a\\2ab*)(uid={local}))",
            "(memberOf:1.2.840.113556.1.4.1941:=cn={},dc=example)",
            "(:dn:2.4.6.8.10:={})",
            "(&)(",
        ] {
            assert_eq!(wrong(good).is_none(), good != "(&)(", "{good}: {:?}", wrong(good));
        }
        let deep = format!("{}(mail={{}}){}", "(!".repeat(40), ")".repeat(40));
        for bad in [
            "mail={}",
            "(mail={}",
            "(mail={}))",
            "(mail=x)",
            "({}=mail)",
            "(mail)",
            "(cn=\\zz{})",
            "((mail={}))",
            &deep,
        ] {
            assert!(wrong(bad).is_some(), "{bad}");
        }
    }
}
