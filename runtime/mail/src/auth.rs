//! Who sent a message: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 9989), ARC (RFC 8617).

mod supposed;

pub use supposed::Supposed;

use crate::message::without_blank_tail;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcResult, MessageAuthenticator, Parameters,
    SpfResult, Txt,
};
use schema::name::DomainName;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use supposed::{Answers, nothing};

/// How long one question to one name server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Signatures of one message that are looked at: each costs a question to a server of its maker's choice.
const SIGNATURES_MOST: usize = 10;
/// How many domains above the From's are done without, where their servers fail (RFC 9989 §4.10 asks eight at most).
const ABOVE_MOST: usize = 8;

/// Why there is no authenticator.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no name server can be asked: {0}")]
pub struct AuthError(String);

/// Asks DNS who may send.
pub struct Authenticator(MessageAuthenticator);

/// A message as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its octets, before anything is put before them.
    pub message: &'a [u8],
    /// Where it came from.
    pub ip: IpAddr,
    /// What the client called itself.
    pub helo: &'a str,
    /// The reverse path; empty: null.
    pub mail_from: &'a str,
    /// Our name.
    pub host: &'a str,
}

/// What DMARC says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dmarc {
    /// No policy, or no From to judge by.
    None,
    /// Aligned.
    Pass,
    /// Not aligned; the policy asks for this.
    Fail(Wish),
    /// DNS failed.
    Temporary,
}

/// What a domain wants done with mail that is not its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Nothing.
    None,
    /// Suspicion.
    Quarantine,
    /// Refusal.
    Reject,
}

/// What is known of a message's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether SPF passes for the reverse path.
    pub spf_passes: bool,
    /// Domains with a good DKIM signature.
    pub signers: Vec<String>,
    /// The reverse path's domain, or the EHLO name in its place.
    pub path_domain: String,
    /// DMARC of the From.
    pub dmarc: Dmarc,
    /// The domain that DMARC was asked of.
    pub from_domain: String,
    /// How many From addresses the message has.
    pub authors: usize,
    /// The last sealer of a whole ARC chain.
    pub sealer: Option<DomainName>,
    header: String,
}

impl Verdict {
    /// The Authentication-Results field with its CRLF (RFC 8601).
    pub fn header(&self) -> &str {
        &self.header
    }
    /// Whether the reverse path is the sender's own, by SPF or a signature, so that it may be told of failures.
    pub fn path_is_own(&self) -> bool {
        self.spf_passes || self.signers.iter().any(|signer| is_over(signer, &self.path_domain))
    }
    /// Whether somebody in line with the From vouches for the message.
    pub fn is_aligned(&self) -> bool {
        let by_path = self.spf_passes && is_over(&self.path_domain, &self.from_domain);
        let signed = self.signers.iter().any(|signer| is_over(signer, &self.from_domain));
        self.dmarc == Dmarc::Pass || (self.dmarc == Dmarc::None && (signed || by_path))
    }
}

/// Whether a domain is another one, or above it.
fn is_over(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    !one.is_empty() && (one == other || other.ends_with(&format!(".{one}")))
}

