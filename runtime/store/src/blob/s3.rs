//! Blobs in a bucket of S3 or of what speaks its protocol: one object each, `prefix/` and the blob's name, as
//! [`super::packed`] has it.
//!
//! A small blob is one request; a large one is sent in parts of [`PART`] octets while it is being packed, of which
//! [`FLYING_MOST`] of one blob and [`PARTS_MOST`] of all blobs are in memory: a blob of 50 MB takes no more than one
//! that fills them. Before a blob is written, its object is asked for the table: what is whole and has our key is not
//! sent again, so that putting twice costs a small request or two; anything else is written over. One process sends a
//! blob once, however many put it at the same time; of several, each writes the same object, which S3 shows whole or
//! not at all, so that no conditional requests are needed. (rclone 1.75 may answer 500 to who reads or writes an object
//! that is just being replaced, which is tried again, and is [`StoreError::Unavailable`] in the end.)
//!
//! An upload that is cut short by the end of the process is not visible as an object, but takes room until the bucket
//! drops it: buckets should have a lifecycle rule that aborts incomplete uploads after a day.

use super::packed::{self, FRAME, Packer, Packing, TABLE_MOST, Table, corrupt};
use super::{BLOB_MOST, BlobId, Blobs};
use crate::error::{Cause, StoreError};
use crate::open::Ground;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use schema::config::S3;
use std::collections::VecDeque;
use std::error::Error as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Octets of every part but the last: the least that S3 takes, and equal, as some of its kind demand.
pub const PART: usize = 5 << 20;
/// Parts of one blob that are on their way at once, beside the one that is being packed.
pub const FLYING_MOST: usize = 2;
/// Parts of all blobs in memory.
pub const PARTS_MOST: usize = 12;
/// Frames packed at once: 1 MiB.
const FRAMES_AT_ONCE: usize = (1 << 20) / FRAME;
/// The least octets that are asked for in the hope that they are a whole blob with its table.
const HOPE_LEAST: u64 = 64 << 10;
/// The most.
const HOPE_MOST: u64 = 1 << 20;
/// Locks that blobs share while they are put.
const LOCKS: usize = 256;
/// Tables of large blobs that are remembered, so that a further part takes one request; 16 KiB each at most.
const KNOWN_MOST: usize = 64;
/// What services call a full bucket or account. Objects are read and never asked for by `HEAD`, whose answer has no
/// body that would say so.
const FULL: [&str; 6] = [
    "QuotaExceeded",
    "StorageFull",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "InsufficientStorage",
    "ServiceQuotaExceeded",
];
/// What only the configuration can mend, and how.
const WRONG: [(&str, &str); 10] = [
    ("NoSuchBucket", "there is no such bucket: make it, or name another"),
    ("InvalidBucketName", "that is no name of a bucket"),
    ("InvalidAccessKeyId", "the service does not know the access key's id: see `access-key`"),
    ("SignatureDoesNotMatch", "the access key is another than the service has: see `secret-key`"),
    ("AccessDenied", "the access key may not do this: it needs to get, put, delete and list objects"),
    ("AllAccessDisabled", "the bucket is disabled"),
    ("AuthorizationHeaderMalformed", "the bucket lies in another region: see `region`"),
    ("PermanentRedirect", "the bucket lies in another region, or at another endpoint"),
    ("RequestTimeTooSkewed", "this machine's clock differs from the service's"),
    ("NotImplemented", "the service lacks what is asked of it"),
];
/// What the environment says of the machine's role, where no access key is configured.
const ROLE: [(&str, AmazonS3ConfigKey); 6] = [
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
];

/// Blobs in a bucket.
pub struct S3Blobs {
    bucket: AmazonS3,
    prefix: Path,
    /// The bucket and where it is, for errors.
    name: String,
    packing: Packing,
    /// How many parts more may be in memory.
    room: Arc<Semaphore>,
    known: Mutex<VecDeque<(BlobId, Table)>>,
    /// Held while a blob is put, by the first octet of its name: who puts the same waits, and finds it there.
    putting: Vec<tokio::sync::Mutex<()>>,
}

