//! People on an LDAP server (RFC 4511), Active Directory too.
//!
//! An entry that is found by an address is a person, or a group where it has `member`, `uniqueMember` or `memberUid`: then
//! its members get the mail, those of groups in it too. A password is proved by logging in as the person, or compared here
//! with the hash that the server gives away.

use super::{ASKED_MOST, Directory, Found, MEMBERS_MOST, NESTED_MOST, Person, Proof, SECRETS_MOST, sql};
use crate::error::StoreError;
use crate::open::Ground;
use async_trait::async_trait;
use ldap3::{Scope, dn_escape, ldap_escape};
use pool::{Entry, Pool, Search};
use schema::config::{self, LdapAttribute, LdapFilter};
use schema::name::{Address, SecretRef};
use schema::spec::LdapLogin;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tracing::warn;

mod pool;
mod tls;

/// Attributes that make an entry a group (RFC 4519 §2.17, §2.40; Active Directory has `member` too).
const MEMBERS: [&str; 2] = ["member", "uniqueMember"];
/// The members of a `posixGroup`, by what they log in by and not by their names (RFC 2307 §3).
const LOGINS: &str = "memberUid";
/// How many times as long as one request all those may take that a group's members need.
const GROUP_PATIENCE: u32 = 6;

/// A directory on an LDAP server.
pub struct LdapDirectory {
    name: String,
    pool: Pool,
    given_base: Option<String>,
    /// The server's own base, once asked.
    base: OnceCell<String>,
    login: LdapLogin,
    login_dn: Option<String>,
    filter: LdapFilter,
    attribute: LdapAttribute,
    /// What is asked of every entry.
    wanted: Vec<String>,
}

/// An entry of a group, as far as its members were followed.
#[derive(Default)]
struct Members {
    addresses: BTreeSet<Address>,
    /// Groups that were looked at, by distinguished name: groups may be in each other in circles.
    seen: HashSet<String>,
    reads: usize,
}

impl LdapDirectory {
    /// Makes a directory of this name; nothing is connected yet. With `scram`, its people have verifiers.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] for a URL, certificate or secret that cannot be used.
    pub fn new(
        (name, scram): (&str, bool),
        given: &config::Ldap,
        trust: &[SecretRef],
        ground: &Ground,
    ) -> Result<LdapDirectory, StoreError> {
        let pool = Pool::new(given, trust, ground)?;
        let attribute = given.attribute.clone();
        let mut wanted: Vec<String> = ["objectClass", LOGINS].into_iter().chain(MEMBERS).map(str::to_owned).collect();
        let lists = [&attribute.name, &attribute.address, &attribute.alias, &attribute.group, &attribute.quota];
        wanted.extend(lists.into_iter().flatten().cloned());
        // What is not needed is not asked for, and lies in no cache.
        if given.login == LdapLogin::Compare || scram {
            wanted.extend(attribute.secret.iter().cloned());
        }
        Ok(LdapDirectory {
            name: format!("{name} ({})", pool.name),
            pool,
            given_base: given.base.clone(),
            base: OnceCell::new(),
            login: given.login,
            login_dn: given.login_dn.clone(),
            filter: given.filter.clone(),
            attribute,
            wanted,
        })
    }

    /// Where people are looked for: as configured, or what the server calls its own (RFC 4512 §5.1).
    async fn base(&self) -> Result<&str, StoreError> {
        if let Some(base) = &self.given_base {
            return Ok(base);
        }
        let asked = self.base.get_or_try_init(|| async {
            let attributes = ["defaultNamingContext", "namingContexts"].map(str::to_owned);
            let search =
                Search { base: "", scope: Scope::Base, filter: "(objectClass=*)", attributes: &attributes, most: 1 };
            let found = self.pool.search(&search).await?;
            let root = found.first();
            let base = attributes.iter().find_map(|name| root?.values(name).first().cloned());
            base.ok_or_else(|| self.pool.wrong(&"the server names no base of its own; write `base=\"…\"`"))
        });
        asked.await.map(String::as_str)
    }

    async fn below(&self, filter: &str) -> Result<Vec<Entry>, StoreError> {
        let base = self.base().await?;
        let search = Search { base, scope: Scope::Subtree, filter, attributes: &self.wanted, most: MEMBERS_MOST };
        self.pool.search(&search).await
    }

    async fn read(&self, dn: &str) -> Result<Option<Entry>, StoreError> {
        let filter = "(objectClass=*)";
        let search = Search { base: dn, scope: Scope::Base, filter, attributes: &self.wanted, most: 1 };
        Ok(self.pool.search(&search).await?.into_iter().next())
    }

