//! `waybill plan`

use super::progress;
use super::secrets::Identity;
use super::{Format, Outcome, Spec, at_the_end, coloured, now, tell};
use clap::{Args, ValueEnum};
use compiler::allowance;
use compiler::apply::rollout::Rolling;
use compiler::apply::{self, Counts, Ground, Providers, Survey, file, show};
use compiler::authority::{self, Shown};
use compiler::diagnostic::{printable, render};
use compiler::emit::Artefacts;
use compiler::emit::foreign::{self, Form};
use compiler::pipeline::{Compiled, Wish, compile};
use compiler::provider::{self, recorded::Recorded};
use compiler::read::files::Sources;
use compiler::resolve::Resolved;
use compiler::safety::{self, reports};
use compiler::state::{Place, State};
use compiler::tls::Trust;
use compiler::write;
use mail::auth::Authenticator;
use schema::name::DomainName;
use sealed::identity::Identities;
use serde_json::{Value as Json, json};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many files that are no reports are named.
const MOST_TOLD: usize = 5;

/// Shows what would change in DNS.
#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    spec: Spec,
    #[command(flatten)]
    which: Which,
    /// Holds the spec against what was applied last, by its state, in place of what is live: no provider is asked, and no
    /// secret of theirs is needed.
    #[arg(long)]
    offline: bool,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = Told::Human)]
    format: Told,
    /// Also writes the plan to a file, for `waybill apply FILE` to make exactly that; another tool's files into a folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    identity: Identity,
}

/// What is planned.
#[derive(Args, Clone, Default)]
pub struct Which {
    /// This zone alone.
    #[arg(long, value_name = "DOMAIN")]
    pub only: Option<DomainName>,
    /// Takes over what others wrote into record sets that have one owner: MX, SPF, DMARC, a DKIM selector …
    #[arg(long)]
    pub adopt: bool,
    /// Removes what was written into zones that the spec has no more.
    #[arg(long)]
    pub prune: bool,
    /// The DNS server that finds name servers, for rollovers that wait for them, in place of the system's: `ADDR:PORT`.
    #[arg(long, env = "WAYBILL_RESOLVER")]
    pub resolver: Option<SocketAddr>,
    /// DMARC reports that came in, as XML, packed, or in messages: a file, or a folder, a Maildir say. Those of the last 30
    /// days show whose mail a change would harm.
    #[arg(long, value_name = "PATH")]
    pub reports: Option<PathBuf>,
    /// What was applied stands for what is live.
    #[arg(skip)]
    pub offline: bool,
}

/// How a plan is told.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Told {
    /// For people.
    Human,
    /// What `waybill apply` takes, and other programs.
    Json,
    /// A pull request's comment.
    Markdown,
    /// The zones as master files; nobody is asked, as for those below.
    Bind,
    /// The zones as OctoDNS's files.
    Octodns,
    /// The zones as what extends a dnsconfig.js of DNSControl.
    Dnscontrol,
    /// The zones as Terraform's resources, in JSON.
    Terraform,
    /// The zones as ExternalDNS's endpoints.
    ExternalDns,
}

impl Told {
    /// Whose files it makes.
    fn form(self) -> Option<Form> {
        Some(match self {
            Told::Human | Told::Json | Told::Markdown => return None,
            Told::Bind => Form::Bind,
            Told::Octodns => Form::OctoDns,
            Told::Dnscontrol => Form::DnsControl,
            Told::Terraform => Form::Terraform,
            Told::ExternalDns => Form::ExternalDns,
        })
    }
}

/// A spec that may be applied.
pub struct Ready {
    pub compiled: Compiled,
    pub resolved: Resolved,
    pub artefacts: Artefacts,
    pub providers: Providers,
    pub which: Which,
    pub state: Arc<Place>,
    pub now: i64,
    pub counts: Counts,
    pub reports: Option<reports::Reports>,
    pub trust: Trust,
}

