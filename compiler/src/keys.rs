//! `waybill keys`: DKIM and TLS keys are made, and take each other's place, by edits of the spec's files that keep
//! comments and layout. What follows from them in DNS and at the server goes by steps: see [`crate::transition`].

use crate::diagnostic::Path;
use crate::fix::{self, Changed, Mended};
use crate::locate::{Located, Place};
use crate::pipeline::{Compiled, Wish, compile};
use crate::read::files::Sources;
use crate::read::tree::Node;
use crate::resolve::{Dkim, Domain, Host, KeyState, Resolved};
use crate::secrets;
use crate::state::State;
use crate::transition::Topic;
use crate::write::{self, Mode};
use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{KeyPair, PublicKeyData};
use schema::name::{DomainName, Secret, SecretRef};
use schema::spec::DkimAlgorithm;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path as File;

/// The most keys that one month gives names to.
const MOST_NAMES: u32 = 99;
/// Where private keys are, unless the others of the spec are elsewhere.
const FOLDER: &str = "secrets";

/// Edits of a spec, and the private keys that come with them.
pub struct Edit<'a> {
    compiled: &'a Compiled,
    resolved: &'a Resolved,
    /// The month that new keys are named after: `202611`.
    month: String,
    edits: Vec<(Place, String)>,
    made: Vec<(String, Secret)>,
    /// What is done, in words.
    pub says: Vec<String>,
    taken: BTreeSet<String>,
}

/// Why keys are not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is not in the spec, or its keys cannot be changed here.
    #[error("{0}")]
    Unfit(String),
    /// It is too early.
    #[error("{0}")]
    Early(String),
    /// What comes of it would be wrong.
    #[error("the spec would have new errors then, so nothing is changed: {0}")]
    Worse(String),
    /// The system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn unfit(says: impl Into<String>) -> KeysError {
    KeysError::Unfit(says.into())
}

