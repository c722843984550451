//! Who writes, where a state is no file: a note in the state itself, made by the same compare and swap. A run that dies
//! leaves it behind; the next one takes over when it was not renewed for long enough, or at once where it can see that
//! the process is no more.

use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Duration;

/// How long a note holds that is not renewed, in seconds.
pub const LAPSES: i64 = 180;
/// How often a run renews its note.
pub const RENEWS: Duration = Duration::from_secs(60);
/// How far the clocks of two machines may differ, in seconds.
const SKEW: i64 = 300;
/// How much of a machine's name is told.
const NAME: usize = 64;

/// That a run is writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// For people: the machine and the process.
    pub by: String,
    /// Which process on which start of which machine; empty where the system does not say.
    pub process: String,
    /// When it was made or renewed, in seconds since 1970 by the clock of its machine.
    pub at: i64,
}

/// Which start of which machine this is, and which of its sets of processes.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let processes = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), processes.display()))
}

/// When a process of this machine began, in its own unit; `None` where it is no more.
fn began(process: &str) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold anything.
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

impl Hold {
    /// This process's, at a time.
    pub fn own(now: i64) -> Hold {
        let id = std::process::id().to_string();
        let name = rustix::system::uname().nodename().to_string_lossy().chars().take(NAME).collect::<String>();
        let process = machine().zip(began(&id)).map(|(machine, began)| format!("{machine} {id} {began}"));
        Hold { by: format!("process {id} on {name}"), process: process.unwrap_or_default(), at: now }
    }

    /// Whether the process that made it has ended, as far as that can be seen from here.
    fn has_ended(&self) -> bool {
        let Some(fields) = machine().and_then(|machine| self.process.strip_prefix(&format!("{machine} "))) else {
            return false;
        };
        let Some((id, since)) = fields.split_once(' ') else { return false };
        id.chars().all(|c| c.is_ascii_digit()) && began(id).as_deref() != Some(since)
    }
}

/// Notes of others that were seen, and since when: what is not renewed lapses by the clock of who looks.
#[derive(Debug, Default)]
pub struct Watched(Option<(Hold, i64)>);

impl Watched {
    /// Whether a note that is there at a time need not be heeded any more.
    pub fn has_lapsed(&mut self, hold: &Hold, now: i64) -> bool {
        let since = match &self.0 {
            Some((seen, since)) if seen == hold => *since,
            _ => {
                self.0 = Some((hold.clone(), now));
                now
            }
        };
        let unchanged = now.saturating_sub(since) >= LAPSES;
        unchanged || now.saturating_sub(hold.at) >= LAPSES + SKEW || hold.has_ended()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_note_lapses_unless_it_is_renewed() {
        let own = Hold::own(1_000);
        assert!(!own.has_ended());
        let other = Hold { process: "another machine 1 1".into(), ..own.clone() };
        let mut watched = Watched::default();
        assert!(!watched.has_lapsed(&other, 1_000));
        assert!(!watched.has_lapsed(&other, 1_000 + LAPSES - 1));
        let renewed = Hold { at: 1_060, ..other.clone() };
        assert!(!watched.has_lapsed(&renewed, 1_000 + LAPSES));
        assert!(watched.has_lapsed(&renewed, 1_000 + 2 * LAPSES));
        // One that is old by any clock.
        assert!(Watched::default().has_lapsed(&other, 1_000 + LAPSES + SKEW));
        // A process that has ended, and one whose number another has now.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = child.id();
        child.wait().unwrap();
        let of = |id: u32, began: &str| Hold { process: format!("{} {id} {began}", machine().unwrap()), ..own.clone() };
        assert!(of(id, "1").has_ended());
        assert!(of(std::process::id(), "1").has_ended());
    }
}
