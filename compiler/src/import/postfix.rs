//! Postfix: `main.cf`, `master.cf`, and the maps that they name, as text.

use super::facts::Facts;
use super::{ImportError, text_of};
use schema::name::{DomainName, HostName};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most parameters of `main.cf`.
const MOST_PARAMETERS: usize = 10_000;
/// How deep `$name` may lead to another.
const DEEPEST_VALUE: usize = 8;
/// The longest value once every `$name` in it is written out, in octets.
const LONGEST_VALUE: usize = 64 << 10;
/// Where Postfix's files usually are, whatever folder they were copied to.
const HOME: &str = "/etc/postfix";
/// Parameters that say what this importer takes; others are named as left out.
const TAKEN: [&str; 20] = [
    "myhostname",
    "mydomain",
    "myorigin",
    "mydestination",
    "virtual_mailbox_domains",
    "virtual_alias_domains",
    "virtual_mailbox_maps",
    "virtual_alias_maps",
    "alias_maps",
    "alias_database",
    "message_size_limit",
    "compatibility_level",
    "config_directory",
    "virtual_mailbox_base",
    "virtual_uid_maps",
    "virtual_gid_maps",
    "virtual_transport",
    "mail_owner",
    "queue_directory",
    "inet_protocols",
];

/// Takes what a folder as `/etc/postfix`, or the `main.cf` in it, says.
pub fn read(path: &Path, facts: &mut Facts) -> Result<(), ImportError> {
    let main = if path.is_dir() { path.join("main.cf") } else { path.to_path_buf() };
    let folder = main.parent().map(Path::to_path_buf).unwrap_or_default();
    let parameters = parameters(&text_of(&main)?);
    let postfix = Postfix { parameters, folder };
    facts.took("Postfix parameters", postfix.parameters.len());
    postfix.machine(facts);
    postfix.domains(facts)?;
    postfix.mailboxes(facts)?;
    postfix.aliases(facts)?;
    postfix.local_aliases(facts)?;
    postfix.rest(facts)?;
    let master = postfix.folder.join("master.cf");
    if master.is_file() {
        listeners(&text_of(&master)?, facts);
    }
    Ok(())
}

struct Postfix {
    parameters: BTreeMap<String, String>,
    folder: PathBuf,
}

/// `main.cf`: a line that begins with a space goes on with the one before; `#` begins a comment line.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|last: &String| found.get_mut(last)) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once('=').filter(|_| found.len() < MOST_PARAMETERS) {
            last = Some(name.trim().to_owned());
            found.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    found
}

/// A map that a parameter names.
enum Map {
    /// Its lines: key and value.
    Lines(Vec<(String, String)>),
    /// Why not, in words.
    Away(String),
}

impl Postfix {
    /// A parameter with `$name`, `${name}` and `$(name)` in it written out.
    fn get(&self, name: &str) -> Option<String> {
        self.parameters.get(name).map(|value| {
            let mut out = String::new();
            self.expand(value, DEEPEST_VALUE, &mut out);
            out
        })
    }

