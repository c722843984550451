//! A program that keeps zones in whatever way it likes: one process a request, JSON on its standard input and output.
//! The protocol is in `docs/dns.md`.

use super::{Collected, Ground, Limits, Provider, ProviderError};
use crate::diagnostic::printable;
use crate::plan::{Change, Live, Set};
use crate::zone::{Kind, master};
use async_trait::async_trait;
use schema::name::DomainName;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command as Process;
use tokio::time::timeout;

/// What it can hold, as far as is known here.
pub const LIMITS: Limits = Limits::dns("a command");
/// The protocol's version.
const VERSION: u32 = 1;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// The most octets of an answer.
const LARGEST: u64 = 64 << 20;
/// How much of what it says on standard error is told.
const SAID: usize = 400;

/// A program, its arguments, and where it runs.
pub struct Command {
    program: String,
    arguments: Vec<String>,
    folder: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Zone {
    sets: Vec<Found>,
    /// Names that have records which the program does not show.
    #[serde(default)]
    others: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Found {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    ttl: u64,
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Done {
    done: bool,
}

/// Why it did not do it.
#[derive(Debug, Deserialize)]
struct Fault {
    error: Which,
    #[serde(default)]
    says: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    Missing,
    Unavailable,
    Refused,
    Moved,
    Unknown,
}

#[derive(Debug, Serialize)]
struct Side {
    ttl: u64,
    values: Vec<String>,
}

impl Command {
    /// The node's words, run in the spec's folder.
    ///
    /// # Errors
    /// Where it names no program.
    pub fn new(words: &[String], ground: &Ground<'_>) -> Result<Command, String> {
        let (program, arguments) = words.split_first().ok_or("`command` names no program")?;
        let folder = ground.sources.root().to_path_buf();
        // A path begins at the spec; a name alone is looked for in PATH.
        let program = match program.contains('/') {
            true => folder.join(program).to_string_lossy().into_owned(),
            false => program.clone(),
        };
        Ok(Command { program, arguments: arguments.to_vec(), folder })
    }

    async fn ask(&self, request: &Json, writes: bool) -> Result<Json, ProviderError> {
        let program = printable(&self.program).to_string();
        let lost = |why: String| match writes {
            true => ProviderError::Unknown(format!("`{program}` {why}")),
            false => ProviderError::Unavailable(format!("`{program}` {why}")),
        };
        let mut process = Process::new(&self.program);
        process.args(&self.arguments).current_dir(&self.folder).kill_on_drop(true);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let cannot = |error: std::io::Error| ProviderError::Refused(format!("`{program}` does not run: {error}"));
        let mut child = process.spawn().map_err(cannot)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(lost("has no standard input and output".into()));
        };
        let body = format!("{request}\n");
        let talk = async {
            let tell = async {
                // One that has read enough may have closed it.
                let _ = stdin.write_all(body.as_bytes()).await;
                drop(stdin);
            };
            let (mut said, mut complains) = (Vec::new(), Vec::new());
            let mut out = stdout.take(LARGEST + 1);
            let mut err = stderr.take(LARGEST);
            let ((), read, _) = tokio::join!(tell, out.read_to_end(&mut said), err.read_to_end(&mut complains));
            read?;
            Ok::<_, std::io::Error>((said, complains, child.wait().await?))
        };
        let (said, complains, status) = match timeout(PATIENCE, talk).await {
            Ok(talked) => talked.map_err(|error| lost(error.to_string()))?,
            Err(_) => return Err(lost(format!("takes longer than {} s", PATIENCE.as_secs()))),
        };
        let complains = String::from_utf8_lossy(&complains);
        let complains = complains.get(..complains.floor_char_boundary(SAID)).unwrap_or_default().trim();
        let complains = printable(complains);
        if said.len() as u64 > LARGEST {
            return Err(lost(format!("says more than {LARGEST} octets")));
        }
        let answer: Option<Json> = serde_json::from_slice(&said).ok();
        if let Some(Ok(fault)) = answer.clone().map(serde_json::from_value::<Fault>) {
            let says = format!("`{program}`: {} {complains}", printable(&fault.says)).trim_end().to_owned();
            return Err(match fault.error {
                Which::Missing => ProviderError::Missing(says),
                Which::Unavailable => ProviderError::Unavailable(says),
                Which::Refused => ProviderError::Refused(says),
                Which::Moved => ProviderError::Moved(says),
                Which::Unknown => ProviderError::Unknown(says),
            });
        }
        if !status.success() {
            return Err(lost(format!("ends with {status}: {complains}")));
        }
        answer.ok_or_else(|| lost(format!("answers what is no JSON: {complains}")))
    }
}

/// A request.
fn request(what: &str, zone: &DomainName) -> Json {
    json!({ "waybill": VERSION, "do": what, "zone": zone.as_str() })
}

fn side(set: &Option<Set>) -> Option<Side> {
    let set = set.as_ref()?;
    Some(Side { ttl: set.ttl, values: set.values.iter().map(ToString::to_string).collect() })
}

#[async_trait]
impl Provider for Command {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        let answer = self.ask(&request("read", zone), false).await?;
        let found: Zone = serde_json::from_value(answer).map_err(|error| {
            ProviderError::Refused(format!("`{}` answers what is not understood: {error}", printable(&self.program)))
        })?;
        let mut collected = Collected::default();
        for set in &found.sets {
            let kind = Kind::named(&set.kind);
            for text in &set.values {
                let value = kind.and_then(|kind| master::value(kind, text));
                collected.take(zone, &set.name, &set.kind, (set.ttl, value));
            }
        }
        found.others.iter().for_each(|name| collected.take(zone, name, "ANY", (0, None)));
        Ok(collected.live())
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes: Vec<Json> = super::by_name(changes)
            .into_iter()
            .flatten()
            .map(|change| {
                let (name, kind) = (change.key.name.as_str(), change.key.kind.name());
                json!({ "name": name, "type": kind, "before": side(&change.before), "after": side(&change.after) })
            })
            .collect();
        let mut request = request("write", zone);
        if let Some(request) = request.as_object_mut() {
            request.insert("changes".into(), changes.into());
        }
        match serde_json::from_value::<Done>(self.ask(&request, true).await?) {
            Ok(Done { done: true }) => Ok(()),
            _ => Err(ProviderError::Unknown(format!("`{}` does not say that it did it", printable(&self.program)))),
        }
    }
}