impl S3Blobs {
    /// Blobs in this bucket, which is asked nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] for an endpoint or secret that cannot be used.
    pub fn new(config: &S3, ground: &Ground, packing: Packing) -> Result<S3Blobs, StoreError> {
        let name = match &config.endpoint {
            Some(endpoint) => format!("the bucket `{}` at {endpoint}", config.bucket),
            None => format!("the bucket `{}` in {}", config.bucket, config.region),
        };
        let wrong = |says: &str| StoreError::Misconfigured(Cause::new(format!("{name}: {says}")));
        let timeout = Duration::from_secs(config.timeout.0.max(1));
        // In the clear only where the configuration says so.
        let plain = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client =
            ClientOptions::new().with_timeout(timeout).with_connect_timeout(timeout.min(Duration::from_secs(10)));
        let retry = RetryConfig {
            max_retries: config.retries as usize,
            retry_timeout: timeout * (config.retries + 1),
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(client)
            .with_allow_http(plain)
            .with_retry(retry)
            .with_disable_bulk_delete(true)
            .with_http_connector(Lenient);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(at_host(endpoint, config).ok_or_else(|| wrong("`endpoint` is no URL"))?);
        }
        builder = match (ground.secret(config.access_key.as_ref())?, ground.secret(config.secret_key.as_ref())?) {
            (Some(id), Some(key)) => {
                builder.with_access_key_id(id.reveal().trim()).with_secret_access_key(key.reveal().trim())
            }
            (None, None) => ROLE.iter().fold(builder, |builder, (name, key)| match std::env::var(name) {
                Ok(value) => builder.with_config(*key, value),
                Err(_) => builder,
            }),
            _ => return Err(wrong("`access-key` and `secret-key` go together")),
        };
        let bucket = builder.build().map_err(|error| wrong(&error.to_string()))?;
        let prefix = Path::from(config.prefix.as_str());
        let room = Arc::new(Semaphore::new(PARTS_MOST));
        let putting = (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect();
        Ok(S3Blobs { bucket, prefix, name, packing, room, known: Mutex::default(), putting })
    }

    /// Whether the bucket is there and lets us do all that we have to: writes an object, reads, lists and deletes it.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] in words for an operator; [`StoreError::Unavailable`] where nobody answers.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let place = self.prefix.clone().join(format!("probe-{:016x}", super::chance()?));
        let failed = |error| self.meaning(&error);
        self.bucket.put(&place, PutPayload::from_static(b"waybill")).await.map_err(failed)?;
        let read = self.bucket.get_range(&place, 3..7).await.map_err(failed)?;
        if read != b"bill"[..] {
            let says = format!("{}: it does not give back a part of an object", self.name);
            return Err(StoreError::Misconfigured(Cause::new(says)));
        }
        if let Some(first) = self.bucket.list(Some(&self.prefix)).next().await {
            first.map_err(failed)?;
        }
        self.bucket.delete(&place).await.map_err(failed)
    }

    fn place(&self, id: BlobId) -> Path {
        self.prefix.clone().join(id.to_string())
    }