    fn first<'a>(&self, entry: &'a Entry, names: &[String]) -> Option<&'a str> {
        names.iter().find_map(|name| entry.values(name).first().map(String::as_str))
    }

    /// The person that an entry is; `None` where it has no address.
    fn person_of(&self, entry: &Entry, login: &str) -> Option<Person> {
        let all = |names: &[String]| names.iter().flat_map(|name| entry.values(name)).cloned().collect::<Vec<_>>();
        let addresses = all(&self.attribute.address);
        let Some(address) = addresses.iter().find_map(|text| mail_address(text)) else {
            warn!(directory = self.name, dn = entry.dn, "an entry has no mail address; passed over");
            return None;
        };
        let others = addresses.iter().chain(self.attribute.alias.iter().flat_map(|name| entry.values(name)));
        let others: BTreeSet<Address> = others.filter_map(|text| mail_address(text)).collect();
        let secrets = all(&self.attribute.secret).into_iter().take(SECRETS_MOST);
        Some(Person {
            aliases: others.into_iter().filter(|one| *one != address).collect(),
            address,
            login: login.to_owned(),
            name: self.first(entry, &self.attribute.name).unwrap_or_default().to_owned(),
            groups: all(&self.attribute.group),
            quota: self.first(entry, &self.attribute.quota).and_then(sql::quota),
            proofs: secrets.map(|secret| Proof { secret, scope: super::Scope::ALL }).collect(),
            suspended: false,
            place: entry.dn.clone(),
        })
    }

    /// Follows a group into its members.
    async fn expand(&self, group: Entry, into: &mut Members) -> Result<(), StoreError> {
        let mut open = vec![(group, 0)];
        while let Some((group, depth)) = open.pop() {
            if depth > NESTED_MOST || !into.seen.insert(group.dn.to_lowercase()) {
                continue;
            }
            for entry in self.members(&group, into).await? {
                if is_group(&entry) {
                    open.push((entry, depth + 1));
                } else if let Some(person) = self.person_of(&entry, "") {
                    into.addresses.insert(person.address);
                }
            }
        }
        Ok(())
    }

    /// The entries that are a group's members.
    async fn members(&self, group: &Entry, into: &mut Members) -> Result<Vec<Entry>, StoreError> {
        let too_many = || self.pool.wrong(&format!("the group `{}` has more than {MEMBERS_MOST} members", group.dn));
        // Active Directory keeps both sides, sends long lists in parts, and finds all members in one go.
        if group.values("objectClass").iter().any(|class| class.eq_ignore_ascii_case("group")) {
            return self.below(&format!("(memberOf={})", ldap_escape(group.dn.as_str()))).await;
        }
        if MEMBERS.iter().any(|name| group.is_in_parts(name)) {
            return Err(too_many());
        }
        let names: Vec<&String> = MEMBERS.iter().flat_map(|name| group.values(name)).collect();
        let logins = group.values(LOGINS);
        into.reads += names.len() + logins.len();
        if into.reads > MEMBERS_MOST {
            return Err(too_many());
        }
        let mut found = Vec::new();
        for login in logins {
            found.extend(self.below(&filled(&self.filter.login, login)).await?);
        }
        for name in names {
            // RFC 4517 §3.3.21: a unique identifier may follow.
            let dn = name.rsplit_once("#'").map_or(name.as_str(), |(dn, _)| dn);
            found.extend(self.read(dn).await?);
        }
        Ok(found)
    }
}

fn is_group(entry: &Entry) -> bool {
    const CLASSES: [&str; 4] = ["groupOfNames", "groupOfUniqueNames", "posixGroup", "group"];
    let of_class = |class: &String| CLASSES.iter().any(|known| known.eq_ignore_ascii_case(class));
    entry.values("objectClass").iter().any(of_class)
        || !entry.values(LOGINS).is_empty()
        || MEMBERS.iter().any(|name| !entry.values(name).is_empty() || entry.is_in_parts(name))
}

/// An address, perhaps behind `smtp:` or `SMTP:` as in `proxyAddresses`; other kinds of address are none of mail.
fn mail_address(text: &str) -> Option<Address> {
    let bare = match text.split_once(':') {
        Some((kind, rest)) if kind.eq_ignore_ascii_case("smtp") => rest,
        _ => text,
    };
    bare.trim().parse().ok()
}

/// A filter with what is asked put in, escaped (RFC 4515 §3). Each part is put in once, so that what is asked is never
/// looked at for marks.
fn filled(filter: &str, asked: &str) -> String {
    let local = asked.rsplit_once('@').map_or(asked, |(local, _)| local);
    let mut text = String::with_capacity(filter.len() + asked.len());
    let mut rest = filter;
    while let Some(at) = rest.find('{') {
        text.push_str(rest.get(..at).unwrap_or_default());
        let tail = rest.get(at..).unwrap_or_default();
        rest = if let Some(tail) = tail.strip_prefix("{}") {
            text.push_str(&ldap_escape(asked));
            tail
        } else if let Some(tail) = tail.strip_prefix("{local}") {
            text.push_str(&ldap_escape(local));
            tail
        } else {
            text.push('{');
            tail.get(1..).unwrap_or_default()
        };
    }
    text.push_str(rest);
    text
}

