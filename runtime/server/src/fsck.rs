//! `waybilld fsck`: whether what the stores hold fits together, and its repair. Looks beside a running server; a repair
//! of a RocksDB needs it stopped.

use crate::aside::Aside;
use crate::clock;
use crate::import::opened;
use crate::run::StartError;
use store::check::{self, Beside, Checked, How, State};
use store::open;

/// Checks, and mends where told to.
///
/// # Errors
/// [`StartError`] where the mail cannot be opened, or the store fails.
pub async fn fsck(aside: Aside, how: &How) -> Result<Checked, StartError> {
    let config = aside.configuration().await?;
    let ground = aside.ground();
    let base = if how.repair {
        opened(open::to_write(&ground, &config.storage).await, "stop the server for the repair")?
    } else {
        open::to_read(&ground, &config.storage).await?
    };
    let index = open::index(&ground, &config.storage, &base, !how.repair).await?;
    let lookups = open::lookups(&ground, &config.storage, &base, !how.repair).await?;
    let beside = Beside { index: index.as_ref(), lookups: lookups.as_ref() };
    Ok(check::check(&base, beside, how, clock::now()).await?)
}

/// Lines for people: each finding, then what was looked at.
pub fn report(done: &Checked) -> String {
    let mut text = String::new();
    for found in &done.findings {
        let remedy = match found.state {
            State::Mendable => format!("--repair would {}", found.remedy),
            State::Mended => format!("mended: {}", found.remedy),
            State::Left => format!("left: {}", found.remedy),
        };
        text.push_str(&format!("{}: {} ({}); {remedy}\n", found.place, found.what, found.kind));
    }
    let all = done.mendable + done.mended + done.left;
    if all > done.findings.len() as u64 {
        text.push_str(&format!("and {} more\n", all - done.findings.len() as u64));
    }
    let Checked { accounts, messages, queued, references, blobs, octets, mendable, mended, left, .. } = done;
    text.push_str(&format!(
        "{accounts} accounts, {messages} messages, {queued} queued, {references} references, {blobs} blobs"
    ));
    if done.people > 0 {
        text.push_str(&format!(", {} people of the API", done.people));
    }
    if done.indexed > 0 {
        text.push_str(&format!(", {} in the full-text index", done.indexed));
    }
    if done.lookups > 0 {
        text.push_str(&format!(", {} lookups", done.lookups));
    }
    if *octets > 0 {
        text.push_str(&format!(", {octets} octets read"));
    }
    text.push_str(&match all {
        0 => ": sound\n".to_owned(),
        _ => format!(": {mendable} to mend, {mended} mended, {left} left\n"),
    });
    text
}