impl<'a> Edit<'a> {
    /// Nothing yet, of a spec without errors. `month` is what new keys are named after: `202611`.
    pub fn of(compiled: &'a Compiled, resolved: &'a Resolved, month: String) -> Edit<'a> {
        Edit {
            compiled,
            resolved,
            month,
            edits: Vec::new(),
            made: Vec::new(),
            says: Vec::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts new DKIM keys in the place of a domain's, or a host's next TLS key in the place of its current one.
    ///
    /// # Errors
    /// [`KeysError::Unfit`].
    pub fn rotate(&mut self, name: &DomainName) -> Result<(), KeysError> {
        let resolved = self.resolved;
        if let Some(domain) = resolved.domain(name) {
            return self.rotate_dkim(domain);
        }
        match resolved.host(name) {
            Some(host) => self.rotate_tls(host),
            None => Err(unfit(format!("no domain and no host of the spec is called `{name}`"))),
        }
    }

    fn rotate_dkim(&mut self, domain: &Domain) -> Result<(), KeysError> {
        if let Some(going) = domain.dkim.iter().find(|key| key.state == KeyState::Retiring && key.private.is_some()) {
            return Err(unfit(format!(
                "`{}` goes already: see `waybill rollout`, and `waybill keys retire {}` when it has gone",
                going.selector, domain.name
            )));
        }
        let signing: Vec<&Dkim> = domain.dkim.iter().filter(|key| key.state == KeyState::Signing).collect();
        if signing.is_empty() {
            return Err(unfit(format!("`{0}` has no key: `waybill keys make {0}` makes one", domain.name)));
        }
        for key in signing {
            let private = key.private.as_ref().ok_or_else(|| unfit("a key without a private part"))?;
            let node = self.node(&key.at)?;
            if key.testing {
                return Err(unfit(format!("`{}` is being tested: take `testing` out first", key.selector)));
            }
            let name = self.selector(domain, key.algorithm)?;
            let text = self.dkim_key(&name, key.algorithm, Some(private))?;
            let at = place(node, node.extent().start..node.extent().start);
            self.edits.push((at, format!("{text}{}", self.apart(node))));
            self.edits.push((place(node, node.span()), "retiring".to_owned()));
            if node.property("public").is_none() {
                let algorithm = node.arguments().nth(1).ok_or_else(|| unfit("a key without an algorithm"))?;
                let end = algorithm.span().end;
                self.edits.push((place(node, end..end), format!(" public=\"{}\"", key.public)));
            }
            self.says.push(format!("{}: `{name}` takes the place of `{}`", domain.name, key.selector));
        }
        Ok(())
    }

    fn rotate_tls(&mut self, host: &Host) -> Result<(), KeysError> {
        let tls = host.at.field("tls").field("key");
        let Some((current, private)) = host.keys.first() else {
            return Err(unfit(format!("`{0}` has no key: `waybill keys make {0}` makes one", host.name)));
        };
        let first = self.node(&tls.item(0))?;
        if let Some((next, _)) = host.keys.get(1) {
            let second = self.node(&tls.item(1))?;
            let text = |node: Node<'_>| self.text(place(node, node.extent()));
            let (a, b) = (text(first)?, text(second)?);
            self.edits.push((place(first, first.extent()), b));
            self.edits.push((place(second, second.extent()), a));
            self.says.push(format!("{}: `{next}` takes the place of `{current}`", host.name));
            return Ok(());
        }
        let (name, text) = self.tls_key(host, Some(private))?;
        let at = first.extent().start;
        self.edits.push((place(first, at..at), format!("{text}{}", self.apart(first))));
        self.says.push(format!("{}: `{name}` takes the place of `{current}`", host.name));
        Ok(())
    }

    /// Makes a domain's DKIM keys, of each algorithm that none is of; or a host's next TLS key.
    ///
    /// # Errors
    /// [`KeysError::Unfit`].
    pub fn make(&mut self, name: &DomainName) -> Result<(), KeysError> {
        let resolved = self.resolved;
        if let Some(domain) = resolved.domain(name) {
            return self.make_dkim(domain);
        }
        let host = resolved.host(name);
        let host = host.ok_or_else(|| unfit(format!("no domain and no host of the spec is called `{name}`")))?;
        let (key, text) = self.tls_key(host, host.keys.first().map(|(_, private)| private))?;
        let tls = host.at.field("tls");
        match host.keys.len().checked_sub(1) {
            Some(last) => self.behind(&tls.field("key").item(last), &text)?,
            None if self.compiled.located.exact(&tls).is_some() => self.inside(&tls, &text)?,
            None => self.inside(&host.at, &format!("tls {{ {text}; }}"))?,
        }
        self.says.push(format!("{}: `{key}` is made", host.name));
        Ok(())
    }

    fn make_dkim(&mut self, domain: &Domain) -> Result<(), KeysError> {
        let mut texts = Vec::new();
        for algorithm in [DkimAlgorithm::Ed25519, DkimAlgorithm::Rsa] {
            let signs = |key: &&Dkim| key.state == KeyState::Signing && key.algorithm == algorithm;
            if domain.dkim.iter().any(|key| signs(&key)) {
                continue;
            }
            let like = domain.dkim.iter().find_map(|key| key.private.as_ref());
            let name = self.selector(domain, algorithm)?;
            texts.push(self.dkim_key(&name, algorithm, like)?);
            self.says.push(format!("{}: `{name}` is made", domain.name));
        }
        if texts.is_empty() {
            return Err(unfit(format!("`{0}` has keys of both algorithms: `waybill keys rotate {0}`", domain.name)));
        }
        match domain.dkim.iter().rev().find(|key| key.state == KeyState::Signing) {
            Some(key) => self.behind(&key.at, &texts.join("\n")),
            None if self.compiled.located.exact(&domain.at.field("dkim")).is_some() => {
                self.inside(&domain.at.field("dkim"), &texts.join("\n"))
            }
            None => self.inside(&domain.at, &format!("dkim {{\n{}\n}}", texts.join("\n"))),
        }
    }

    /// Takes keys out that have gone: of a domain those that sign no more, or one of them; of a host those behind its
    /// current and next one.
    ///
    /// # Errors
    /// [`KeysError::Early`] while mail is under way that one signed, or caches may hold what goes.
    pub fn retire(
        &mut self,
        name: &DomainName,
        selector: Option<&str>,
        (state, now): (&State, i64),
    ) -> Result<(), KeysError> {
        let resolved = self.resolved;
        let Some(domain) = resolved.domain(name) else {
            return match resolved.host(name) {
                Some(host) => self.retire_tls(host, selector, (state, now)),
                None => Err(unfit(format!("no domain and no host of the spec is called `{name}`"))),
            };
        };
        let going = domain.dkim.iter().filter(|key| key.state == KeyState::Retiring);
        let going: Vec<&Dkim> = going.filter(|key| selector.is_none_or(|one| key.selector == one)).collect();
        if going.is_empty() {
            return Err(unfit(match selector {
                Some(one) => format!("`{one}` of `{name}` is not `retiring`"),
                None => format!("no key of `{name}` is `retiring`"),
            }));
        }
        for key in going {
            if let Some(why) = early(resolved, domain, key, (state, now)) {
                return Err(KeysError::Early(why));
            }
            self.take_out(&key.at)?;
            self.says.push(format!("{name}: `{}` is taken out", key.selector));
        }
        Ok(())
    }

    fn retire_tls(&mut self, host: &Host, key: Option<&str>, (state, now): (&State, i64)) -> Result<(), KeysError> {
        let Some((current, _)) = host.keys.first() else { return Err(unfit(format!("`{}` has no key", host.name))) };
        let (at, (gone, _)) = match key {
            Some(key) => host.keys.iter().enumerate().find(|(_, (name, _))| name == key),
            None => host.keys.iter().enumerate().next_back().filter(|(at, _)| *at > 0),
        }
        .ok_or_else(|| unfit(format!("`{}` has no key that has gone", host.name)))?;
        let topic = Topic::Tls(host.name.clone());
        let stage = state.zones.values().find_map(|zone| zone.stages.get(&topic));
        if gone == current || stage.is_some_and(|stage| stage.is.first() == Some(gone)) {
            return Err(KeysError::Early(format!("`{gone}` is the key that `{}` uses", host.name)));
        }
        // RFC 7671 §8.4: who has the old records still sees the new key in them; a day is longer than caches hold them.
        if let Some(stage) = stage.filter(|stage| now < stage.since.saturating_add(86_400)) {
            return Err(KeysError::Early(format!(
                "`{}` uses `{current}` since {} h: take `{gone}` out a day after that",
                host.name,
                (now - stage.since) / 3600
            )));
        }
        let path = host.at.field("tls").field("key").item(at);
        self.take_out(&path)?;
        self.says.push(format!("{}: `{gone}` is taken out", host.name));
        Ok(())
    }

    /// What is written for a fresh DKIM key.
    fn dkim_key(
        &mut self,
        name: &str,
        algorithm: DkimAlgorithm,
        like: Option<&SecretRef>,
    ) -> Result<String, KeysError> {
        let (private, public) = mail::sign::generate(algorithm).map_err(|error| unfit(error.to_string()))?;
        let word = match algorithm {
            DkimAlgorithm::Ed25519 => "ed25519",
            DkimAlgorithm::Rsa => "rsa",
        };
        let reference = self.keep(name, private, like)?;
        Ok(format!("key \"{name}\" {word} public=\"{public}\" private={reference}"))
    }

    /// The name of a fresh TLS key, and what is written for it.
    fn tls_key(&mut self, host: &Host, like: Option<&SecretRef>) -> Result<(String, String), KeysError> {
        let pair = KeyPair::generate().map_err(|error| unfit(error.to_string()))?;
        let is_free = |name: &String| !host.keys.iter().any(|(known, _)| known == name);
        let year = self.month.get(..4).unwrap_or(&self.month).to_owned();
        let name = ('a'..='z').map(|letter| format!("{year}{letter}")).find(is_free);
        let name = name.ok_or_else(|| unfit("the year has no name left for a key"))?;
        let public = BASE64_STANDARD.encode(pair.subject_public_key_info());
        let file = format!("tls-{name}");
        let reference = self.keep(&file, Secret::new(pair.serialize_pem()), like)?;
        Ok((name.clone(), format!("key \"{name}\" ec public=\"{public}\" private={reference}")))
    }

    /// A selector that no key of the domain has: the month, and a letter for the algorithm.
    fn selector(&mut self, domain: &Domain, algorithm: DkimAlgorithm) -> Result<String, KeysError> {
        let letter = match algorithm {
            DkimAlgorithm::Ed25519 => 'e',
            DkimAlgorithm::Rsa => 'r',
        };
        let month = (1..=MOST_NAMES).map(|n| match n {
            1 => format!("{}{letter}", self.month),
            n => format!("{}{letter}{n}", self.month),
        });
        let (names, lack): (Vec<String>, _) = match &domain.delegation {
            None => (month.collect(), "the month has no name left for a key".to_owned()),
            Some(delegation) => (
                delegation.selectors.clone(),
                format!(
                    "`{0}` has no selector left that its customer set a record for: `waybill keys retire {0}`",
                    domain.name
                ),
            ),
        };
        let is_free = |name: &String| {
            !domain.dkim.iter().any(|key| key.selector == *name)
                && !self.taken.contains(&format!("{} {name}", domain.name))
        };
        let name = names.into_iter().find(is_free).ok_or_else(|| unfit(lack))?;
        self.taken.insert(format!("{} {name}", domain.name));
        Ok(name)
    }

    /// Keeps a private key as another one is kept; what refers to it.
    fn keep(&mut self, name: &str, private: Secret, like: Option<&SecretRef>) -> Result<String, KeysError> {
        let spec = &self.compiled.spec;
        let folder = like.and_then(SecretRef::file).and_then(|file| file.rsplit_once('/'));
        let folder = folder.map_or(FOLDER, |(folder, _)| folder);
        let sealed = match like {
            Some(SecretRef::Env(variable)) => {
                return Err(unfit(format!(
                    "the private key is in the environment (`{variable}`), where none can be put from here: make one by hand"
                )));
            }
            Some(SecretRef::Age(_)) => true,
            Some(SecretRef::File(_)) => false,
            None => !secrets::recipients(spec).is_empty(),
        };
        let end = if sealed { "age" } else { "pem" };
        let names = (1..=MOST_NAMES).map(|n| match n {
            1 => format!("{folder}/{name}.{end}"),
            n => format!("{folder}/{name}-{n}.{end}"),
        });
        let is_free = |file: &String| !self.made.iter().any(|(known, _)| known == file) && !self.taken.contains(file);
        let file = names.into_iter().find(is_free).ok_or_else(|| unfit("no name is left for a key's file"))?;
        let text = match sealed {
            true => Secret::new(secrets::seal(private.reveal().as_bytes(), spec)?),
            false => private,
        };
        self.made.push((file.clone(), text));
        Ok(format!("({})\"{file}\"", if sealed { "age" } else { "file" }))
    }

    fn node(&self, at: &Path) -> Result<Node<'a>, KeysError> {
        let located: &'a Located = &self.compiled.located;
        let found = located.exact(at).and_then(|place| located.node_at(&place));
        found.ok_or_else(|| unfit("a key stands where it cannot be edited: in a table, or in an environment"))
    }

