//! Where a state is kept: a file, an object, a branch, a row. Each is read whole and changed by compare and swap.

use super::{Held, LARGEST, STATE_FILE, State, StateError, Written, WrittenStages, check_format};
use crate::provider::Ground;
use crate::state::git::Branch;
use crate::state::hold::{Hold, RENEWS, Watched};
use crate::state::postgresql::Row;
use crate::state::s3::Object;
use crate::transition::AllStages;
use crate::write;
use rustix::fs::{FlockOperation, flock};
use schema::spec::Spec;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Where a state is kept.
pub enum Place {
    /// A file.
    File(PathBuf),
    /// An object in a bucket.
    S3(Box<Object>),
    /// A file on a branch of a Git repository.
    Git(Branch),
    /// A row of a table.
    PostgreSql(Box<Row>),
}

/// Which version of a state was read, as its place tells them apart; none where nothing was there.
pub type Mark = Option<String>;

impl Place {
    /// Where a spec says.
    ///
    /// # Errors
    /// What is wrong with what it says, or with its secrets.
    pub fn of(spec: &Spec, ground: &Ground<'_>) -> Result<Place, String> {
        let folder = ground.sources.root();
        let given = spec.state.clone().unwrap_or_default();
        Ok(if let Some(s3) = &given.s3 {
            Place::S3(Box::new(Object::new(s3, ground)?))
        } else if let Some(git) = &given.git {
            Place::Git(Branch::new(folder, git))
        } else if let Some(database) = &given.postgresql {
            Place::PostgreSql(Box::new(Row::new(database, ground)?))
        } else {
            Place::File(folder.join(given.file.as_deref().unwrap_or(STATE_FILE)))
        })
    }

    /// The same, without asking a remote where what was fetched last will do.
    #[must_use]
    pub fn fetched(self) -> Place {
        match self {
            Place::Git(branch) => Place::Git(branch.fetched()),
            other => other,
        }
    }

    /// What people call it.
    pub fn name(&self) -> String {
        match self {
            Place::File(path) => path.display().to_string(),
            Place::S3(object) => object.name(),
            Place::Git(branch) => branch.name(),
            Place::PostgreSql(row) => row.name(),
        }
    }

    async fn read(&self) -> Result<Option<(Vec<u8>, Mark)>, StateError> {
        let found = match self {
            Place::File(path) => text_at(path).map(|found| found.map(|text| (text, None))),
            Place::S3(object) => object.read().await,
            Place::Git(branch) => branch.read().await,
            Place::PostgreSql(row) => row.read().await,
        };
        let found = found.map_err(|why| self.failed(why))?;
        match found {
            Some((text, _)) if text.len() as u64 > LARGEST => Err(self.form(format!("larger than {LARGEST} octets"))),
            found => Ok(found),
        }
    }

    fn failed(&self, why: String) -> StateError {
        StateError::Failed(self.name(), why)
    }

    fn form(&self, why: String) -> StateError {
        StateError::Form(self.name(), why)
    }

    async fn load_marked(&self) -> Result<(State, Mark), StateError> {
        let Some((text, mark)) = self.read().await? else { return Ok((State::default(), None)) };
        let written: Written = serde_json::from_slice(&text).map_err(|error| self.form(error.to_string()))?;
        check_format(written.format).map_err(|why| self.form(why))?;
        Ok((State::of(written), mark))
    }

    /// Reads the state; where nothing is, nothing was applied. Blocks, so not for where a runtime runs.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load(&self) -> Result<State, StateError> {
        Ok(self.blocking(self.load_marked())?.0)
    }

    /// How far rollovers are, without reading the rest. Blocks, so not for where a runtime runs.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn stages(&self) -> Result<AllStages, StateError> {
        let Some((text, _)) = self.blocking(self.read())? else { return Ok(AllStages::new()) };
        let written: WrittenStages = serde_json::from_slice(&text).map_err(|error| self.form(error.to_string()))?;
        check_format(written.format).map_err(|why| self.form(why))?;
        let zones = written.zones.into_iter().filter(|(_, zone)| !zone.stages.is_empty());
        Ok(zones.map(|(name, zone)| (name, zone.stages)).collect())
    }

    fn blocking<T>(&self, work: impl Future<Output = Result<T, StateError>>) -> Result<T, StateError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| self.failed(error.to_string()))?.block_on(work)
    }
}