impl Authenticator {
    /// Asks these servers, or the system's where there are none.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn new(servers: &[SocketAddr]) -> Result<Authenticator, AuthError> {
        let made = if servers.is_empty() {
            MessageAuthenticator::new_system_conf()
        } else {
            let servers = servers.iter().map(|server| {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                config.connections.iter_mut().for_each(|connection| connection.port = server.port());
                config
            });
            let mut options = ResolverOpts::default();
            options.timeout = TIMEOUT;
            options.attempts = 2;
            MessageAuthenticator::new(ResolverConfig::from_parts(None, Vec::new(), servers.collect()), options)
        };
        made.map(Authenticator).map_err(|error| AuthError(error.to_string()))
    }

    /// Finds out who sent a message. What DNS does not answer is `temperror`, never a failure.
    pub async fn verify(&self, arrival: &Arrival<'_>) -> Verdict {
        let Arrival { ip, helo, mail_from, host, .. } = *arrival;
        let results = AuthenticationResults::new(host);
        let several = self.several(mail_from.rsplit_once('@').map_or(helo, |(_, domain)| domain)).await;
        let spf = Parameters::new(SpfParameters::verify_mail_from(ip, helo, host, mail_from)).with_txt_cache(&several);
        let spf = self.0.verify_spf(spf).await;
        let results = match mail_from.is_empty() {
            true => results.with_spf_ehlo_result(&spf, ip, helo),
            false => results.with_spf_mailfrom_result(&spf, ip, mail_from, helo),
        };
        let mut verdict = Verdict {
            spf_passes: spf.result() == SpfResult::Pass,
            signers: Vec::new(),
            path_domain: mail_from.rsplit_once('@').map_or(helo, |(_, domain)| domain).to_owned(),
            dmarc: Dmarc::None,
            from_domain: String::new(),
            authors: 0,
            sealer: None,
            header: String::new(),
        };
        let Some(message) = parsed(arrival.message) else {
            verdict.header = results.to_header();
            return verdict;
        };
        // Blank-looking lines at the end are nothing in the relaxed form; the library counts them.
        let short = without_blank_tail(arrival.message);
        let short = if short.len() < arrival.message.len() { parsed(short) } else { None };
        let mut dkim = self.0.verify_dkim(&message).await;
        if let Some(short) = short.as_ref().filter(|_| !dkim.iter().all(passes)) {
            let again = self.0.verify_dkim(short).await;
            dkim = dkim.into_iter().zip(again).map(|(one, other)| if passes(&other) { other } else { one }).collect();
        }
        let from = message.from.first().map_or("", String::as_str);
        let results = results.with_dkim_results(&dkim, from);
        let domain = verdict.path_domain.clone();
        let domain = domain.as_str();
        let parameters = || DmarcParameters::new(&message, &dkim, domain, &spf);
        let mut dmarc = self.0.verify_dmarc(parameters()).await;
        if is_temporary(&dmarc) {
            // RFC 9989 §4.10 also asks the domains above, up to the top one. Where their servers fail, a message
            // whose own domain vouches for it is still good: without them only less is in line with the From.
            let above = above(from.rsplit_once('@').map_or("", |(_, domain)| domain));
            for above in above {
                let again = self.0.verify_dmarc(Parameters::new(parameters()).with_txt_cache(&above)).await;
                if !is_temporary(&again) {
                    dmarc = if dmarc_of(&again) == Dmarc::Pass { again } else { dmarc };
                    break;
                }
            }
        }
        let mut results = results.with_dmarc_result(&dmarc);
        let arc = self.0.verify_arc(&message).await;
        if let Some(set) = arc.sets().last() {
            results = results.with_arc_result(&arc, ip);
            if *arc.result() == DkimResult::Pass {
                verdict.sealer = set.seal.header.d.parse().ok();
            }
        }
        let passed = dkim.iter().filter(|output| passes(output));
        verdict.signers = passed.filter_map(|output| output.signature().map(|one| one.d.clone())).collect();
        verdict.authors = message.from.len();
        verdict.from_domain = from.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
        verdict.dmarc = dmarc_of(&dmarc);
        verdict.header = results.to_header();
        verdict
    }
}

/// Answers that the top domain above one has no DMARC record; then that nor the next has; and so on.
fn above(domain: &str) -> impl Iterator<Item = Answers<Txt>> {
    let parts = |domain: &str| domain.split_once('.').map(|(_, above)| above.to_owned());
    let mut names: Vec<String> = std::iter::successors(parts(domain), |above| parts(above)).collect();
    names.reverse();
    (1..=names.len().min(ABOVE_MOST)).map(move |n| {
        let mut answers = Answers::default();
        names.iter().take(n).for_each(|name| answers.put(&format!("_dmarc.{name}"), nothing()));
        answers
    })
}

fn parsed(octets: &[u8]) -> Option<AuthenticatedMessage<'_>> {
    let mut message = AuthenticatedMessage::parse(octets)?;
    message.dkim_headers.truncate(SIGNATURES_MOST);
    message.errors.truncate(SIGNATURES_MOST);
    Some(message)
}

fn passes(output: &DkimOutput<'_>) -> bool {
    *output.result() == DkimResult::Pass
}

fn is_temporary(output: &mail_auth::DmarcOutput) -> bool {
    matches!(output.result(), DmarcResult::TempError(_))
}

fn dmarc_of(output: &mail_auth::DmarcOutput) -> Dmarc {
    if output.dmarc_record().is_none() && !is_temporary(output) {
        return Dmarc::None;
    }
    // The step less that `t=y` asks for (RFC 9989 §4.7) is in it already.
    let wish = match output.policy() {
        Policy::Reject => Wish::Reject,
        Policy::Quarantine => Wish::Quarantine,
        Policy::None | Policy::Unspecified => Wish::None,
    };
    match output.result() {
        DmarcResult::Pass => Dmarc::Pass,
        DmarcResult::TempError(_) => Dmarc::Temporary,
        DmarcResult::None => Dmarc::None,
        DmarcResult::Fail(_) | DmarcResult::PermError(_) => Dmarc::Fail(wish),
    }
}

#[cfg(test)]
impl Verdict {
    /// A verdict that only DMARC and ARC speak in.
    pub(crate) fn for_tests(dmarc: Dmarc, sealer: Option<DomainName>) -> Verdict {
        let (from_domain, header) = ("example.org".to_owned(), String::new());
        let path_domain = String::new();
        Verdict { spf_passes: false, signers: Vec::new(), path_domain, dmarc, from_domain, authors: 1, sealer, header }
    }
}
