//! `waybill init`

use super::{Outcome, now};
use clap::Args;
use compiler::init;
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
        // Days to a date by the proleptic Gregorian calendar, years beginning in March.
        let days = now() / 86_400 + 719_468;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = days / 146_097 * 400 + year_of_era + i64::from(month <= 2);
        let address = format!("{}@{}", self.account, self.domain);
        let wish = init::First {
            folder: self.dir,
            domain: self.domain,
            host: self.host,
            addresses: self.address,
            account: self.account,
            high_ports: self.high_ports,
            year,
            month: u32::try_from(month).unwrap_or(1),
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