    /// The end of a blob's object, with its table, and where the octets begin that came with it. Asks for the first
    /// `hope` octets, which most blobs are no longer than, and then for the end of what turned out to be longer: not
    /// every service gives the end of an object whose size is not known.
    async fn tail(&self, id: BlobId, hope: u64) -> Result<Option<(Table, Bytes, u64)>, StoreError> {
        let options = GetOptions { range: Some(GetRange::Bounded(0..hope)), ..GetOptions::default() };
        let found = match self.bucket.get_opts(&self.place(id), options).await {
            Ok(found) => found,
            Err(error) => return self.absent(id, &error),
        };
        let length = found.meta.size;
        let begins = if length > hope { length.saturating_sub(TABLE_MOST as u64) } else { 0 };
        let tail = match begins {
            0 => found.bytes().await,
            _ => self.bucket.get_range(&self.place(id), begins..length).await,
        };
        let tail = match tail {
            Ok(tail) => tail,
            Err(error) => return self.absent(id, &error),
        };
        let table = self.packing.table(id, &tail)?;
        if table.packed() != length {
            return Err(corrupt(id, "it is cut short"));
        }
        if begins > 0 {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|(known, _)| *known != id);
            known.truncate(KNOWN_MOST - 1);
            known.push_front((id, table.clone()));
        }
        Ok(Some((table, tail, begins)))
    }

    fn known(&self, id: BlobId) -> Option<Table> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(known, _)| *known == id).map(|(_, table)| table.clone())
    }

    fn forget(&self, id: BlobId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != id);
    }

    /// A part of a blob whose table is known.
    async fn part(&self, id: BlobId, table: &Table, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let frames = table.frames_of(&part);
        let place = table.place(frames.clone());
        let stored = match place.is_empty() {
            true => Bytes::new(),
            false => match self.bucket.get_range(&self.place(id), place).await {
                Ok(stored) => stored,
                Err(error) => return self.absent(id, &error),
            },
        };
        self.packing.unpack((id, table), table.cut(frames, stored), part).await.map(Some)
    }

    async fn part_anew(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        // Who begins at the beginning mostly wants the whole.
        let hope = if part.start == 0 { part.end.clamp(HOPE_LEAST, HOPE_MOST) } else { HOPE_LEAST };
        let Some((table, tail, begins)) = self.tail(id, hope).await? else { return Ok(None) };
        let frames = table.frames_of(&part);
        let place = table.place(frames.clone());
        match place.start.checked_sub(begins) {
            Some(from) => {
                let stored = tail.slice(from as usize..(place.end - begins) as usize);
                self.packing.unpack((id, &table), table.cut(frames, stored), part).await.map(Some)
            }
            None => self.part(id, &table, part).await,
        }
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        room.map_err(|closed| StoreError::Unavailable(Cause::new(closed)))
    }

    /// Sends a blob's parts while it is being packed. `upload` is begun where there are several.
    async fn send(
        &self,
        place: &Path,
        mut packer: Packer,
        upload: &mut Option<Box<dyn MultipartUpload>>,
    ) -> Result<(), StoreError> {
        let mut flying: JoinSet<Result<(), Error>> = JoinSet::new();
        let (mut part, mut filled) = (Vec::new(), 0);
        let mut room = self.room().await?;
        loop {
            let (further, mut frames) = packer.frames(FRAMES_AT_ONCE).await?;
            packer = further;
            let last = frames.len() < FRAMES_AT_ONCE;
            if last {
                frames.push(packer.table());
            }
            for mut frame in frames {
                if filled + frame.len() > PART {
                    part.push(frame.split_to(PART - filled));
                    let begun = match upload {
                        Some(begun) => begun,
                        None => {
                            upload.insert(self.bucket.put_multipart(place).await.map_err(|error| self.meaning(&error))?)
                        }
                    };
                    let sending = begun.put_part(part.drain(..).collect());
                    // A task of its own: it goes on while this one waits for room.
                    flying.spawn(async move {
                        let _room = room;
                        sending.await
                    });
                    room = self.next_room(&mut flying).await?;
                    filled = 0;
                }
                filled += frame.len();
                part.push(frame);
            }
            if last {
                break;
            }
        }
        let rest: PutPayload = part.into_iter().collect();
        let Some(begun) = upload else {
            return self.bucket.put(place, rest).await.map(drop).map_err(|error| self.meaning(&error));
        };
        begun.put_part(rest).await.map_err(|error| self.meaning(&error))?;
        while let Some(sent) = flying.join_next().await {
            self.sent(sent)?;
        }
        begun.complete().await.map(drop).map_err(|error| self.meaning(&error))
    }

    /// Room for another part, once no more of this blob than allowed are on their way.
    async fn next_room(&self, flying: &mut JoinSet<Result<(), Error>>) -> Result<OwnedSemaphorePermit, StoreError> {
        while flying.len() >= FLYING_MOST
            && let Some(sent) = flying.join_next().await
        {
            self.sent(sent)?;
        }
        self.room().await
    }

    fn sent(&self, sent: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), StoreError> {
        let sent = sent.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))?;
        sent.map_err(|error| self.meaning(&error))
    }

    /// What it means for a blob that it could not be read.
    fn absent<T>(&self, id: BlobId, error: &Error) -> Result<Option<T>, StoreError> {
        match (error, answer(error).0.as_deref()) {
            (Error::NotFound { .. }, code) if code != Some("NoSuchBucket") => Ok(None),
            (_, Some("InvalidRange")) => Err(corrupt(id, "it is cut short")),
            _ => Err(self.meaning(error)),
        }
    }

    /// What the operator, or the caller, may do.
    fn meaning(&self, error: &Error) -> StoreError {
        let (code, says) = answer(error);
        let code = code.as_deref().unwrap_or_default();
        if FULL.contains(&code) || says.contains("507 Insufficient Storage") {
            return StoreError::Full;
        }
        let known = WRONG.iter().find(|(known, _)| *known == code).map(|(_, advice)| *advice);
        let advice = known.or(match error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                Some("the service refuses us: see `access-key`, `secret-key` and what they may do")
            }
            Error::NotFound { .. } => {
                Some("the service has no such bucket or path: see `endpoint` and the bucket's name")
            }
            Error::NotImplemented { .. } | Error::NotSupported { .. } => Some("the service lacks what is asked of it"),
            _ if says.contains("Received redirect") => {
                Some("the bucket lies in another region, or at another endpoint")
            }
            _ => None,
        });
        match advice {
            Some(advice) => StoreError::Misconfigured(Cause::new(format!("{}: {advice} ({says})", self.name))),
            None => StoreError::Unavailable(Cause::new(format!("{}: {says}", self.name))),
        }
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        if octets.len() as u64 > BLOB_MOST {
            return Err(StoreError::Full);
        }
        let id = packed::name(octets.clone()).await?;
        let lock = self.putting.get(usize::from(id.0[0])).map(tokio::sync::Mutex::lock);
        let _alone = match lock {
            Some(lock) => Some(lock.await),
            None => None,
        };
        match self.tail(id, HOPE_LEAST).await {
            Ok(Some(_)) => return Ok(id),
            // Written anew where it is broken: here are the right octets.
            Ok(None) | Err(StoreError::Corrupt { .. }) => self.forget(id),
            Err(error) => return Err(error),
        }
        let mut upload = None;
        let sent = self.send(&self.place(id), self.packing.pack(id, octets)?, &mut upload).await;
        if let (Err(_), Some(mut begun)) = (&sent, upload) {
            // Else the parts take room; where this fails too, the bucket's lifecycle rule drops them.
            if let Err(error) = begun.abort().await {
                tracing::debug!(%error, blob = %id, "an upload cannot be aborted");
            }
        }
        sent.map(|()| id)
    }

    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        if let Some(table) = self.known(id) {
            match self.part(id, &table, part.clone()).await {
                // Put anew since the table was read?
                Err(StoreError::Corrupt { .. }) => self.forget(id),
                got => return got,
            }
        }
        match self.part_anew(id, part.clone()).await {
            // Put anew between two requests?
            Err(StoreError::Corrupt { .. }) => {
                self.forget(id);
                self.part_anew(id, part).await
            }
            got => got,
        }
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        Ok(self.tail(id, HOPE_LEAST).await?.map(|(table, _, _)| table.size))
    }

    async fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        self.forget(id);
        match self.bucket.delete(&self.place(id)).await {
            Err(error) => self.absent::<()>(id, &error).map(drop),
            Ok(()) => Ok(()),
        }
    }

    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        let mut found = match after {
            Some(after) => self.bucket.list_with_offset(Some(&self.prefix), &self.place(after)),
            None => self.bucket.list(Some(&self.prefix)),
        };
        let mut ids = Vec::new();
        while ids.len() < most
            && let Some(object) = found.next().await
        {
            let place = object.map_err(|error| self.meaning(&error))?.location;
            // What is no blob of ours is somebody else's.
            ids.extend(place.filename().and_then(BlobId::read).filter(|id| self.place(*id) == place));
        }
        Ok(ids)
    }
}

