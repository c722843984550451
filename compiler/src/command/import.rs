//! `waybill import`

use super::{Outcome, now};
use clap::Args;
use compiler::import::{self, Wish, facts::Sort, shown};
use schema::name::{DomainName, HostName, NameError};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The most lines of a kind that the summary shows; all are in the files, up to 40 at a place.
const MOST_LINES: usize = 60;

/// Makes a first spec from what a team has today. Sources combine: all that are named make one spec.
#[derive(Args)]
#[command(after_help = "EXAMPLES
  A live domain:
    waybill import mail --domain example.org --live --selector 2024
  Postfix and Dovecot:
    doveconf -n > dovecot.txt
    waybill import mail --zone-file example.org.zone --postfix /etc/postfix --dovecot dovecot.txt \\
        --dovecot-users /etc/dovecot/users --keys /etc/opendkim/keys
  A list of people:
    waybill import mail --domain example.org --host mail.example.org --csv people.csv
  Stalwart and Mailcow:
    waybill import mail --stalwart-config config.toml --stalwart principals.json
    waybill import mail --host mail.example.org --mailcow domains.json --mailcow mailboxes.json

The folder must not be there, or be empty. What is not known is guessed and says so in a comment. Passwords are taken
as hashes only; private keys only from the folder of --keys.")]
pub struct Import {
    /// The new spec's folder.
    dir: PathBuf,
    /// A mail domain; may be repeated. Needed for --live; with --zone-file, which of its domains.
    #[arg(long, value_parser = mail_domain)]
    domain: Vec<DomainName>,
    /// The machine that will serve; else as MX or the configuration names it.
    #[arg(long)]
    host: Option<HostName>,
    /// Its addresses; else as DNS has them.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<IpAddr>,
    /// A zone file (RFC 1035 §5), as name servers and providers export it.
    #[arg(long, value_name = "FILE")]
    zone_file: Vec<PathBuf>,
    /// Asks DNS for the domains' records.
    #[arg(long)]
    live: bool,
    /// The DNS server to ask in place of the system's.
    #[arg(long, value_name = "ADDRESS:PORT", env = "WAYBILL_RESOLVER")]
    resolver: Option<SocketAddr>,
    /// A DKIM selector to look for in DNS, beside common ones.
    #[arg(long, value_name = "NAME")]
    selector: Vec<String>,
    /// Postfix's folder, or its main.cf; maps are read as the text beside it.
    #[arg(long, value_name = "FOLDER")]
    postfix: Vec<PathBuf>,
    /// What `doveconf -n` prints: protocols, ports, quotas.
    #[arg(long, value_name = "FILE")]
    dovecot: Vec<PathBuf>,
    /// A passwd-file of Dovecot: people, hashes, quotas.
    #[arg(long, value_name = "FILE")]
    dovecot_users: Vec<PathBuf>,
    /// The scheme of passwords in it that name none, as `default_password_scheme`; else CRYPT.
    #[arg(long, value_name = "SCHEME")]
    scheme: Option<String>,
    /// Mailboxes as CSV with headers: address or email, name, password (a hash), quota, aliases, forward.
    #[arg(long, value_name = "FILE")]
    csv: Vec<PathBuf>,
    /// Stalwart's config.toml.
    #[arg(long, value_name = "FILE")]
    stalwart_config: Vec<PathBuf>,
    /// Stalwart's principals, as `/api/principal` answers.
    #[arg(long, value_name = "FILE")]
    stalwart: Vec<PathBuf>,
    /// Mailcow's answers (get/domain/all, get/mailbox/all, get/alias/all, get/alias-domain/all), or an SQL dump.
    #[arg(long, value_name = "FILE")]
    mailcow: Vec<PathBuf>,
    /// A folder of DKIM's private keys: those whose public half is published are copied to `secrets`.
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
}

/// A mail domain is named as a host is, so an address is none.
fn mail_domain(text: &str) -> Result<DomainName, NameError> {
    text.parse::<HostName>().map(|name| name.domain().clone())
}

impl Import {
    pub fn run(self) -> io::Result<Outcome> {
        if self.live && self.domain.is_empty() && self.zone_file.is_empty() {
            return Err(io::Error::other("--live asks for domains: name them by --domain"));
        }
        let wish = Wish {
            folder: self.dir,
            domains: self.domain,
            host: self.host,
            addresses: self.address,
            zone_files: self.zone_file,
            live: self.live,
            resolver: self.resolver,
            selectors: self.selector,
            postfix: self.postfix,
            dovecot: self.dovecot,
            dovecot_users: self.dovecot_users,
            scheme: self.scheme,
            csv: self.csv,
            stalwart_config: self.stalwart_config,
            stalwart: self.stalwart,
            mailcow: self.mailcow,
            keys: self.keys,
            now: now(),
        };
        let made = match import::import(&wish) {
            Ok(made) => made,
            Err(error) => {
                let mut err = io::stderr().lock();
                for (n, line) in error.to_string().lines().enumerate() {
                    writeln!(err, "{}{}", if n == 0 { "waybill: " } else { "" }, shown(line))?;
                }
                return Ok(Outcome::Failed);
            }
        };
        let folder = shown(&wish.folder.display().to_string());
        let mut out = io::stdout().lock();
        writeln!(out, "Wrote {} files to {folder}", made.files.len())?;
        writeln!(out, "\ntaken")?;
        for (what, count) in &made.taken {
            writeln!(out, "  {count:>7}  {}", shown(what))?;
        }
        for (sort, head) in [(Sort::Guessed, "guessed"), (Sort::Left, "left out")] {
            let lines: Vec<&String> = made.notes.iter().filter(|(one, _)| *one == sort).map(|(_, text)| text).collect();
            if lines.is_empty() {
                continue;
            }
            writeln!(out, "\n{head}")?;
            for line in lines.iter().take(MOST_LINES) {
                writeln!(out, "  {}", shown(line))?;
            }
            let more = lines.len().saturating_sub(MOST_LINES) + if sort == Sort::Left { made.unsaid } else { 0 };
            if more > 0 {
                writeln!(out, "  … and {more} more")?;
            }
        }
        writeln!(out, "\nIt compiles, with {} warnings. Next: waybill check {folder}", made.warnings)?;
        Ok(Outcome::Fine)
    }
}
