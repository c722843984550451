//! `waybill secrets`

use super::{Format, Outcome, tell};
use clap::{Args, Subcommand};
use compiler::diagnostic::{Report, printable};
use compiler::read::files::Sources;
use compiler::read::{self, Reading};
use compiler::secrets::{self, edit, rekey};
use compiler::write::{self, Mode};
use sealed::identity::{Identities, load};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Makes, changes and checks secrets that are encrypted with age.
#[derive(Args)]
pub struct Secrets {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Encrypts a secret to the spec's recipients, and prints it as a value for the spec or writes a file.
    Encrypt {
        /// The spec's folder.
        dir: PathBuf,
        /// The secret; standard input unless said, or where it is `-`.
        file: Option<PathBuf>,
        /// Writes this `.age` file instead of printing.
        #[arg(long, value_name = "FILE.age")]
        out: Option<PathBuf>,
    },
    /// Opens an `.age` file in $VISUAL or $EDITOR, and encrypts what comes of it. Makes the file if there is none.
    Edit {
        /// The spec's folder.
        dir: PathBuf,
        /// The file, named from the spec's folder as the spec names it.
        file: PathBuf,
        #[command(flatten)]
        identity: Identity,
    },
    /// Encrypts every secret of the spec anew, to the recipients that the spec has now.
    Rekey {
        /// The spec's folder.
        dir: PathBuf,
        #[command(flatten)]
        identity: Identity,
    },
    /// Opens every encrypted secret, and holds its recipients against the spec's. Prints no secret.
    Check {
        /// The spec's folder.
        dir: PathBuf,
        /// How findings are told.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
        #[command(flatten)]
        identity: Identity,
    },
}

/// What secrets are opened with.
#[derive(Args)]
pub struct Identity {
    /// A file of age identities or an SSH private key, to open `(age)` secrets with; may be given several times.
    #[arg(long = "identity", value_name = "FILE", env = "WAYBILL_IDENTITY", hide_env_values = true)]
    files: Vec<PathBuf>,
}

impl Identity {
    /// Reads the files.
    pub fn load(&self) -> io::Result<Identities> {
        let (identities, open) = load(&self.files).map_err(io::Error::other)?;
        for path in open {
            let path = shown(&path);
            writeln!(io::stderr(), "waybill: everybody on this machine can read {path}; `chmod 600 {path}`")?;
        }
        Ok(identities)
    }

    /// The same, where there must be one.
    fn needed(&self) -> io::Result<Identities> {
        let identities = self.load()?;
        if identities.is_empty() {
            let says = "secrets are opened with an identity: name its file with --identity FILE or in WAYBILL_IDENTITY";
            return Err(io::Error::other(says));
        }
        Ok(identities)
    }
}

impl Secrets {
    pub fn run(self) -> io::Result<Outcome> {
        match self.what {
            What::Encrypt { dir, file, out } => encrypt(&Open::new(&dir)?, file.as_deref(), out.as_deref()),
            What::Edit { dir, file, identity } => change(&Open::new(&dir)?, &file, &identity),
            What::Rekey { dir, identity } => anew(&Open::new(&dir)?, &identity),
            What::Check { dir, format, identity } => check(Open::new(&dir)?, format, &identity),
        }
    }
}

/// A spec that was read, right or wrong.
struct Open {
    sources: Sources,
    reading: Reading,
    report: Report,
}

impl Open {
    fn new(dir: &Path) -> io::Result<Open> {
        let sources = Sources::open(dir).map_err(|why| io::Error::other(format!("{} {why}", shown(dir))))?;
        let mut report = Report::new();
        let reading = read::read(&sources, &mut report);
        report.sort(&reading.located);
        Ok(Open { sources, reading, report })
    }

    /// Whether it can be relied on; where not, that is told.
    fn sound(&self) -> io::Result<bool> {
        if self.report.has_errors() {
            tell(&self.report, &self.reading.located, Format::Human)?;
        }
        Ok(!self.report.has_errors())
    }
}

