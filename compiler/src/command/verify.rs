//! `waybill verify`

use super::plan::{runtime, trust};
use super::secrets::Identity;
use super::{Format, Outcome, Spec, coloured, now, tell};
use clap::{Args, ValueEnum};
use compiler::apply::rollout::Rolling;
use compiler::authority::World;
use compiler::diagnostic::printable;
use compiler::pipeline::{Compiled, Wish, compile};
use compiler::provider;
use compiler::read::files::Sources;
use compiler::resolver::validating;
use compiler::verify::{Check, Eyes, Finding, Status, Wanted, show, worst};
use compiler::write;
use hickory_resolver::proto::dnssec::TrustAnchors;
use mail::auth::Authenticator;
use schema::name::DomainName;
use schema::unit::Period;
use sealed::identity::Identities;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Looks at what the world sees – DNS at every name server, policies, certificates, greetings – and holds it against the
/// spec. Exits with 2 where something differs.
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    spec: Spec,
    /// This domain alone, and the hosts that take its mail.
    #[arg(long, value_name = "DOMAIN")]
    only: Option<DomainName>,
    /// This group of checks alone, as `spf` or `smtp`; may stand several times.
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = Told::Human)]
    format: Told,
    /// Leaves out what is good.
    #[arg(long)]
    brief: bool,
    /// The DNS server to ask in place of the system's, `ADDR:PORT`.
    #[arg(long, env = "WAYBILL_RESOLVER")]
    resolver: Option<SocketAddr>,
    /// Looks again and again, so long after each look, and tells what changed.
    #[arg(long, value_name = "PERIOD")]
    watch: Option<Period>,
    /// Also writes counts to a file for a metrics collector, in the Prometheus text format.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    #[command(flatten)]
    identity: Identity,
}

/// How findings are told.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Told {
    /// For people.
    Human,
    /// For programs.
    Json,
}

impl Verify {
    pub fn run(self) -> io::Result<Outcome> {
        let groups: BTreeSet<&str> = Check::ALL.iter().map(|check| check.group()).collect();
        if let Some(other) = self.group.iter().find(|group| !groups.contains(group.as_str())) {
            let known: Vec<&str> = groups.into_iter().collect();
            let says = format!("no group of checks is called `{}`; there are {}", printable(other), known.join(", "));
            return Err(io::Error::other(says));
        }
        let identities = self.identity.load()?;
        let Some((findings, compiled)) = self.look(&identities)? else { return Ok(Outcome::Failed) };
        let mut out = io::stdout().lock();
        match self.format {
            Told::Human => write!(out, "{}", show::human(&findings, &compiled.located, coloured(&io::stdout())))?,
            Told::Json => {
                writeln!(out, "{}", serde_json::to_string_pretty(&show::json(&findings, &compiled.located))?)?
            }
        }
        let Some(period) = self.watch else { return Ok(outcome(&findings)) };
        drop(out);
        self.watch(period, &identities, findings)
    }

    /// Compiles the spec and looks; `None` where it has errors, which are told.
    fn look(&self, identities: &Identities) -> io::Result<Option<(Vec<Finding>, Compiled)>> {
        let now = now();
        let compiled = compile(&Wish { identities: Some(identities), ..self.spec.wish() });
        let (Some(resolved), Some(artefacts)) = (&compiled.resolved, &compiled.artefacts) else {
            tell(&compiled.report, &compiled.located, Format::Human)?;
            return Ok(None);
        };
        if let Some(only) = self.only.as_ref().filter(|only| resolved.domain(only).is_none()) {
            return Err(io::Error::other(format!("no domain of the spec is called `{only}`")));
        }
        let sources = Sources::open(&self.spec.dir).map_err(|why| io::Error::other(why.to_string()))?;
        let trust = trust(&compiled.spec, &sources, identities).map_err(io::Error::other)?;
        let secret = |reference: &_| provider::secret(reference, &sources, identities);
        let anchor = compiled.spec.resolver.as_ref().and_then(|resolver| resolver.trust_anchor.as_ref());
        let anchors = anchor.map(|anchor| {
            let text = secret(anchor)?;
            let wrong = |error| format!("`trust-anchor` holds no DNSKEY records: {error}");
            text.reveal().parse::<TrustAnchors>().map_err(wrong)
        });
        let anchors = anchors.transpose().map_err(io::Error::other)?;
        let state = super::state(&self.spec.dir, &compiled.spec, identities)?;
        let rolling = Rolling::of(resolved, artefacts, &state);
        let servers: Vec<SocketAddr> = self.resolver.into_iter().collect();
        let wanted = Wanted { only: self.only.clone(), groups: self.group.iter().cloned().collect() };
        let findings = runtime()?.block_on(async {
            let eyes = Eyes {
                resolved: rolling.resolved(),
                artefacts: rolling.artefacts(),
                world: World::seen_by(self.resolver)?,
                validating: validating(self.resolver, anchors).map_err(|error| error.to_string())?,
                authenticator: Authenticator::new(&servers).map_err(|error| error.to_string())?,
                trust: &trust,
                secret: &secret,
                now,
            };
            Ok::<_, String>(eyes.look(&wanted).await)
        });
        let mut findings = findings.map_err(io::Error::other)?;
        if let Some(file) = &self.metrics {
            write::replace(file, show::metrics(&findings, now).as_bytes(), write::Mode::Public)?;
        }
        if self.brief {
            findings.retain(|one| one.status != Status::Good);
        }
        Ok(Some((findings, compiled)))
    }

    /// Looks again and again, until it is stopped; tells what turned out otherwise than before.
    fn watch(&self, period: Period, identities: &Identities, mut before: Vec<Finding>) -> io::Result<Outcome> {
        loop {
            std::thread::sleep(Duration::from_secs(period.0.max(1)));
            let looked = match self.look(identities) {
                Ok(Some((findings, _))) => findings,
                Ok(None) => continue,
                Err(error) => {
                    writeln!(io::stderr(), "{}", printable(&error.to_string()))?;
                    continue;
                }
            };
            let (old, new) = (told(&before), told(&looked));
            let mut out = io::stdout().lock();
            for (key, status) in &new {
                if old.get(key).unwrap_or(&Status::Good) != status {
                    writeln!(out, "{} {}: {}", status.name(), key.0, printable(&key.1))?;
                }
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                writeln!(out, "good {}: no more: {}", key.0, printable(&key.1))?;
            }
            out.flush()?;
            before = looked;
        }
    }
}

/// What is not good, by check and words.
fn told(findings: &[Finding]) -> BTreeMap<(&'static str, String), Status> {
    let bad = findings.iter().filter(|one| one.status != Status::Good);
    bad.map(|one| ((one.check.id(), format!("{}: {}", one.of, one.says)), one.status)).collect()
}

fn outcome(findings: &[Finding]) -> Outcome {
    match worst(findings) {
        Status::Bad => Outcome::Differs,
        _ => Outcome::Fine,
    }
}
