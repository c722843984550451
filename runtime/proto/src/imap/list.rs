//! What LIST and LSUB answer (RFC 3501 §6.3.8, §6.3.9, RFC 5258, RFC 6154).

use super::facts::{MailboxFacts, StatusFacts};
use super::types::ListCommand;
use std::collections::BTreeMap;

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In the order they are told.
    pub attributes: Vec<&'static str>,
    /// Decoded.
    pub name: String,
    /// Whether something below matched the selection though this did not (RFC 5258 §3.5).
    pub child_info: bool,
    /// Where the command asked for it.
    pub status: Option<StatusFacts>,
}

/// The rows for a command, by name.
pub fn rows(command: &ListCommand, all: Vec<MailboxFacts>) -> Vec<Row> {
    let mut names: BTreeMap<String, MailboxFacts> = BTreeMap::new();
    for facts in &all {
        let mut parent = facts.name.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            let implied = MailboxFacts { name: above.to_owned(), ..MailboxFacts::default() };
            names.entry(above.to_owned()).or_insert(implied);
            parent = above;
        }
    }
    names.extend(all.into_iter().map(|facts| (facts.name.clone(), facts)));
    let subscribed_only = command.lsub || command.select_subscribed;
    let chosen = |facts: &MailboxFacts| {
        let known = facts.exists || facts.subscribed;
        known
            && (!subscribed_only || facts.subscribed)
            && (!command.select_special_use || facts.special_use.is_some())
            && (subscribed_only || facts.exists)
    };
    let below = |name: &str, which: &dyn Fn(&MailboxFacts) -> bool| {
        let prefix = format!("{name}/");
        let children = names.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        children.into_iter().any(|(_, facts)| which(facts))
    };
    let patterns: Vec<String> =
        command.patterns.iter().map(|pattern| format!("{}{pattern}", command.reference)).collect();
    let matched = |name: &str| patterns.iter().any(|pattern| matches(pattern.as_bytes(), name));
    let mut rows = Vec::new();
    for (name, facts) in &names {
        if !matched(name) {
            continue;
        }
        let itself = chosen(facts);
        let child = below(name, &chosen);
        // A name that only leads to others is told where a pattern stops at it.
        let hidden = below(name, &|facts: &MailboxFacts| chosen(facts) && !matched(&facts.name));
        let leads = hidden && (command.lsub || (!facts.exists && (!command.extended || !subscribed_only)));
        let info = command.recursive_match && child;
        if !(itself || leads || info) {
            continue;
        }
        let mut attributes = Vec::new();
        match (facts.exists, command.lsub) {
            (false, true) if itself => {}
            (false, true) => attributes.push("\\Noselect"),
            (false, false) => attributes.extend(["\\NonExistent", "\\Noselect"]),
            (true, _) if !facts.selectable => attributes.push("\\Noselect"),
            (true, true) if !itself => attributes.push("\\Noselect"),
            (true, _) => {}
        }
        attributes.push(if below(name, &|facts| facts.exists) { "\\HasChildren" } else { "\\HasNoChildren" });
        if facts.subscribed && !command.lsub && (command.select_subscribed || command.return_subscribed) {
            attributes.push("\\Subscribed");
        }
        attributes.extend(facts.special_use.map(super::types::SpecialUse::name));
        let status = command.return_status.as_ref().and(facts.status).filter(|_| facts.selectable);
        rows.push(Row { attributes, name: name.clone(), child_info: info, status });
    }
    rows
}

/// Whether a pattern with `*` and `%` matches; the inbox's first level is compared without case.
fn matches(pattern: &[u8], name: &str) -> bool {
    let is_inbox = name == "INBOX" || name.starts_with("INBOX/");
    let fold = if is_inbox { 5 } else { 0 };
    // Where `*` or `%` last stood, and how much of the name it swallowed: no recursion, quadratic at worst.
    let name = name.as_bytes();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut percent: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                percent = None;
                p += 1;
                continue;
            }
            Some(b'%') => {
                percent = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            Some(octet) if n < name.len() => {
                let same = name[n] == *octet || (n < fold && name[n].eq_ignore_ascii_case(octet));
                if same {
                    p += 1;
                    n += 1;
                    continue;
                }
            }
            _ => {}
        }
        match (percent, star) {
            (Some((after, from)), _) if from < name.len() && name[from] != b'/' => {
                percent = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (_, Some((after, from))) if from < name.len() => {
                percent = None;
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, exists: bool, subscribed: bool) -> MailboxFacts {
        MailboxFacts { name: name.into(), selectable: exists, exists, subscribed, ..MailboxFacts::default() }
    }

    fn all() -> Vec<MailboxFacts> {
        vec![
            facts("INBOX", true, true),
            facts("Work", true, false),
            facts("Work/2026", true, true),
            facts("Gone", false, true),
            facts("a/b", true, false),
        ]
    }

    fn told(command: ListCommand) -> Vec<String> {
        let row = |row: Row| format!("{} {}", row.attributes.join(","), row.name);
        rows(&command, all()).into_iter().map(row).collect()
    }

    fn list(pattern: &str) -> ListCommand {
        ListCommand { patterns: vec![pattern.into()], ..ListCommand::default() }
    }

    #[test]
    fn patterns_match() {
        for (pattern, name, does) in [
            ("*", "a/b/c", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("a*c", "a/b/c", true),
            ("a%c", "a/b/c", false),
            ("a%c", "abcbc", true),
            ("inbox", "INBOX", true),
            ("iNb%", "INBOX", true),
            ("work", "Work", false),
            ("*%b", "a/xb", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name), does, "{pattern} {name}");
        }
    }

    #[test]
    fn list_tells_what_exists() {
        assert_eq!(
            told(list("%")),
            ["\\HasNoChildren INBOX", "\\HasChildren Work", "\\NonExistent,\\Noselect,\\HasChildren a"]
        );
        assert_eq!(told(list("*")).len(), 4);
    }

    #[test]
    fn lsub_tells_what_is_subscribed() {
        let lsub = |pattern| ListCommand { lsub: true, ..list(pattern) };
        assert_eq!(told(lsub("*")), ["\\HasNoChildren Gone", "\\HasNoChildren INBOX", "\\HasNoChildren Work/2026"]);
        assert_eq!(told(lsub("%")), ["\\HasNoChildren Gone", "\\HasNoChildren INBOX", "\\Noselect,\\HasChildren Work"]);
    }

    #[test]
    fn extended_selection_names_parents_of_matches() {
        let command = ListCommand { extended: true, select_subscribed: true, recursive_match: true, ..list("%") };
        let rows = rows(&command, all());
        let work = rows.iter().find(|row| row.name == "Work");
        assert!(work.is_some_and(|row| row.child_info && !row.attributes.contains(&"\\Subscribed")));
        assert!(rows.iter().any(|row| row.name == "Gone" && row.attributes.contains(&"\\NonExistent")));
    }
}