#[async_trait]
impl Directory for LdapDirectory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<(), StoreError> {
        for filter in [&self.filter.login, &self.filter.address] {
            self.below(&filled(filter, "nobody@invalid")).await?;
        }
        Ok(())
    }

    async fn find(&self, address: &Address) -> Result<Option<Found>, StoreError> {
        let asked = address.to_string();
        if asked.len() > ASKED_MOST {
            return Ok(None);
        }
        let mut entries = self.below(&filled(&self.filter.address, &asked)).await?;
        let groups = entries.iter().filter(|entry| is_group(entry)).count();
        if let (1, 0, Some(entry)) = (entries.len(), groups, entries.first()) {
            return Ok(self.person_of(entry, &asked).map(|person| Found::Person(Arc::new(person))));
        }
        let send_as = !entries.is_empty() && groups == entries.len();
        let mut members = Members::default();
        let everybody = async {
            for entry in entries.drain(..) {
                if is_group(&entry) {
                    self.expand(entry, &mut members).await?;
                } else if let Some(person) = self.person_of(&entry, &asked) {
                    members.addresses.insert(person.address);
                }
            }
            Ok(())
        };
        let late = |_| self.pool.wrong(&format!("the members of `{address}` take too long to find"));
        timeout(self.pool.patience * GROUP_PATIENCE, everybody).await.map_err(late)??;
        // A group whose address is also a person's would be in itself.
        members.addresses.remove(address);
        if members.addresses.len() > MEMBERS_MOST {
            return Err(self.pool.wrong(&format!("`{address}` has more than {MEMBERS_MOST} members")));
        }
        let members: Vec<Address> = members.addresses.into_iter().collect();
        Ok((!members.is_empty()).then_some(Found::Several { members, send_as }))
    }

    async fn person(&self, login: &str) -> Result<Option<Arc<Person>>, StoreError> {
        if login.len() > ASKED_MOST {
            return Ok(None);
        }
        let entries = self.below(&filled(&self.filter.login, login)).await?;
        match entries.as_slice() {
            [] => Ok(None),
            [entry] => Ok(self.person_of(entry, login).map(Arc::new)),
            _ => Err(self.pool.wrong(&format!("`{login}` is the login of {} entries", entries.len()))),
        }
    }

    async fn proves(&self, person: &Person, password: &str) -> Result<Option<bool>, StoreError> {
        if self.login == LdapLogin::Compare {
            if person.proofs.is_empty() {
                let says = "no hash is shown that a password could be compared with: may `bind-dn` read it?";
                warn!(directory = self.name, dn = person.place, "{says}");
            }
            return Ok(None);
        }
        let dn = match &self.login_dn {
            Some(pattern) => {
                let local = person.login.rsplit_once('@').map_or(person.login.as_str(), |(local, _)| local);
                pattern.replace("{}", &dn_escape(local))
            }
            None => person.place.clone(),
        };
        self.pool.proves(&dn, password).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_escaped_and_never_read_as_a_filter() {
        for (filter, asked, want) in [
            ("(mail={})", "ada@example.org", "(mail=ada@example.org)"),
            ("(mail={})", "*)(uid=*@example.org", r"(mail=\2a\29\28uid=\2a@example.org)"),
            ("(|(uid={local})(mail={}))", r"a\b@example.org", r"(|(uid=a\5cb)(mail=a\5cb@example.org))"),
            ("(|(mail={})(uid={local}))", "{local}@example.org", "(|(mail={local}@example.org)(uid={local}))"),
            ("(mail={})", "ä\0@example.org", r"(mail=ä\00@example.org)"),
        ] {
            assert_eq!(filled(filter, asked), want);
        }
    }

    #[test]
    fn proxy_addresses_are_mail_addresses_where_they_say_so() {
        let address = |text: &str| mail_address(text).map(|address| address.to_string());
        assert_eq!(address("SMTP:Ada@Example.org").as_deref(), Some("ada@example.org"));
        assert_eq!(address("smtp:countess@example.org").as_deref(), Some("countess@example.org"));
        assert_eq!(address("ada@example.org").as_deref(), Some("ada@example.org"));
        for other in ["X500:/o=Example/cn=ada", "sip:ada@example.org", "ada"] {
            assert_eq!(address(other), None, "{other}");
        }
    }
}