    fn expand(&self, value: &str, depth: usize, out: &mut String) {
        let mut rest = value;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let closed = match after.as_bytes().first() {
                Some(b'{') => after.find('}').map(|end| (&after[1..end], &after[end + 1..])),
                Some(b'(') => after.find(')').map(|end| (&after[1..end], &after[end + 1..])),
                _ => {
                    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
                    Some(after.split_at(end))
                }
            };
            let Some((name, after)) = closed else { return };
            let known = self.parameters.get(name).map(String::as_str).or_else(|| self.usual(name));
            if let Some(known) = known.filter(|_| depth > 0 && out.len() < LONGEST_VALUE) {
                self.expand(known, depth - 1, out);
            }
            rest = after;
        }
        out.push_str(rest);
    }

    fn usual(&self, name: &str) -> Option<&str> {
        match name {
            "mydomain" => self.parameters.get("myhostname")?.split_once('.').map(|(_, domain)| domain),
            "config_directory" => Some(HOME),
            "default_database_type" => Some("hash"),
            _ => None,
        }
    }

    /// A list, by commas and spaces.
    fn list(&self, name: &str) -> Vec<String> {
        let value = self.get(name).unwrap_or_default();
        value.split([',', ' ', '\t']).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A file that the configuration names, as it lies in the folder that was given: that may be a copy, and then
    /// nothing of this machine is read in its place.
    fn file(&self, named: &str) -> Option<PathBuf> {
        let named = Path::new(named);
        let beside = named.strip_prefix(HOME).ok().map(|rest| self.folder.join(rest));
        let alone = named.file_name().map(|name| self.folder.join(name));
        let here = self.folder.canonicalize().is_ok_and(|folder| folder == Path::new(HOME));
        let itself = Some(named.to_path_buf()).filter(|_| here);
        let inside = |path: &PathBuf| path.is_file() && !path.components().any(|part| part.as_os_str() == "..");
        [beside, alone, itself].into_iter().flatten().find(inside)
    }

    /// A map as `hash:/etc/postfix/virtual`.
    fn map(&self, named: &str) -> Result<Map, ImportError> {
        let (kind, path) = named.split_once(':').unwrap_or(("", named));
        let source = match kind {
            "hash" | "texthash" | "lmdb" | "btree" | "cdb" | "dbm" | "sdbm" | "" => path,
            "regexp" | "pcre" => {
                return Ok(Map::Away(format!("{named}: patterns, which a spec does not have")));
            }
            "inline" | "static" => return Ok(Map::Away(format!("{kind}: a map written in place"))),
            _ => {
                return Ok(Map::Away(format!("{named}: entries in another program; export them and use --csv")));
            }
        };
        match self.file(source) {
            None => Ok(Map::Away(format!("{named}: the source text is not in {}", self.folder.display()))),
            Some(path) => Ok(Map::Lines(entries(&text_of(&path)?))),
        }
    }

    /// The lines of every map that a parameter names.
    fn maps(&self, name: &str, facts: &mut Facts) -> Result<Vec<(String, String)>, ImportError> {
        let mut lines = Vec::new();
        for named in self.list(name) {
            match self.map(&named)? {
                Map::Lines(found) => lines.extend(found),
                Map::Away(why) => facts.left(format!("{name}: {why}")),
            }
        }
        Ok(lines)
    }

    fn machine(&self, facts: &mut Facts) {
        let name = self.get("myhostname");
        match name.as_deref().map(str::parse::<HostName>) {
            Some(Ok(host)) if facts.machine.is_none() => facts.machine = Some(host),
            Some(Ok(_)) => {}
            Some(Err(why)) => facts.left(format!("myhostname `{}`: it {why}", name.unwrap_or_default())),
            None => facts.left("myhostname, which main.cf does not say: name the host by --host"),
        }
        let size = self.get("message_size_limit");
        match size.as_deref().map(str::parse::<u64>) {
            // Postfix's 0 is no limit.
            Some(Ok(octets)) if octets > 0 => facts.message_size = Some(octets),
            None => facts.message_size = Some(10_240_000),
            _ => facts.left("message_size_limit"),
        }
    }

    /// Domains with mailboxes or aliases; a map's keys are domains too.
    fn domains(&self, facts: &mut Facts) -> Result<(), ImportError> {
        let own = facts.machine.clone();
        for parameter in ["virtual_mailbox_domains", "virtual_alias_domains", "mydestination"] {
            let written = self.list(parameter);
            for item in written {
                // A list may also name a file of domains.
                if item.contains(':') || item.starts_with('/') {
                    match self.map(&item)? {
                        Map::Lines(lines) => {
                            for (domain, _) in lines {
                                facts.domain(&domain);
                            }
                        }
                        Map::Away(why) => facts.left(format!("{parameter}: {why}")),
                    }
                    continue;
                }
                let local = item == "localhost" || item.starts_with("localhost.") || !item.contains('.');
                let machine = own.as_ref().is_some_and(|own| own.as_str().eq_ignore_ascii_case(&item));
                if parameter == "mydestination" && (local || machine) {
                    continue;
                }
                if item.starts_with(['!', '@', '[', '$']) {
                    facts.left(format!("{parameter}: {item}"));
                    continue;
                }
                facts.domain(&item);
            }
        }
        if facts.domains.is_empty() {
            let own = own.as_ref().and_then(|own| own.domain().parent());
            if let Some(domain) = own.filter(|domain| domain.as_str().contains('.')) {
                facts.domain(domain.as_str());
                facts.guessed_of(&domain, "the mail domain, from myhostname, since main.cf names none");
            }
        }
        Ok(())
    }

    fn mailboxes(&self, facts: &mut Facts) -> Result<(), ImportError> {
        let mut count = 0;
        for (key, _) in self.maps("virtual_mailbox_maps", facts)? {
            if let Some(domain) = key.strip_prefix('@') {
                facts.left(format!("virtual_mailbox_maps: a mailbox for all of `{domain}`; write `catch-all`"));
            } else if let Some(address) = facts.address_at_home(&key) {
                count += usize::from(facts.account(&address).is_some());
            }
        }
        facts.took("mailboxes of virtual_mailbox_maps", count);
        Ok(())
    }

    fn aliases(&self, facts: &mut Facts) -> Result<(), ImportError> {
        let mut count = 0;
        for (key, value) in self.maps("virtual_alias_maps", facts)? {
            let targets: Vec<&str> = split(&value);
            if let Some(domain) = key.strip_prefix('@') {
                match targets.as_slice() {
                    [one] if one.starts_with('@') => twin(facts, domain, &one[1..]),
                    [one] => {
                        if let Some(to) = facts.address_at_home(one) {
                            facts.catch_all(domain, &to);
                        }
                    }
                    _ => facts.left(format!("the catch-all of `{domain}`: it has several people; write a group")),
                }
                continue;
            }
            let Some(from) = facts.address_at_home(&key) else { continue };
            for target in targets {
                if let Some(to) = facts.address_at_home(target) {
                    facts.forward(&from, to);
                }
            }
            count += 1;
        }
        facts.took("aliases of virtual_alias_maps", count);
        Ok(())
    }

    /// `/etc/aliases`: names without domain; programs, files and `:include:` are not people.
    fn local_aliases(&self, facts: &mut Facts) -> Result<(), ImportError> {
        if facts.home().is_none()
            || !(self.parameters.contains_key("mydestination") || self.parameters.contains_key("alias_maps"))
        {
            return Ok(());
        }
        let mut count = 0;
        for (key, value) in self.maps("alias_maps", facts)? {
            let key = key.trim_end_matches(':');
            let Some(from) = facts.address_at_home(key) else { continue };
            for target in split(value.trim_start_matches(':').trim()) {
                if target.starts_with(['|', '/', ':', '"', '\\']) {
                    let what = match target.trim_start_matches('"').chars().next() {
                        Some('|') => "a program",
                        Some(':') => "a list in a file",
                        _ => "a file",
                    };
                    facts.left_of(&from.domain, format!("`{from}` to {what}"));
                } else if let Some(to) = facts.address_at_home(target) {
                    facts.forward(&from, to);
                }
            }
            count += 1;
        }
        facts.took("aliases of alias_maps", count);
        Ok(())
    }

    /// What a spec of this version does not say, or should not.
    fn rest(&self, facts: &mut Facts) -> Result<(), ImportError> {
        for domain in self.list("relay_domains") {
            if !domain.starts_with('$') {
                facts.left(format!("relay_domains: {domain}, for which this machine only passes mail on"));
            }
        }
        for named in self.list("transport_maps") {
            match self.map(&named)? {
                Map::Lines(lines) => lines
                    .iter()
                    .take(100)
                    .for_each(|(key, value)| facts.left(format!("transport_maps: {key} by {value}"))),
                Map::Away(why) => facts.left(format!("transport_maps: {why}")),
            }
        }
        if let Some(networks) = self.get("mynetworks") {
            facts.left(format!("mynetworks {networks}: who sends must log in"));
        }
        for file in ["smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_chain_files"] {
            if let Some(path) = self.get(file) {
                facts.left(format!("{file} {path}: write `certificate` in the host's `tls`"));
            }
        }
        let known = |name: &str| {
            TAKEN.contains(&name)
                || ["relay_domains", "transport_maps", "mynetworks"].contains(&name)
                || ["smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_chain_files"].contains(&name)
        };
        let others: Vec<&str> = self.parameters.keys().map(String::as_str).filter(|name| !known(name)).collect();
        for some in others.chunks(6).take(40) {
            facts.left(format!("main.cf: {}", some.join(", ")));
        }
        Ok(())
    }
}