/// What is at a path, if anything is.
fn text_at(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    Ok(Some(text))
}

impl Held {
    /// Takes hold of a state and reads it. A file is locked, by the one beside it with `.lock` behind its name; elsewhere
    /// nobody is to write whose [`Hold`] has not lapsed, and [`Held::begin`] makes ours. `watched` is kept from one try
    /// to the next.
    ///
    /// # Errors
    /// [`StateError::Held`] where another run has it.
    pub fn take(place: Arc<Place>, clock: fn() -> i64, watched: &mut Watched) -> Result<(Held, State), StateError> {
        let lock = match &*place {
            Place::File(path) => Some(locked(path)?),
            _ => None,
        };
        let (mut state, mark) = place.blocking(place.load_marked())?;
        match state.hold.take() {
            Some(hold) if !watched.has_lapsed(&hold, clock()) => Err(StateError::Held(place.name(), hold.by)),
            _ => Ok((Held { place, clock, mark: Mutex::new(mark), _lock: lock }, state)),
        }
    }

    /// Writes the state, and that this run is about to do what it says.
    ///
    /// # Errors
    /// As [`Held::save`].
    pub async fn begin(&self, state: &mut State) -> Result<(), StateError> {
        if !matches!(&*self.place, Place::File(_)) {
            state.hold = Some(Hold::own((self.clock)()));
        }
        self.save(state).await
    }

    /// Does work that writes, and says meanwhile that it goes on. Where another run has taken over, what is left of the
    /// work is not done.
    ///
    /// # Errors
    /// [`StateError::Moved`] then.
    pub async fn during<T>(&self, state: &mut State, work: impl Future<Output = T>) -> Result<T, StateError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(RENEWS), if state.hold.is_some() => {}
            }
            state.hold = Some(Hold::own((self.clock)()));
            // While its place does not answer nobody else can take over either.
            if let Err(moved @ StateError::Moved(_)) = self.save(state).await {
                return Err(moved);
            }
        }
    }

    /// Writes the state, synced, with the next serial number; `state` must be what was read or written last.
    ///
    /// # Errors
    /// [`StateError::Moved`] where another is there by now.
    pub async fn save(&self, state: &mut State) -> Result<(), StateError> {
        let place = &self.place;
        let moved = || StateError::Moved(place.name());
        let mut mark = self.mark.lock().await;
        let next = State { serial: state.serial + 1, ..state.clone() };
        let text = next.text().map_err(|error| place.failed(error.to_string()))?;
        let written = match &**place {
            Place::File(path) => {
                if place.load_marked().await?.0.serial != state.serial {
                    return Err(moved());
                }
                let written = write::replace(path, text.as_bytes(), write::Mode::Public);
                written.map(|()| Some(None)).map_err(|error| error.to_string())
            }
            Place::S3(object) => object.write(&text, mark.as_deref()).await,
            Place::Git(branch) => branch.write(&text, mark.as_deref(), next.serial).await,
            Place::PostgreSql(row) => row.write(&text, mark.as_deref(), next.serial).await,
        };
        *mark = written.map_err(|why| place.failed(why))?.ok_or_else(moved)?;
        state.serial = next.serial;
        Ok(())
    }
}

fn locked(path: &Path) -> Result<File, StateError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let beside = PathBuf::from(name);
    let system = |error: io::Error| StateError::Failed(beside.display().to_string(), error.to_string());
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&beside).map_err(system)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(StateError::Held(path.display().to_string(), "the lock beside it".into()))
        }
        Err(error) => Err(system(error.into())),
    }
}
