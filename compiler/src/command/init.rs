//! `waybill init`

use super::{Outcome, now};
use clap::Args;
use compiler::init;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schema::name::{DomainName, HostName, LocalPart, NameError};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

/// Writes a first spec.
#[derive(Args)]
pub struct Init {
    /// The folder, made if it is not there.
    dir: PathBuf,
    /// The mail domain.
    #[arg(long, value_parser = mail_domain)]
    domain: DomainName,
    /// The machine's fully qualified name.
    #[arg(long)]
    host: HostName,
    /// The machine's public addresses.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<IpAddr>,
    /// The first person: the part of the address before the @.
    #[arg(long, default_value = "admin")]
    account: LocalPart,
    /// Ports above 1024 on 127.0.0.1, for a trial without root.
    #[arg(long)]
    high_ports: bool,
}

/// A mail domain is named as a host is, so an address is none.
fn mail_domain(text: &str) -> Result<DomainName, NameError> {
    text.parse::<HostName>().map(|name| name.domain().clone())
}

impl Init {
    pub fn run(self) -> io::Result<Outcome> {
        let today = TimeZone::UTC.to_datetime(Timestamp::from_second(now()).unwrap_or_default()).date();
        let address = format!("{}@{}", self.account, self.domain);
        let wish = init::First {
            folder: self.dir,
            domain: self.domain,
            host: self.host,
            addresses: self.address,
            account: self.account,
            high_ports: self.high_ports,
            year: today.year().into(),
            month: today.month().unsigned_abs().into(),
        };
        let made = init::init(&wish).map_err(io::Error::other)?;
        let folder = wish.folder.display();
        let mut out = io::stdout().lock();
        writeln!(out, "Wrote to {folder}: {}", made.files.join(", "))?;
        writeln!(out, "\n    account   {address}\n    password  {}\n", made.password)?;
        writeln!(out, "The password is shown only now; the spec holds its hash.")?;
        writeln!(
            out,
            "Next: waybill check {folder}; waybill build {folder} --out out; waybilld serve --spec {folder}"
        )?;
        Ok(Outcome::Fine)
    }
}