/// Makes connections that take a part of an object for one although the service calls it the whole: rclone sends
/// `Content-Range` under status 200, where RFC 9110 §15.3.7 has 206.
#[derive(Debug)]
struct Lenient;

#[derive(Debug)]
struct LenientClient(HttpClient);

impl HttpConnector for Lenient {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        ReqwestConnector::default().connect(options).map(|client| HttpClient::new(LenientClient(client)))
    }
}

#[async_trait]
impl HttpService for LenientClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = self.0.execute(request).await?;
        if response.status() == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    }
}

/// The URL that requests go to: with the bucket's name in its host, where it does not stand in the path.
fn at_host(endpoint: &str, config: &S3) -> Option<String> {
    let mut url: url::Url = endpoint.parse().ok()?;
    let host = url.host_str()?.to_owned();
    if !config.path_style && !host.starts_with(&format!("{}.", config.bucket)) {
        url.set_host(Some(&format!("{}.{host}", config.bucket))).ok()?;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// The service's code, and all that it and the libraries say, without what it repeats of the request.
fn answer(error: &Error) -> (Option<String>, String) {
    let whole = error.to_string();
    let between = |tag: &str| {
        let (_, rest) = whole.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(inside, _)| inside.to_owned())
    };
    if let Some(code) = between("Code") {
        let says = between("Message").map_or_else(|| code.clone(), |message| format!("{code}: {message}"));
        return (Some(code), says);
    }
    // The innermost cause says most: a connection refused, a name not found.
    let mut cause: Option<&dyn std::error::Error> = error.source();
    let mut last = None;
    while let Some(inner) = cause {
        last = Some(inner.to_string());
        cause = inner.source();
    }
    let outer = whole.lines().next().unwrap_or_default();
    let outer = outer.split_once(" - ").map_or(outer, |(_, says)| says);
    match last.filter(|last| !outer.contains(last.as_str())) {
        Some(last) => (None, format!("{outer}: {last}")),
        None => (None, outer.to_owned()),
    }
}
