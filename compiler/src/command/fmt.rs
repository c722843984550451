//! `waybill fmt`

use super::Outcome;
use clap::Args;
use compiler::diagnostic::{Report, printable};
use compiler::read::files::Sources;
use compiler::read::grammar;
use compiler::{format, upgrade, write};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Lays a spec's files out.
#[derive(Args)]
pub struct Fmt {
    /// The spec's folder, or one file.
    dir: PathBuf,
    /// Changes nothing, and fails where something would change.
    #[arg(long)]
    check: bool,
    /// Writes older spellings as they are today, too.
    #[arg(long)]
    upgrade: bool,
}

impl Fmt {
    pub fn run(self) -> io::Result<Outcome> {
        let (path, check) = (self.dir.as_path(), self.check);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let single = std::fs::metadata(path).map_err(named)?.is_file();
        let files = if single { vec![path.to_path_buf()] } else { spec_files(path)? };
        let language = self.upgrade.then(grammar::language);
        let mut err = io::stderr().lock();
        let mut well = true;
        for file in files {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
            let newer = language.as_ref().and_then(|language| upgrade::upgrade(&text, language));
            match format::format(newer.as_deref().unwrap_or(&text)) {
                Err(why) => {
                    writeln!(err, "{}: {why}", shown(&file))?;
                    well = false;
                }
                Ok(laid) if laid == text => {}
                Ok(_) if check => {
                    writeln!(err, "{}: not in the canonical layout", shown(&file))?;
                    well = false;
                }
                // What a link names is written, and the link stays.
                Ok(laid) => write::replace(&file.canonicalize()?, laid.as_bytes(), write::Mode::Public)?,
            }
        }
        Ok(Outcome::of(well))
    }
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

/// The files that the spec is read from, so that nothing else in the folder is touched.
fn spec_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let sources = Sources::open(folder).map_err(|why| io::Error::other(format!("{} {why}", folder.display())))?;
    let mut report = Report::new();
    let reading = compiler::read::read(&sources, &mut report);
    let read = reading.located.files.iter().filter(|file| !file.unread);
    let names = read.map(|file| sources.root().join(&file.name));
    let files: Vec<PathBuf> = names.collect();
    if files.is_empty() {
        return Err(io::Error::other(format!("{} holds no mail.kdl that can be read", folder.display())));
    }
    Ok(files)
}