/// All addresses of one domain are those of another.
fn twin(facts: &mut Facts, domain: &str, of: &str) {
    let (Ok(domain), Ok(of)) = (domain.parse::<DomainName>(), of.parse::<DomainName>()) else {
        facts.left(format!("the alias domain `{domain}` of `{of}`"));
        return;
    };
    if facts.domain(domain.as_str()).is_some() {
        facts.twins.insert(domain, of);
    }
}

/// A map's lines: key, spaces, value; as in `main.cf`, a line may go on.
fn entries(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = found.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        // A quoted key may hold spaces.
        let quoted = line.strip_prefix('"').and_then(|rest| rest.find('"')).map_or(0, |end| end + 2);
        let end = line.get(quoted..).and_then(|rest| rest.find([' ', '\t'])).map_or(line.len(), |end| quoted + end);
        let (key, value) = line.split_at(end);
        let value = value.trim();
        // `/etc/aliases` writes `root:ada` too.
        let (key, value) = match key.split_once(':') {
            Some((name, rest)) if !rest.is_empty() && !name.contains('@') => (name, format!("{rest} {value}")),
            _ => (key, value.to_owned()),
        };
        found.push((key.to_owned(), value.trim().to_owned()));
    }
    found
}

/// Targets, by commas and spaces; what stands in quotes is one.
fn split(value: &str) -> Vec<&str> {
    let mut quoted = false;
    let between = |c: char| {
        quoted ^= c == '"';
        !quoted && (c == ',' || c.is_ascii_whitespace())
    };
    let mut targets: Vec<&str> = value.split(between).filter(|target| !target.is_empty()).collect();
    // A program without quotes takes the rest of its line.
    if let Some(at) = targets.iter().position(|target| target.starts_with('|')) {
        targets.truncate(at + 1);
    }
    targets
}