    fn text(&self, place: Place) -> Result<String, KeysError> {
        let file = self.compiled.located.files.get(place.file);
        let text = file.and_then(|file| file.text.get(place.span)).map(str::to_owned);
        text.ok_or_else(|| unfit("a key stands where it cannot be edited"))
    }

    /// What stands between a node and one before it: a new line with its indentation, or `; ` in a line of several.
    fn apart(&self, node: Node<'_>) -> String {
        let Some(file) = self.compiled.located.files.get(node.file()) else { return "\n".into() };
        let before = file.text.get(..node.extent().start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        if line.trim().is_empty() { format!("\n{line}") } else { "; ".to_owned() }
    }

    /// Writes behind a node.
    fn behind(&mut self, at: &Path, text: &str) -> Result<(), KeysError> {
        let node = self.node(at)?;
        let apart = self.apart(node);
        let end = node.extent().end;
        self.edits.push((place(node, end..end), format!("{apart}{}", text.replace('\n', &apart))));
        Ok(())
    }

    /// Writes as a node's first child.
    fn inside(&mut self, at: &Path, text: &str) -> Result<(), KeysError> {
        let node = self.node(at)?;
        let file = self.compiled.located.files.get(node.file()).ok_or_else(|| unfit("a file that is not there"))?;
        let indent = self.apart(node);
        let inner = if indent.starts_with('\n') { format!("{indent}    ") } else { " ".to_owned() };
        let text = match inner.starts_with('\n') {
            true => text.replace('\n', &inner),
            false => text.replace("{\n", "{ ").replace('\n', "; "),
        };
        match node.children().next() {
            Some(child) => {
                let before = file.text.get(..child.extent().start).unwrap_or_default();
                let open = before.rfind('{').map_or(child.extent().start, |open| open + 1);
                let end = if inner.starts_with('\n') { "" } else { ";" };
                self.edits.push((place(node, open..open), format!("{inner}{text}{end}")));
            }
            None => {
                let end = node.extent().end;
                self.edits.push((place(node, end..end), format!(" {{{inner}{text}{indent}}}")));
            }
        }
        Ok(())
    }

    /// Takes a node out, with its line where it stands alone.
    fn take_out(&mut self, at: &Path) -> Result<(), KeysError> {
        let node = self.node(at)?;
        let file = self.compiled.located.files.get(node.file()).ok_or_else(|| unfit("a file that is not there"))?;
        let extent = node.extent();
        let (before, after) =
            (file.text.get(..extent.start).unwrap_or_default(), file.text.get(extent.end..).unwrap_or_default());
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = after.split('\n').next().unwrap_or_default();
        let alone = before.get(start..).is_some_and(|text| text.trim().is_empty())
            && rest.trim_end_matches(';').trim().is_empty();
        let span = match alone {
            true => start..(extent.end + rest.len() + 1).min(file.text.len()),
            false => {
                let gap = rest.len() - rest.trim_start_matches([';', ' ']).len();
                extent.start..extent.end + gap
            }
        };
        self.edits.push((place(node, span), String::new()));
        Ok(())
    }

    /// Writes private keys first, each of mode 0600 and nothing in the place of another, then the spec's files.
    ///
    /// # Errors
    /// [`KeysError::Worse`] where the spec would have new errors; then nothing is written.
    pub fn write(self, wish: &Wish<'_>) -> Result<Vec<String>, KeysError> {
        let edits: Vec<&(Place, String)> = self.edits.iter().collect();
        let texts: HashMap<String, String> = fix::applied(&self.compiled.located, &edits).into_iter().collect();
        let after = compile(&Wish { open: Some(&texts), ..wish.clone() });
        if let Some(error) =
            after.report.diagnostics().iter().find(|found| found.severity() == crate::code::Severity::Error)
        {
            return Err(KeysError::Worse(error.says.clone()));
        }
        let sources = Sources::open(wish.folder).map_err(|why| unfit(why.to_string()))?;
        for (name, text) in &self.made {
            let path = sources.root().join(name);
            if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
                fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
            }
            write::create(&path, text.reveal().as_bytes(), Mode::Private)?;
        }
        let old = |name: &str| {
            self.compiled.located.files.iter().find(|file| file.name == name).map(|file| file.text.to_string())
        };
        let files = texts.into_iter().filter_map(|(name, new)| Some(Changed { old: old(&name)?, new, name })).collect();
        fix::write(wish, &Mended { files, ..Mended::default() })?;
        Ok(self.says)
    }

