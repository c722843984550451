//! `waybill lock`

use super::{Format, Outcome, Spec, tell};
use clap::Args;
use compiler::lock::{Asked, LOCK_FILE, Lock as File, Question};
use compiler::pipeline::{Locking, lock};
use compiler::resolver::{AT_ONCE, resolver};
use compiler::write;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use tokio::task::JoinSet;

/// Asks DNS what the spec needs to know of names outside it, and writes that to waybill.lock beside it.
#[derive(Args)]
pub struct Lock {
    #[command(flatten)]
    spec: Spec,
    /// The DNS server to ask in place of the system's, `ADDR:PORT`.
    #[arg(long, env = "WAYBILL_RESOLVER")]
    resolver: Option<SocketAddr>,
    /// Writes nothing; shows what differs from waybill.lock, and exits with 2 where something does.
    #[arg(long)]
    check: bool,
}

impl Lock {
    pub fn run(self) -> io::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let resolver = runtime.block_on(async { resolver(self.resolver) }).map_err(io::Error::other)?;
        let ask = |questions| runtime.block_on(ask(&resolver, questions));
        let Locking { report, located, old, new } = lock(&self.spec.wish(), ask)?;
        let Some(new) = new else {
            tell(&report, &located, Format::Human)?;
            return Ok(Outcome::Failed);
        };
        let differs = show(&old, &new)?;
        if self.check {
            return Ok(if differs { Outcome::Differs } else { Outcome::Fine });
        }
        put(&self.spec.dir.join(LOCK_FILE), &new)?;
        Ok(Outcome::Fine)
    }
}

/// Prints the lines that differ; whether there are any.
fn show(old: &File, new: &File) -> io::Result<bool> {
    let (old, new): (BTreeSet<String>, BTreeSet<String>) =
        (old.lines().into_iter().collect(), new.lines().into_iter().collect());
    let mut changes: Vec<(&String, char)> = old.difference(&new).map(|line| (line, '-')).collect();
    changes.extend(new.difference(&old).map(|line| (line, '+')));
    changes.sort_by_key(|(line, sign)| (line.splitn(4, ' ').take(3).collect::<Vec<_>>().join(" "), *sign == '+'));
    let mut out = io::stdout().lock();
    for (line, sign) in &changes {
        writeln!(out, "{sign} {line}")?;
    }
    Ok(!changes.is_empty())
}

/// Writes the lock, where something in it changed.
fn put(path: &Path, lock: &File) -> io::Result<()> {
    let text = lock.text();
    // A spec that asks for nothing needs no file.
    if std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) || (lock.sets.is_empty() && !path.exists()) {
        return Ok(());
    }
    write::replace(path, text.as_bytes(), write::Mode::Public)
}

/// Asks, several questions at once.
async fn ask(resolver: &TokioResolver, questions: Vec<Question>) -> io::Result<Vec<(Question, Vec<String>)>> {
    let (mut waiting, mut answers) = (JoinSet::new(), Vec::with_capacity(questions.len()));
    for question in questions {
        if waiting.len() >= AT_ONCE
            && let Some(answer) = waiting.join_next().await
        {
            answers.push(answer??);
        }
        waiting.spawn(one(resolver.clone(), question));
    }
    while let Some(answer) = waiting.join_next().await {
        answers.push(answer??);
    }
    Ok(answers)
}

async fn one(resolver: TokioResolver, question: Question) -> io::Result<(Question, Vec<String>)> {
    let kind = match question.kind {
        Asked::A => RecordType::A,
        Asked::Aaaa => RecordType::AAAA,
        Asked::Caa => RecordType::CAA,
        Asked::Cname => RecordType::CNAME,
        Asked::Mx => RecordType::MX,
        Asked::Ptr => RecordType::PTR,
        Asked::Txt => RecordType::TXT,
    };
    let values = match resolver.lookup(format!("{}.", question.name), kind).await {
        Ok(found) => found.answers().iter().filter_map(|record| value(question.kind, &record.data)).collect(),
        Err(error) if error.is_nx_domain() || error.is_no_records_found() => Vec::new(),
        Err(error) => {
            let says = format!("DNS does not say what `{} {}` is: {error}", question.name, question.kind.name());
            return Err(io::Error::other(says));
        }
    };
    Ok((question, values))
}

/// A value as the lock has it; aliases on the way are none.
fn value(kind: Asked, data: &RData) -> Option<String> {
    let host = |name: &Name| {
        let name = name.to_ascii().to_ascii_lowercase();
        if name == "." { name } else { name.trim_end_matches('.').to_owned() }
    };
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    match (kind, data) {
        (Asked::A, RData::A(address)) => Some(address.0.to_string()),
        (Asked::Aaaa, RData::AAAA(address)) => Some(address.0.to_string()),
        (Asked::Caa, RData::CAA(caa)) => Some(format!("{} {} \"{}\"", caa.flags(), caa.tag, text(&caa.value))),
        (Asked::Cname, RData::CNAME(to)) => Some(host(&to.0)),
        (Asked::Mx, RData::MX(mx)) => Some(format!("{} {}", mx.preference, host(&mx.exchange))),
        (Asked::Ptr, RData::PTR(to)) => Some(host(&to.0)),
        (Asked::Txt, RData::TXT(txt)) => Some(text(&txt.txt_data.concat())),
        _ => None,
    }
}
