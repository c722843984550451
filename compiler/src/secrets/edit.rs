//! `waybill secrets edit`: a secret in an editor, and nothing plain left behind.
//!
//! The plain text lives in a file of mode 0600 in a folder of mode 0700, in memory where the system has such a place.
//! It is removed when the editor ends, and when we are told to end ourselves: SIGTERM and SIGHUP end the editor too;
//! SIGINT and SIGQUIT, which a terminal sends to both, are the editor's to act on.

use crate::write::{self, Mode};
use signal_hook::consts::signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// How editing ended.
#[derive(Debug)]
pub enum Edited {
    /// With this text.
    Text(Vec<u8>),
    /// With the one that it began with.
    Same,
}

/// The editor that the environment names.
///
/// # Errors
/// None is named.
pub fn editor() -> io::Result<OsString> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(std::env::var_os).find(|name| !name.is_empty());
    named.ok_or_else(|| io::Error::other("name an editor in EDITOR, as in `EDITOR=vi`"))
}

/// Where a plain text does not reach a disk, if there is such a place.
fn place() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let memory = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    memory.into_iter().find(|path| path.is_absolute() && path.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// Lets an editor change a text. `name` is what the file is called, for the editor to know its kind.
///
/// # Errors
/// The editor fails or cannot be run, we are told to end, or the text grows over [`sealed::SEALED_MOST`].
pub fn edit(plain: &[u8], name: &str, editor: &OsString) -> io::Result<Edited> {
    // Before anything is written: from here on a signal waits until all is removed.
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let own = <Permissions as PermissionsExt>::from_mode(0o700);
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("waybill-").permissions(own);
    let folder = builder.tempdir_in(place()).or_else(|_| builder.tempdir())?;
    let edited = within(folder.path(), plain, &Session { name, editor }, &mut signals);
    // Also what the editor put beside it.
    let removed = folder.close();
    let edited = edited?;
    removed?;
    if let Some(signal) = signals.pending().find(|signal| ends(*signal)) {
        return Err(ended(signal));
    }
    Ok(edited)
}

struct Session<'a> {
    name: &'a str,
    editor: &'a OsString,
}

fn within(folder: &Path, plain: &[u8], session: &Session<'_>, signals: &mut Signals) -> io::Result<Edited> {
    let path = folder.join(session.name);
    write::create(&path, plain, Mode::Private)?;
    // As Git does: the variable may hold arguments. `exec`, so that the child is the editor itself.
    let mut script = OsString::from("exec ");
    script.push(session.editor);
    script.push(" \"$@\"");
    let child = Command::new("/bin/sh").arg("-c").arg(script).arg("editor").arg(&path).spawn()?;
    let status = wait(child, signals)?;
    if !status.success() {
        return Err(io::Error::other(format!("the editor failed ({status}), and nothing was changed")));
    }
    let mut text = Vec::new();
    std::fs::File::open(&path)?.take(sealed::SEALED_MOST as u64 + 1).read_to_end(&mut text)?;
    if text.len() > sealed::SEALED_MOST {
        return Err(io::Error::other(sealed::Unsealed::Large.to_string()));
    }
    Ok(if text == plain { Edited::Same } else { Edited::Text(text) })
}

fn ends(signal: i32) -> bool {
    matches!(signal, SIGHUP | SIGTERM)
}

fn ended(signal: i32) -> io::Error {
    let name = if signal == SIGHUP { "SIGHUP" } else { "SIGTERM" };
    io::Error::other(format!("ended by {name}, and nothing was changed"))
}

/// Until the editor ends, or we shall.
fn wait(mut child: Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    // It may have ended before we listened.
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    for signal in signals.forever() {
        if ends(signal) {
            // Gone, so that it writes nothing where all is removed.
            child.kill()?;
            child.wait()?;
            return Err(ended(signal));
        }
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
    }
    child.wait()
}