    /// Files that are there already, which no new key may be called after.
    pub fn avoid(&mut self, folder: &File) {
        let names = fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten();
        self.taken.extend(names.map(|entry| format!("{FOLDER}/{}", entry.file_name().to_string_lossy())));
    }
}

fn place(node: Node<'_>, span: std::ops::Range<usize>) -> Place {
    Place { file: node.file(), span }
}

/// Why a key is not to go yet, in words; `None` where it may.
pub fn early(resolved: &Resolved, domain: &Domain, key: &Dkim, (state, now): (&State, i64)) -> Option<String> {
    let applied = state.zones.get(&domain.name)?;
    let stage = applied.stages.get(&Topic::Dkim);
    if stage.is_some_and(|stage| stage.is.contains(&key.selector)) {
        return Some(format!("`{}` of `{}` signs still: see `waybill rollout`", key.selector, domain.name));
    }
    let used = applied.keys.get(&key.selector)?;
    let expire = i64::try_from(resolved.queue.expire.0).unwrap_or(i64::MAX);
    let until = used.since.saturating_add(expire);
    (used.signs || now < until).then(|| {
        let left = schema::unit::Period(u64::try_from(until - now).unwrap_or(0));
        format!(
            "`{}` of `{}` is needed for mail under way that it signed, for {left} more: mail is tried for {}",
            key.selector, domain.name, resolved.queue.expire
        )
    })
}

