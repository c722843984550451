//! The forms of text that the schema names by `format`, each by the type that it becomes.

use schema::form::{Endpoint, Network, Pattern, SpecFile, Url};
use schema::name::{Address, DomainName, HostName, LocalOrAddress, LocalPart};
use schema::unit::{Period, Rate, Size};
use sealed::recipient::Recipient;
use std::net::{IpAddr, SocketAddr};

/// The most memory that a pattern may take once it is made ready, in octets.
const LARGEST_PATTERN: usize = 1 << 20;

/// Why a text is not of a form: a phrase that follows the text, and help.
pub struct Misfit {
    /// "must …"
    pub says: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// Whether a text has a form of the schema.
///
/// # Errors
/// [`Misfit`].
pub fn check(format: &str, text: &str) -> Result<(), Misfit> {
    fn plain<T: std::str::FromStr<Err = E>, E: ToString>(text: &str) -> Result<(), Misfit> {
        text.parse::<T>().map(drop).map_err(|why| Misfit { says: why.to_string(), help: None })
    }
    match format {
        "domain-name" => plain::<DomainName, _>(text),
        "host-name" => plain::<HostName, _>(text),
        "local-part" => plain::<LocalPart, _>(text).map_err(|misfit| local(text, misfit)),
        "mail-address" => plain::<Address, _>(text),
        "local-or-address" => plain::<LocalOrAddress, _>(text),
        "size" => plain::<Size, _>(text),
        "period" => plain::<Period, _>(text),
        "rate" => plain::<Rate, _>(text),
        "network" => plain::<Network, _>(text),
        "url" => plain::<Url, _>(text),
        "endpoint" => plain::<Endpoint, _>(text),
        "spec-file" => plain::<SpecFile, _>(text),
        "regex" => plain::<Pattern, _>(text).and_then(|()| pattern(text)),
        "ip-address" => text.parse::<IpAddr>().map(drop).map_err(|_| Misfit {
            says: "is no IP address".into(),
            help: Some("write `192.0.2.25` or `2001:db8::25`, without a port or a prefix".into()),
        }),
        "socket-address" => text.parse::<SocketAddr>().map(drop).map_err(|_| Misfit {
            says: "is no address with a port".into(),
            help: Some("write `127.0.0.1:53` or `[::1]:53`".into()),
        }),
        "age-recipient" => text.parse::<Recipient>().map(drop).map_err(|why| Misfit {
            says: why.to_string(),
            help: Some("write the public half, which `age-keygen -y FILE` prints".into()),
        }),
        _ => Ok(()),
    }
}

/// Whether a regular expression can be made ready to be found in linear time.
///
/// # Errors
/// [`Misfit`], which names the first thing wrong.
pub fn pattern(text: &str) -> Result<(), Misfit> {
    let made = regex::RegexBuilder::new(text).size_limit(LARGEST_PATTERN).nest_limit(64).build();
    made.map(drop).map_err(|why| {
        let why = why.to_string();
        // The first lines repeat the pattern, and point into it.
        let last = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Misfit {
            says: format!("is no regular expression: {last}"),
            help: Some("look-around and back-references are not taken, since they are not found in linear time".into()),
        }
    })
}

fn local(text: &str, misfit: Misfit) -> Misfit {
    match text.split_once('@') {
        Some((local, _)) if !local.is_empty() => {
            Misfit { help: Some(format!("write only what stands before the `@`: `{local}`")), ..misfit }
        }
        _ => misfit,
    }
}