impl Ready {
    /// Compiles a spec and opens its providers; `None` where it has errors, which are told.
    pub fn of(spec: &Spec, which: Which, identities: &Identities) -> io::Result<Option<Ready>> {
        let now = now();
        let mut compiled = compile(&Wish { identities: Some(identities), ..spec.wish() });
        let (Some(resolved), Some(artefacts)) = (compiled.resolved.take(), compiled.artefacts.take()) else {
            tell(&compiled.report, &compiled.located, Format::Human)?;
            return Ok(None);
        };
        if let Some(only) = which.only.as_ref().filter(|only| resolved.domain(only).is_none()) {
            return Err(io::Error::other(format!("no domain of the spec is called `{only}`")));
        }
        let sources = Sources::open(&spec.dir).map_err(|why| io::Error::other(why.to_string()))?;
        let used: BTreeSet<&str> = resolved.domains.iter().filter_map(|domain| domain.provider.as_deref()).collect();
        let trust = trust(&compiled.spec, &sources, identities).map_err(io::Error::other)?;
        let ground = provider::Ground { sources: &sources, identities, trust: &trust, now };
        let state = Place::of(&compiled.spec, &ground).map_err(|why| io::Error::other(format!("state: {why}")))?;
        let state = Arc::new(if which.offline { state.fetched() } else { state });
        let recorded = match which.offline {
            true => Some(Arc::new(Recorded::of(state.load().map_err(io::Error::other)?))),
            false => None,
        };
        let mut providers = Providers::new();
        // A zone that the spec has no more may lie at a provider that no other zone is at.
        for dns in compiled.spec.dns.iter().filter(|dns| which.prune || used.contains(dns.name.as_str())) {
            if let Some(recorded) = &recorded {
                providers.insert(dns.name.clone(), Arc::<Recorded>::clone(recorded));
                continue;
            }
            let opened = provider::open(dns, &ground);
            let opened = opened.map_err(|why| io::Error::other(format!("dns \"{}\": {why}", printable(&dns.name))))?;
            providers.insert(dns.name.clone(), opened);
        }
        if used.is_empty() && !which.prune {
            let says =
                "no domain says who publishes its zone: write `dns \"NAME\"` in it, and a node `dns \"NAME\" { … }`";
            return Err(io::Error::other(says));
        }
        let reports = which.reports.as_ref().map(|path| self::reports(path, now)).transpose()?;
        let counts = Counts::default();
        Ok(Some(Ready { compiled, resolved, artefacts, providers, which, state, now, counts, reports, trust }))
    }

    /// What is in effect by a state.
    pub fn rolling(&self, state: &State) -> Rolling<'_> {
        Rolling::of(&self.resolved, &self.artefacts, state)
    }

    /// The ground with what is in effect.
    pub fn ground<'a>(&'a self, rolling: &'a Rolling<'_>) -> Ground<'a> {
        Ground {
            resolved: rolling.resolved(),
            artefacts: rolling.artefacts(),
            providers: &self.providers,
            only: self.which.only.as_ref(),
            adopt: self.which.adopt,
            prune: self.which.prune,
            counts: &self.counts,
            trust: &self.trust,
            now: self.now,
        }
    }

    pub fn places<'a>(&'a self, rolling: &'a Rolling<'_>) -> show::Places<'a> {
        show::Places { artefacts: rolling.artefacts(), located: &self.compiled.located }
    }

    /// Reads all zones, and weighs what is found by what the spec allows.
    pub async fn survey(&self, rolling: &Rolling<'_>, state: &State) -> Survey {
        let ground = self.ground(rolling);
        let mut survey = apply::survey(&ground, state).await;
        if !self.which.offline {
            let unsigned = authority::unsigned(self.which.resolver, safety::to_be_signed(&survey)).await;
            safety::unsigned(&ground, &unsigned, &mut survey.report);
        }
        if let Some(reports) = &self.reports {
            let mut report = std::mem::take(&mut survey.report);
            survey.unknown = match Authenticator::new(self.which.resolver.as_slice()) {
                Ok(authenticator) => reports::weigh(&ground, &survey, (reports, &authenticator), &mut report).await,
                Err(error) => vec![format!("what reports mean for SPF: {error}")],
            };
            survey.report = report;
        }
        allowance::bear(&self.compiled.spec, &self.compiled.located, self.now, &mut survey.report);
        survey.report.sort(&self.compiled.located);
        survey
    }

    /// Which spec and state it is, for the file.
    pub fn facts(&self, spec: &Spec, (rolling, state): (&Rolling<'_>, &State)) -> io::Result<Json> {
        let which = self.which.clone();
        let spec = file::Spec {
            folder: spec.dir.clone(),
            environment: spec.env.clone(),
            digest: self.digest(),
            adopt: which.adopt,
            prune: which.prune,
            only: which.only,
        };
        let state = file::StateFacts { kept: self.state.name(), serial: state.serial };
        Ok(json!({ "spec": spec, "state": state, "stages": rolling.stages }))
    }

    /// A digest of what the spec wants in all zones.
    pub fn digest(&self) -> String {
        apply::digest(&self.resolved, &self.artefacts)
    }

    /// Tells what keeps the plan from being made.
    pub fn complain(&self, survey: &Survey) -> io::Result<()> {
        let mut err = io::stderr().lock();
        for (zone, why) in survey.failed() {
            writeln!(err, "{zone}: {}", printable(why))?;
        }
        for what in &survey.unknown {
            writeln!(err, "not known, since DNS does not say: {what}")?;
        }
        write!(err, "{}", render::human(&survey.report, &self.compiled.located, coloured(&err)))
    }
}