fn encrypt(open: &Open, file: Option<&Path>, out: Option<&Path>) -> io::Result<Outcome> {
    let plain = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => bounded(std::fs::File::open(file).map_err(|why| named(file, &why))?)?,
        None => bounded(io::stdin().lock())?,
    };
    if plain.is_empty() {
        return Err(io::Error::other("there is nothing to encrypt"));
    }
    if secrets::recipients(&open.reading.spec).is_empty() {
        open.sound()?;
    }
    let sealed = secrets::seal(&plain, &open.reading.spec)?;
    let Some(out) = out else {
        write!(io::stdout(), "{sealed}")?;
        return Ok(Outcome::Fine);
    };
    if out.extension().is_none_or(|extension| extension != "age") {
        return Err(io::Error::other(format!("{}: the name of an encrypted file ends in .age", shown(out))));
    }
    // What is no encrypted file may be the only copy of a key.
    if out.exists() && sealed::header::Header::of(&bounded(std::fs::File::open(out)?)?).is_err() {
        return Err(io::Error::other(format!("{} is there and not encrypted; choose another name", shown(out))));
    }
    write::replace(out, sealed.as_bytes(), Mode::Public)?;
    let root = open.sources.root();
    let inside = out.canonicalize().ok().and_then(|path| Some(path.strip_prefix(root).ok()?.display().to_string()));
    if let Some(name) = inside {
        writeln!(io::stderr(), "Wrote {}; in the spec: (age)\"{}\"", shown(out), printable(&name))?;
    }
    Ok(Outcome::Fine)
}

fn change(open: &Open, file: &Path, identity: &Identity) -> io::Result<Outcome> {
    let path = open.sources.root().join(file);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(name) = name.strip_suffix(sealed::SUFFIX).filter(|name| !name.is_empty()) else {
        return Err(io::Error::other(format!("{}: the name of an encrypted file ends in .age", shown(file))));
    };
    let editor = edit::editor()?;
    // Found out before the work is done, not after.
    secrets::seal(b"", &open.reading.spec)?;
    let plain = match std::fs::File::open(&path) {
        Ok(there) => {
            let identities = identity.needed()?;
            sealed::open(&bounded(there)?, &identities)
                .map_err(|why| io::Error::other(format!("{} {why}", shown(file))))?
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(why) => return Err(named(file, &why)),
    };
    match edit::edit(&plain, name, &editor)? {
        edit::Edited::Same => writeln!(io::stderr(), "{} is as it was", shown(file))?,
        edit::Edited::Text(text) if text.trim_ascii().is_empty() => {
            return Err(io::Error::other("the text is empty, and nothing was changed"));
        }
        edit::Edited::Text(text) => {
            let sealed = secrets::seal(&text, &open.reading.spec)?;
            // What a link names is written, and the link stays.
            let path = path.canonicalize().unwrap_or(path);
            write::replace(&path, sealed.as_bytes(), Mode::Public)?;
            writeln!(io::stderr(), "Wrote {}", shown(file))?;
        }
    }
    Ok(Outcome::Fine)
}

fn anew(open: &Open, identity: &Identity) -> io::Result<Outcome> {
    if !open.sound()? {
        return Ok(Outcome::Failed);
    }
    let identities = identity.needed()?;
    secrets::seal(b"", &open.reading.spec)?;
    let Reading { spec, located, .. } = &open.reading;
    let done = rekey::rekey(spec, located, &open.sources, &identities)?;
    let (files, values) = (count(done.files, "file"), count(done.values, "value"));
    let to = count(secrets::recipients(spec).len(), "recipient");
    writeln!(io::stderr(), "{files} and {values} encrypted to {to}")?;
    if done.files + done.values > 0 {
        // Whoever could open the old ones still has them.
        writeln!(io::stderr(), "Git keeps the old ones: where a recipient was taken away, change the secrets too")?;
    }
    Ok(Outcome::Fine)
}

fn check(open: Open, format: Format, identity: &Identity) -> io::Result<Outcome> {
    let identities = identity.load()?;
    let Open { sources, reading: Reading { spec, located, .. }, mut report } = open;
    let seen = secrets::check::every(&spec, &sources, &identities, &mut report);
    secrets::twice(&spec, &mut report);
    report.sort(&located);
    tell(&report, &located, format)?;
    let well = !report.has_errors();
    if format == Format::Human && well {
        let to = count(secrets::recipients(&spec).len(), "recipient");
        let opened = if identities.is_empty() { "looked at" } else { "opened" };
        writeln!(io::stderr(), "{} {opened}; the spec has {to}", count(seen, "encrypted secret"))?;
    }
    // Not opened is not checked.
    Ok(Outcome::of(well && (seen == 0 || !identities.is_empty())))
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    from.take(sealed::SEALED_MOST as u64 + 1).read_to_end(&mut octets)?;
    if octets.len() > sealed::SEALED_MOST {
        return Err(io::Error::other(sealed::Unsealed::Large.to_string()));
    }
    Ok(octets)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn named(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("{}: {why}", shown(path)))
}

/// A name from the command line, unless it is an identity given where its file should be.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if sealed::identity::holds_identity(&text) { "…".to_owned() } else { printable(&text) }
}
