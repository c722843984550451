//! Files that are there whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its owner only: 0600.
    Private,
    /// Everybody: 0644.
    Public,
}

/// Writes a file beside its place, syncs it, and renames it there, so that a reader finds the old or the new one.
///
/// # Errors
/// The system's, with the file's name.
pub fn replace(path: &Path, octets: &[u8], mode: Mode) -> io::Result<()> {
    put(path, octets, mode, true)
}

/// The same; not `durable`, it does not wait for the disk: for what the next build makes again, a thousand at once.
fn put(path: &Path, octets: &[u8], mode: Mode, durable: bool) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let permissions = match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    };
    let permissions = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(permissions);
    let mut file = builder.prefix(".waybill-").permissions(permissions).tempfile_in(folder).map_err(named)?;
    file.write_all(octets).map_err(named)?;
    if durable {
        file.as_file().sync_data().map_err(named)?;
    }
    file.persist(path).map_err(|error| named(error.error))?;
    Ok(())
}

/// Writes a file that must not be there yet.
///
/// # Errors
/// The system's, with the file's name; `AlreadyExists` where it is.
pub fn create(path: &Path, octets: &[u8], mode: Mode) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let permissions = if mode == Mode::Private { 0o600 } else { 0o644 };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(permissions).open(path).map_err(named)?;
    file.write_all(octets).and_then(|()| file.sync_data()).map_err(named)
}

/// Writes a build: `runtime.json`, `records.json`, and a file for each zone. Zones of earlier builds that are no
/// longer in the spec are taken away; other files stay.
///
/// # Errors
/// The system's, with the file's name.
pub fn build(out: &Path, artefacts: &crate::emit::Artefacts) -> io::Result<()> {
    let zones = out.join("zones");
    fs::create_dir_all(&zones)?;
    let file = |name: &str| zones.join(format!("{name}.zone"));
    for zone in &artefacts.zones {
        let (path, text) = (file(zone.name.as_str()), zone.master_file());
        // A build of ten thousand zones mostly changes none.
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            continue;
        }
        put(&path, text.as_bytes(), Mode::Public, false)?;
    }
    let kept: std::collections::HashSet<PathBuf> =
        artefacts.zones.iter().map(|zone| file(zone.name.as_str())).collect();
    for entry in fs::read_dir(&zones)? {
        let path = entry?.path();
        let ours = || {
            let origin = path.file_stem().map(|stem| format!("$ORIGIN {}.\n$TTL ", stem.to_string_lossy()));
            origin.is_some_and(|origin| fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&origin)))
        };
        if path.extension().is_some_and(|e| e == "zone") && !kept.contains(&path) && ours() {
            fs::remove_file(&path)?;
        }
    }
    put(&out.join("records.json"), artefacts.records_json().as_bytes(), Mode::Public, false)?;
    // Last, since the server takes it the moment that it is there.
    replace(&out.join("runtime.json"), artefacts.runtime_json().as_bytes(), Mode::Private)
}