/// What was reported lately; what among it is no report is told.
fn reports(path: &Path, now: i64) -> io::Result<reports::Reports> {
    let reports = reports::Reports::read(path, now)?;
    let mut err = io::stderr().lock();
    for why in reports.others.iter().take(MOST_TOLD) {
        writeln!(err, "left out: {}", printable(why))?;
    }
    let more = reports.others.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        writeln!(err, "left out: {more} more files that are no reports")?;
    }
    if reports.read == 0 {
        writeln!(err, "{}: no DMARC report of the last 30 days", path.display())?;
    }
    Ok(reports)
}

/// Whom a spec trusts over TLS.
pub fn trust(spec: &schema::spec::Spec, sources: &Sources, identities: &Identities) -> Result<Trust, String> {
    let named = spec.trust.iter().flat_map(|trust| &trust.ca);
    let opened = named.map(|ca| provider::secret(ca, sources, identities).map(|text| text.reveal().to_owned()));
    Ok(Trust::beside(opened.collect::<Result<_, _>>()?))
}

/// A runtime for what asks over the network.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Plan {
    pub fn run(self) -> io::Result<Outcome> {
        let identities = self.identity.load()?;
        if let Some(form) = self.format.form() {
            return self.files(form);
        }
        let which = Which { offline: self.offline, ..self.which };
        let Some(ready) = Ready::of(&self.spec, which, &identities)? else { return Ok(Outcome::Failed) };
        let state = ready.state.load().map_err(io::Error::other)?;
        let mut rolling = ready.rolling(&state);
        let (survey, shown) = progress::watched(&runtime()?, (&ready.counts, "read"), async {
            let shown = match self.offline {
                true => Shown::default(),
                false => rolling.advance(ready.which.resolver, ready.which.only.as_ref(), ready.now).await.1,
            };
            (ready.survey(&rolling, &state).await, shown)
        });
        let places = ready.places(&rolling);
        let json = || {
            let facts = ready.facts(&self.spec, (&rolling, &state))?;
            let json = show::json_form(&survey, &places, &facts);
            Ok::<_, io::Error>(serde_json::to_string_pretty(&json)? + "\n")
        };
        let mut out = io::stdout().lock();
        match self.format {
            Told::Human => {
                write!(out, "{}", show::human(&survey, &places, coloured(&io::stdout())))?;
                write!(out, "{}", show::waiting(&rolling.rollouts(), &shown, ready.now))?;
            }
            Told::Json => write!(out, "{}", json()?)?,
            _ => write!(out, "{}", show::markdown(&survey, &places))?,
        }
        out.flush()?;
        if let Some(path) = &self.out {
            put(path, &json()?)?;
        }
        ready.complain(&survey)?;
        let outcome = if survey.failed().next().is_some() {
            Outcome::Failed
        } else if survey.is_refused() {
            Outcome::Refused
        } else if survey.changes().next().is_some() {
            Outcome::Differs
        } else {
            Outcome::Fine
        };
        drop(out);
        at_the_end((survey, shown, state, rolling));
        at_the_end(ready);
        Ok(outcome)
    }
}

impl Plan {
    /// Writes the zones as another tool has them.
    fn files(&self, form: Form) -> io::Result<Outcome> {
        let compiled = compile(&self.spec.wish());
        let (Some(resolved), Some(artefacts)) = (&compiled.resolved, &compiled.artefacts) else {
            tell(&compiled.report, &compiled.located, Format::Human)?;
            return Ok(Outcome::Failed);
        };
        let state = super::state(&self.spec.dir, &compiled.spec, &self.identity.load()?)?;
        let rolling = Rolling::of(resolved, artefacts, &state);
        let is_meant = |name: &DomainName| self.which.only.as_ref().is_none_or(|only| only == name);
        let zones: Vec<_> = rolling.artefacts().zones.iter().filter(|zone| is_meant(&zone.name)).collect();
        let nodes: HashMap<&str, &'static str> =
            compiled.spec.dns.iter().map(|dns| (dns.name.as_str(), provider::kind(dns))).collect();
        let kind = |name: &DomainName| nodes.get(resolved.domain(name)?.provider.as_deref()?).copied();
        let made = foreign::files(form, &zones, &kind);
        for lack in &made.lacking {
            writeln!(io::stderr(), "left out, since the form has no such records: {}", printable(lack))?;
        }
        let mut out = io::stdout().lock();
        for file in &made.files {
            match &self.out {
                Some(folder) => {
                    std::fs::create_dir_all(folder)?;
                    put(&folder.join(&file.name), &file.text)?;
                }
                None => out.write_all(file.text.as_bytes())?,
            }
        }
        Ok(Outcome::Fine)
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    write::replace(path, text.as_bytes(), write::Mode::Public)
}
