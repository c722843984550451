//! Which words give a name and which refer to one.

use super::cursor::{self, Head, Part, Word};
use crate::read::grammar::Kind;
use schema::name::{DomainName, LocalOrAddress};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A machine.
    Host,
    /// A database.
    Store,
    /// A DNS provider.
    Dns,
    /// A directory.
    Directory,
    /// A mail domain.
    Domain,
    /// An account, alias, group or list.
    Person,
}

/// A kind of node, a field of it, what it names, and whether it gives the name.
const NAMES: [(&str, &str, Of, bool); 26] = [
    ("Host", "name", Of::Host, true),
    ("DomainHost", "name", Of::Host, false),
    ("Store", "name", Of::Store, true),
    ("Storage", "data", Of::Store, false),
    ("Storage", "blob", Of::Store, false),
    ("Storage", "search", Of::Store, false),
    ("Storage", "lookup", Of::Store, false),
    ("Dns", "name", Of::Dns, true),
    ("DomainDns", "provider", Of::Dns, false),
    ("Directory", "name", Of::Directory, true),
    ("Domain", "directory", Of::Directory, false),
    ("Domain", "name", Of::Domain, true),
    ("Domain", "like", Of::Domain, false),
    ("Account", "local", Of::Person, true),
    ("Account", "alias", Of::Person, true),
    ("Alias", "local", Of::Person, true),
    ("Alias", "to", Of::Person, false),
    ("Group", "local", Of::Person, true),
    ("Group", "member", Of::Person, false),
    ("List", "local", Of::Person, true),
    ("List", "member", Of::Person, false),
    ("List", "owner", Of::Person, false),
    ("Domain", "catch-all", Of::Person, false),
    ("Domain", "tls-report", Of::Person, false),
    ("DomainDefaults", "tls-report", Of::Person, false),
    ("Dmarc", "report", Of::Person, false),
];

/// A name in the one way that it is compared in: a person's is the whole address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// What it is of.
    pub of: Of,
    /// How it is called.
    pub text: String,
}

/// A word that is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The name.
    pub name: Name,
    /// It is given here.
    pub gives: bool,
    /// Where it is.
    pub span: Range<usize>,
    /// As written.
    pub text: String,
}

/// What a field of a kind names, and whether it gives the name.
pub fn of(kind: &Kind, field: &str) -> Option<(Of, bool)> {
    let found = NAMES.iter().find(|(one, name, ..)| *one == kind.name && *name == field)?;
    Some((found.2, found.3))
}

/// The domain that a word stands in.
pub fn domain<'a>(way: &'a [Head], node: Option<&'a Head>) -> Option<DomainName> {
    let named = |head: &&Head| head.name == "domain" && head.argument.is_some();
    let head = way.iter().chain(node).rev().find(named)?;
    head.argument.as_ref()?.parse().ok()
}

/// What a word names.
pub fn mention(language: &Arc<Kind>, word: &Word) -> Option<Mention> {
    let node = word.node.as_ref()?;
    let around = cursor::kind(language, &word.way)?;
    let (kind, field) = cursor::field(&around, &node.name, &word.part)?;
    let (of, gives) = of(&kind, field.name)?;
    let text = match of {
        Of::Person => {
            let domain = domain(&word.way, Some(node));
            match (word.text.parse::<LocalOrAddress>().ok()?, domain) {
                (LocalOrAddress::Address(address), _) => address.to_string(),
                (local, Some(domain)) => local.within(&domain).to_string(),
                _ => return None,
            }
        }
        Of::Domain | Of::Host => word.text.parse::<DomainName>().ok()?.to_string(),
        Of::Store | Of::Dns | Of::Directory => word.text.clone(),
    };
    Some(Mention { name: Name { of, text }, gives, span: word.span.clone(), text: word.text.clone() })
}

/// Every name in a text.
pub fn mentions(language: &Arc<Kind>, text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    cursor::words::<()>(text, |scan| {
        if !matches!(scan.part(), Part::Name | Part::PropertyName) {
            let (way, node, span) = (scan.way.clone(), scan.node.clone(), scan.span.clone());
            let word = Word { way, node, part: scan.part(), text: scan.says(), span };
            found.extend(mention(language, &word));
        }
        ControlFlow::Continue(())
    });
    found
}