/// The domains whose keys are as old as their `rotate` lets them get, and those whose keys have gone and are taken out.
pub fn due(resolved: &Resolved, (state, now): (&State, i64)) -> (Vec<DomainName>, Vec<DomainName>) {
    let (mut rotate, mut retire) = (Vec::new(), Vec::new());
    // Keys that several domains share are changed once.
    let mut seen = BTreeSet::new();
    for domain in &resolved.domains {
        let (Some(period), Some(applied)) = (domain.rotate, state.zones.get(&domain.name)) else { continue };
        if domain.dkim.first().is_none_or(|first| !seen.insert(first.at.to_string())) {
            continue;
        }
        let going: Vec<&Dkim> = domain.dkim.iter().filter(|key| key.state == KeyState::Retiring).collect();
        let old = domain.dkim.iter().filter(|key| key.state == KeyState::Signing).any(|key| {
            let used = applied.keys.get(&key.selector);
            used.is_some_and(|used| {
                used.signs && now >= used.since.saturating_add(i64::try_from(period.0).unwrap_or(i64::MAX))
            })
        });
        let gone = |key: &&Dkim| {
            applied.keys.contains_key(&key.selector) && early(resolved, domain, key, (state, now)).is_none()
        };
        if going.is_empty() && old {
            rotate.push(domain.name.clone());
        } else if !going.is_empty() && going.iter().all(gone) {
            retire.push(domain.name.clone());
        }
    }
    (rotate, retire)
}