/// `master.cf`: services of type `inet` served by `smtpd`, and their ports.
fn listeners(text: &str, facts: &mut Facts) {
    for line in text.lines().filter(|line| !line.starts_with(['#', ' ', '\t'])) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [service, "inet", .., command] = words.as_slice() else { continue };
        if *command != "smtpd" && *command != "postscreen" {
            continue;
        }
        let name = service.rsplit(':').next().unwrap_or(service);
        let (kind, port) = match name {
            "smtp" | "25" => ("smtp", 25),
            "submission" | "587" => ("submission", 587),
            "smtps" | "submissions" | "465" => ("submissions", 465),
            other => {
                facts.left(format!("master.cf: the service {other}"));
                continue;
            }
        };
        facts.own.listen.entry(kind).or_default().insert(port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_out_and_circles_end() {
        let text =
            "a = $b x\n  y\n# no\nb=${c}$(d)\nc = $c$a$a\nd = 1\nmyhostname = mail.example.org\ne = $mydomain\nf = ${a";
        let postfix = Postfix { parameters: parameters(text), folder: PathBuf::new() };
        assert!(postfix.get("a").is_some_and(|a| a.ends_with("1 x y") && a.len() < 2 * LONGEST_VALUE));
        assert_eq!(postfix.get("e").as_deref(), Some("example.org"));
        assert_eq!(postfix.get("f").as_deref(), Some(""));
    }

    #[test]
    fn map_lines_and_aliases_are_split() {
        let text = "# x\nada@example.org  ada, bob@example.net\n  carl\nroot:ada\npostmaster: root\nx: \"|/bin/x a, b\"\n\
                    \"odd one\"@x.org y\n";
        let found = entries(text);
        assert_eq!(found[0], ("ada@example.org".into(), "ada, bob@example.net carl".into()));
        assert_eq!(split(&found[0].1), ["ada", "bob@example.net", "carl"]);
        assert_eq!(found[1].0, "root");
        assert_eq!(found[2], ("postmaster:".into(), "root".into()));
        assert_eq!(split(&found[3].1), ["\"|/bin/x a, b\""]);
        assert_eq!(split("|/bin/x a, b"), ["|/bin/x"]);
        assert_eq!(found[4], ("\"odd one\"@x.org".into(), "y".into()));
    }
}
