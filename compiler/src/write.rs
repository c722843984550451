//! Files that are there whole or not at all.

use crate::emit::Artefacts;
use crate::read::parallel;
use crate::zone::Zone;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use tempfile::NamedTempFile;

/// How much is written at once, in octets.
const BUFFER: usize = 64 << 10;

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
    let file = beside(path, mode, |to| to.write_all(octets))?;
    file.as_file().sync_data().map_err(|error| named(path, &error))?;
    into_place(file, path)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A file beside its place, whole, but neither synced nor in its place yet.
fn beside(path: &Path, mode: Mode, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<NamedTempFile> {
    let named = |error: io::Error| named(path, &error);
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let permissions = match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    };
    let permissions = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(permissions);
    let mut file = builder.prefix(".waybill-").permissions(permissions).tempfile_in(folder).map_err(named)?;
    let mut to = io::BufWriter::with_capacity(BUFFER, file.as_file_mut());
    write(&mut to).and_then(|()| to.flush()).map_err(named)?;
    drop(to);
    Ok(file)
}

fn into_place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map_err(|error| named(path, &error.error))?;
    Ok(())
}

/// Writes a file that must not be there yet.
///
/// # Errors
/// The system's, with the file's name; `AlreadyExists` where it is.
pub fn create(path: &Path, octets: &[u8], mode: Mode) -> io::Result<()> {
    let named = |error: io::Error| named(path, &error);
    let permissions = if mode == Mode::Private { 0o600 } else { 0o644 };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(permissions).open(path).map_err(named)?;
    file.write_all(octets).and_then(|()| file.sync_data()).map_err(named)
}

/// Writes a build: `runtime.json`, `records.json`, and a file for each zone. Zones of earlier builds that are no
/// longer in the spec are taken away; other files stay. Only `runtime.json` waits for the disk: the rest the next build
/// makes again, a thousand files at once.
///
/// # Errors
/// The system's, with the file's name.
pub fn build(out: &Path, artefacts: &Artefacts) -> io::Result<()> {
    let folder = out.join("zones");
    fs::create_dir_all(out)?;
    let (runtime, records) = (out.join("runtime.json"), out.join("records.json"));
    let ready = thread::scope(|scope| {
        let ready = scope.spawn(|| {
            let file = beside(&runtime, Mode::Private, |to| artefacts.runtime_json(to))?;
            file.as_file().sync_data().map_err(|error| named(&runtime, &error))?;
            Ok::<_, io::Error>(file)
        });
        let beside_it = scope.spawn(|| {
            let file = beside(&records, Mode::Public, |to| artefacts.records_json(to))?;
            into_place(file, &records)
        });
        match folder.exists() {
            true => zones(&folder, &artefacts.zones)?,
            false => first_zones(&folder, out, &artefacts.zones)?,
        }
        let failed = |_| io::Error::other("writing was cut off");
        beside_it.join().map_err(failed)??;
        ready.join().map_err(failed)?
    })?;
    // Last, since the server takes it the moment that it is there.
    into_place(ready, &runtime)
}

/// The same where no zone was written before: a folder that is put in its place when it is whole, which takes a third of
/// the time of ten thousand files that each are.
fn first_zones(folder: &Path, out: &Path, all: &[Zone]) -> io::Result<()> {
    let beside = tempfile::Builder::new().prefix(".waybill-").tempdir_in(out)?;
    for zone in all {
        let path = beside.path().join(format!("{}.zone", zone.name));
        fs::write(&path, zone.master_file()).map_err(|error| named(&path, &error))?;
    }
    fs::set_permissions(beside.path(), <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755))?;
    fs::rename(beside.path(), folder).map_err(|error| named(folder, &error))?;
    // It is no temporary folder any more.
    let _ = beside.keep();
    Ok(())
}

/// Writes a file for each zone, and takes those of others away.
fn zones(folder: &Path, all: &[Zone]) -> io::Result<()> {
    let file = |zone: &Zone| folder.join(format!("{}.zone", zone.name));
    let written = parallel::map(all, |zone| {
        let (path, text) = (file(zone), zone.master_file());
        // A build of ten thousand zones mostly changes none.
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        into_place(beside(&path, Mode::Public, |to| to.write_all(text.as_bytes()))?, &path)
    });
    written.into_iter().collect::<io::Result<()>>()?;
    let kept: HashSet<PathBuf> = all.iter().map(file).collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ours = || {
            let origin = path.file_stem().map(|stem| format!("$ORIGIN {}.\n$TTL ", stem.to_string_lossy()));
            origin.is_some_and(|origin| fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&origin)))
        };
        if path.extension().is_some_and(|e| e == "zone") && !kept.contains(&path) && ours() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
