//! How a blob is packed before it is written: in frames, each compressed and encrypted by itself, so that any part of
//! a blob is read without the rest and a large one is packed without a second copy of it.
//!
//! | packed | holds |
//! |---|---|
//! | frames | [`FRAME`] octets of the blob each, the last one the rest: compressed where that helps, then sealed |
//! | table | the frames' packed sizes (u32 each, the highest bit: compressed), seed (16), the blob's size (u64), flags (1: encrypted), check (16), version (1) |
//!
//! Numbers are big-endian. The table stands behind the frames, since only then their sizes are known; its length
//! follows from the blob's size, and its last octets say what it is.
//!
//! # What is promised, and how
//! A blob's name stays the SHA-256 of its plain octets. Without a key, a frame ends in [`CHECK`] octets of a SHA-256
//! over it; with one, it is sealed with AES-256-GCM. Both bind the blob's name, its size and the frame's number: a
//! frame of another blob or place is never taken for this one. The table has a check of its own, made with the key
//! where there is one, so that a wrong key is told before anything is decrypted.
//!
//! No nonce is used twice: every packing draws a seed of 16 random octets, the blob's own key is derived from the key,
//! the seed and the name (HKDF-SHA256), and the nonce is the frame's number. Packing the same blob again, with another
//! version of Zstandard too, is another key.
//!
//! Blobs of before a key was set are still read; a key that is taken away or changed makes what it sealed unreadable.

use super::{BLOB_MOST, BlobId};
use crate::error::{Cause, StoreError};
use aws_lc_rs::{aead, digest, hkdf, hmac};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use schema::name::Secret;
use schema::spec::Compression;
use std::ops::Range;
use std::sync::Arc;

/// Octets of a blob in one frame. With what sealing adds, it fits [`crate::kv::VALUE_MOST`].
pub const FRAME: usize = 64 << 10;
/// From this size on, in octets, a blob is hashed, packed and unpacked on a blocking thread.
pub(super) const ASIDE: usize = 64 << 10;
/// What a frame that is not encrypted ends with, in octets.
const CHECK: usize = 8;
/// The version of the table that this program writes, and the only one that it reads.
const VERSION: u8 = 1;
/// Octets of a table behind the frames' sizes: seed, size, flags, check, version.
const FIXED: usize = 16 + 8 + 1 + 16 + 1;
/// The longest table, in octets.
pub(super) const TABLE_MOST: usize = FIXED + 4 * (BLOB_MOST as usize).div_ceil(FRAME);
/// In a frame's size: the frame is compressed.
const COMPRESSED: u32 = 1 << 31;
/// In the flags: the frames are encrypted.
const ENCRYPTED: u8 = 1;
/// How hard Zstandard tries: its own default.
const LEVEL: i32 = 3;

/// How blobs are packed.
#[derive(Clone, Default)]
pub struct Packing {
    zstd: bool,
    key: Option<Arc<[u8; 32]>>,
}

/// What is known of a packed blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The blob's size in octets.
    pub size: u64,
    /// The frames' packed sizes, with [`COMPRESSED`].
    frames: Vec<u32>,
    seed: [u8; 16],
    encrypted: bool,
}

/// The keys of one packing of one blob.
struct Keys {
    frames: aead::LessSafeKey,
    table: hmac::Key,
}

impl Packing {
    /// Packs with this compression, and with a key where one is given: 32 octets as base64.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] for anything else than such a key.
    pub fn new(compression: Compression, key: Option<&Secret>) -> Result<Packing, StoreError> {
        let read = |key: &Secret| {
            let octets = BASE64_STANDARD.decode(key.reveal().trim()).ok();
            octets.and_then(|octets| <[u8; 32]>::try_from(octets).ok()).map(Arc::new).ok_or_else(|| {
                let says = "the key of `encrypt` is not 32 octets as base64; `openssl rand -base64 32` makes one";
                StoreError::Misconfigured(Cause::new(says))
            })
        };
        Ok(Packing { zstd: compression == Compression::Zstd, key: key.map(read).transpose()? })
    }

    /// What tells the key from others, and nothing else of it; `None` without one.
    pub(crate) fn print(&self) -> Option<Bytes> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key.as_ref()?[..]);
        Some(Bytes::copy_from_slice(hmac::sign(&key, b"waybill: which key this is").as_ref()))
    }

    /// Begins to pack a blob.
    pub(super) fn pack(&self, id: BlobId, octets: Bytes) -> Result<Packer, StoreError> {
        let failed = |_| StoreError::Unavailable(Cause::new("the system gives no random octets"));
        let mut seed = [0; 16];
        if self.key.is_some() {
            aws_lc_rs::rand::fill(&mut seed).map_err(failed)?;
        }
        let table = Table { size: octets.len() as u64, frames: Vec::new(), seed, encrypted: self.key.is_some() };
        let keys = self.key.as_ref().map(|key| Keys::of(key, &seed, id)).transpose()?;
        let zstd = self.zstd.then(|| zstd::bulk::Compressor::new(LEVEL)).transpose().map_err(system)?;
        Ok(Packer { id, octets, keys, zstd, table })
    }

    /// The table that these octets end with.
    pub(super) fn table(&self, id: BlobId, tail: &[u8]) -> Result<Table, StoreError> {
        let wrong = || corrupt(id, "its table is not what was written");
        let (tail, version) = tail.split_last_chunk::<1>().ok_or_else(wrong)?;
        if *version != [VERSION] {
            return Err(corrupt(id, "its table is cut short, or of a version that this program does not know"));
        }
        let (rest, check) = tail.split_last_chunk::<16>().ok_or_else(wrong)?;
        let (rest, flags) = rest.split_last_chunk::<1>().ok_or_else(wrong)?;
        let (rest, size) = rest.split_last_chunk::<8>().ok_or_else(wrong)?;
        let (rest, seed) = rest.split_last_chunk::<16>().ok_or_else(wrong)?;
        let size = u64::from_be_bytes(*size);
        if size > BLOB_MOST || flags[0] > ENCRYPTED {
            return Err(wrong());
        }
        // BLOB_MOST keeps it far below a usize's end.
        let sizes =
            rest.len().checked_sub(4 * count(size) as usize).and_then(|from| rest.get(from..)).ok_or_else(wrong)?;
        let frames = sizes.chunks_exact(4).map(|size| u32::from_be_bytes(size.try_into().unwrap_or_default()));
        let table = Table { size, frames: frames.collect(), seed: *seed, encrypted: flags[0] == ENCRYPTED };
        let keys = self.keys(id, &table)?;
        if table.check(id, keys.as_ref()) == *check {
            return Ok(table);
        }
        let why = if table.encrypted {
            "its table is not what was written, or the key is another"
        } else {
            "its table is not what was written"
        };
        Err(corrupt(id, why))
    }

    fn keys(&self, id: BlobId, table: &Table) -> Result<Option<Keys>, StoreError> {
        match (&self.key, table.encrypted) {
            (_, false) => Ok(None),
            (Some(key), true) => Keys::of(key, &table.seed, id).map(Some),
            (None, true) => Err(corrupt(id, "it is encrypted, and no key is configured")),
        }
    }

    /// The octets `part` of a blob, from the packed frames that hold them, in order.
    pub(super) async fn unpack(
        &self,
        (id, table): (BlobId, &Table),
        stored: Vec<Bytes>,
        part: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let (packing, table) = (self.clone(), table.clone());
        let large = part.end.saturating_sub(part.start) >= ASIDE as u64;
        aside(large, move || packing.unpack_now((id, &table), &stored, part)).await?
    }

    /// [`Packing::unpack`] on this thread.
    pub(super) fn unpack_now(
        &self,
        (id, table): (BlobId, &Table),
        stored: &[Bytes],
        part: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let keys = self.keys(id, table)?;
        let frames = table.frames_of(&part);
        if stored.len() as u64 != frames.end - frames.start {
            return Err(corrupt(id, "it is cut short"));
        }
        let mut whole = BytesMut::new();
        for (index, stored) in frames.clone().zip(stored) {
            let plain = table.unpack(id, keys.as_ref(), index, stored.clone())?;
            let begins = index * FRAME as u64;
            let from = part.start.saturating_sub(begins).min(plain.len() as u64) as usize;
            let to = part.end.saturating_sub(begins).min(plain.len() as u64) as usize;
            let wanted = plain.slice(from..to.max(from));
            if frames.end - frames.start == 1 {
                return Ok(wanted);
            }
            if whole.is_empty() {
                whole.reserve(part.end.min(table.size).saturating_sub(part.start) as usize);
            }
            whole.extend_from_slice(&wanted);
        }
        Ok(whole.freeze())
    }
}

impl Keys {
    fn of(key: &[u8; 32], seed: &[u8; 16], id: BlobId) -> Result<Keys, StoreError> {
        let failed = |_| StoreError::Unavailable(Cause::new("no key can be derived"));
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, seed).extract(key);
        let frames: [&[u8]; 2] = [b"waybill blob frames", &id.0];
        let table: [&[u8]; 2] = [b"waybill blob table", &id.0];
        let frames = derived.expand(&frames, &aead::AES_256_GCM).map_err(failed)?;
        let table = derived.expand(&table, hmac::HMAC_SHA256).map_err(failed)?;
        Ok(Keys { frames: aead::LessSafeKey::new(frames.into()), table: table.into() })
    }
}

/// How many frames a blob of this size has.
pub(super) fn count(size: u64) -> u64 {
    size.div_ceil(FRAME as u64)
}

impl Table {
    /// How many frames there are.
    pub fn count(&self) -> u64 {
        self.frames.len() as u64
    }

    /// The frames that hold a part of the blob.
    pub fn frames_of(&self, part: &Range<u64>) -> Range<u64> {
        let end = part.end.min(self.size);
        if part.start >= end {
            return 0..0;
        }
        part.start / FRAME as u64..count(end)
    }

    /// Packed sizes of some frames.
    pub fn sizes(&self, frames: Range<u64>) -> impl Iterator<Item = u64> {
        let some = self.frames.get(frames.start as usize..frames.end as usize).unwrap_or_default();
        some.iter().map(|size| u64::from(size & !COMPRESSED))
    }

    /// Where frames stand among the packed octets.
    pub fn place(&self, frames: Range<u64>) -> Range<u64> {
        let start = self.sizes(0..frames.start).sum::<u64>();
        start..start + self.sizes(frames).sum::<u64>()
    }

    /// Octets of frames and table together.
    pub fn packed(&self) -> u64 {
        self.place(0..self.count()).end + self.length() as u64
    }

    /// Octets of the table of a blob of this size.
    pub fn length(&self) -> usize {
        FIXED + 4 * self.frames.len()
    }

    /// Cuts octets that hold frames one after the other.
    pub fn cut(&self, frames: Range<u64>, mut stored: Bytes) -> Vec<Bytes> {
        let cut = |size: u64| (size <= stored.len() as u64).then(|| stored.split_to(size as usize));
        self.sizes(frames).map_while(cut).collect()
    }

    fn fields(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.length());
        self.frames.iter().for_each(|size| octets.extend_from_slice(&size.to_be_bytes()));
        octets.extend_from_slice(&self.seed);
        octets.extend_from_slice(&self.size.to_be_bytes());
        octets.push(if self.encrypted { ENCRYPTED } else { 0 });
        octets
    }

    fn check(&self, id: BlobId, keys: Option<&Keys>) -> [u8; 16] {
        // Without a key it finds accidents alone, so that any key does.
        let key = keys.map_or_else(|| hmac::Key::new(hmac::HMAC_SHA256, b"waybill"), |keys| keys.table.clone());
        let mut context = hmac::Context::with_key(&key);
        context.update(&[VERSION]);
        context.update(&id.0);
        context.update(&self.fields());
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }

    fn write(&self, id: BlobId, keys: Option<&Keys>) -> Bytes {
        let mut octets = self.fields();
        octets.extend_from_slice(&self.check(id, keys));
        octets.push(VERSION);
        octets.into()
    }

    /// What a frame is bound to.
    fn bound(&self, id: BlobId, index: u64, compressed: bool) -> [u8; 49] {
        let mut bound = [0; 49];
        bound[..32].copy_from_slice(&id.0);
        bound[32..40].copy_from_slice(&index.to_be_bytes());
        bound[40..48].copy_from_slice(&self.size.to_be_bytes());
        bound[48] = compressed.into();
        bound
    }

    fn unpack(&self, id: BlobId, keys: Option<&Keys>, index: u64, stored: Bytes) -> Result<Bytes, StoreError> {
        let wrong = |what: &str| corrupt(id, &format!("its octets from {} on {what}", index * FRAME as u64));
        let told = self.frames.get(index as usize).copied().unwrap_or_default();
        if stored.len() as u64 != u64::from(told & !COMPRESSED) {
            return Err(wrong("are cut short"));
        }
        let compressed = told & COMPRESSED != 0;
        let bound = self.bound(id, index, compressed);
        let opened = match keys {
            Some(keys) => {
                let mut octets = stored.to_vec();
                let plain = keys.frames.open_in_place(nonce(index), aead::Aad::from(bound), &mut octets);
                let length = plain.map_err(|_| wrong("are not what was written, or the key is another"))?.len();
                octets.truncate(length);
                Bytes::from(octets)
            }
            None => {
                let checked = stored.split_last_chunk::<CHECK>();
                let (plain, check) = checked.ok_or_else(|| wrong("are cut short"))?;
                if checksum(&bound, plain) != *check {
                    return Err(wrong("are not what was written"));
                }
                stored.slice(..plain.len())
            }
        };
        let size = (self.size - index * FRAME as u64).min(FRAME as u64) as usize;
        let plain = match compressed {
            true => zstd::bulk::decompress(&opened, size).map_err(|_| wrong("cannot be decompressed"))?.into(),
            false => opened,
        };
        if plain.len() != size {
            return Err(wrong("have another length"));
        }
        Ok(plain)
    }
}

/// A blob on its way into frames.
pub(super) struct Packer {
    id: BlobId,
    octets: Bytes,
    keys: Option<Keys>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    table: Table,
}

impl Packer {
    /// The next frame; `None` behind the last.
    pub fn frame(&mut self) -> Result<Option<Bytes>, StoreError> {
        let index = self.table.count();
        if index == count(self.table.size) {
            return Ok(None);
        }
        let from = index as usize * FRAME;
        let plain = self.octets.slice(from..(from + FRAME).min(self.octets.len()));
        let smaller = self.zstd.as_mut().map(|zstd| zstd.compress(&plain)).transpose().map_err(system)?;
        // What saves less than a sixteenth is not worth unpacking.
        let smaller = smaller.filter(|smaller| smaller.len() < plain.len() - plain.len() / 16);
        let compressed = smaller.is_some();
        let bound = self.table.bound(self.id, index, compressed);
        let mut frame = smaller.unwrap_or_else(|| plain.to_vec());
        match &self.keys {
            Some(keys) => {
                let sealed = keys.frames.seal_in_place_append_tag(nonce(index), aead::Aad::from(bound), &mut frame);
                sealed.map_err(|_| StoreError::Unavailable(Cause::new("a blob cannot be encrypted")))?;
            }
            None => {
                let check = checksum(&bound, &frame);
                frame.extend_from_slice(&check);
            }
        }
        // A frame is FRAME octets and what sealing adds.
        self.table.frames.push(frame.len() as u32 | if compressed { COMPRESSED } else { 0 });
        Ok(Some(frame.into()))
    }

    /// So many frames, or those that are left, packed aside where they are large. Fewer than `most`: these were the last.
    pub async fn frames(mut self, most: usize) -> Result<(Packer, Vec<Bytes>), StoreError> {
        aside(self.octets.len() >= ASIDE, move || {
            let mut frames = Vec::new();
            while frames.len() < most
                && let Some(frame) = self.frame()?
            {
                frames.push(frame);
            }
            Ok((self, frames))
        })
        .await?
    }

    /// Behind the last frame: the table.
    pub fn table(&self) -> Bytes {
        self.table.write(self.id, self.keys.as_ref())
    }
}

/// The name of these octets, found aside where they are large.
pub(crate) async fn name(octets: Bytes) -> Result<BlobId, StoreError> {
    aside(octets.len() >= ASIDE, move || BlobId::of(&octets)).await
}

async fn aside<T: Send + 'static>(large: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    if !large {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))
}

fn nonce(index: u64) -> aead::Nonce {
    let mut nonce = [0; aead::NONCE_LEN];
    nonce[aead::NONCE_LEN - 8..].copy_from_slice(&index.to_be_bytes());
    aead::Nonce::assume_unique_for_key(nonce)
}

fn checksum(bound: &[u8], octets: &[u8]) -> [u8; CHECK] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(bound);
    context.update(octets);
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// A blob that is not what was written.
pub(super) fn corrupt(id: BlobId, why: &str) -> StoreError {
    StoreError::Corrupt { what: format!("blob {id}: {why}") }
}

fn system(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(Cause::new(error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(octet: u8) -> Secret {
        Secret::new(BASE64_STANDARD.encode([octet; 32]))
    }

    fn kinds() -> [Packing; 4] {
        [
            Packing::default(),
            Packing::new(Compression::Zstd, None).unwrap(),
            Packing::new(Compression::None, Some(&key(1))).unwrap(),
            Packing::new(Compression::Zstd, Some(&key(1))).unwrap(),
        ]
    }

    fn packed(packing: &Packing, octets: &Bytes) -> (Vec<Bytes>, Bytes) {
        let mut packer = packing.pack(BlobId::of(octets), octets.clone()).unwrap();
        let frames = std::iter::from_fn(|| packer.frame().unwrap()).collect();
        (frames, packer.table())
    }

    fn text(size: usize) -> Bytes {
        (0..size).map(|n| b"the quick brown fox "[n % 20]).collect::<Vec<_>>().into()
    }

    #[test]
    fn what_is_packed_is_unpacked_whole_and_by_parts() {
        for packing in kinds() {
            for size in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 7] {
                let octets = text(size);
                let id = BlobId::of(&octets);
                let (frames, tail) = packed(&packing, &octets);
                let table = packing.table(id, &tail).unwrap();
                assert_eq!((table.size, table.count()), (size as u64, frames.len() as u64));
                for part in [0..u64::MAX, 0..1, 65_535..65_537, 70_000..70_000, 131_000..190_000, 196_610..1_000_000] {
                    let some = table.frames_of(&part);
                    let place = table.place(some.clone());
                    let stored = Bytes::from(frames.concat()).slice(place.start as usize..place.end as usize);
                    let stored = table.cut(some, stored);
                    let got = packing.unpack_now((id, &table), &stored, part.clone()).unwrap();
                    let (from, to) = (part.start.min(size as u64) as usize, part.end.min(size as u64) as usize);
                    assert_eq!(got, octets.slice(from..to.max(from)), "{part:?} of {size}");
                }
            }
        }
    }

    #[test]
    fn every_flipped_octet_is_found() {
        let octets = text(FRAME + 100);
        let id = BlobId::of(&octets);
        for packing in kinds() {
            let (frames, tail) = packed(&packing, &octets);
            for at in 0..tail.len() {
                let mut torn = tail.to_vec();
                torn[at] ^= 1;
                let told = packing.table(id, &torn).unwrap_err().to_string();
                assert!(told.contains(&id.to_string()), "{told}");
            }
            assert!(packing.table(id, &tail[1..]).is_err() && packing.table(id, &tail[..tail.len() - 1]).is_err());
            let table = packing.table(id, &tail).unwrap();
            let last = &frames[1];
            for at in 0..last.len() {
                let mut torn = last.to_vec();
                torn[at] ^= 0x80;
                let stored = [frames[0].clone(), torn.into()];
                let told = packing.unpack_now((id, &table), &stored, 0..u64::MAX).unwrap_err().to_string();
                assert!(told.contains(&id.to_string()), "{told}");
            }
            let short = [frames[0].clone(), last.slice(1..)];
            assert!(packing.unpack_now((id, &table), &short, 0..u64::MAX).is_err());
            // Frames of equal sizes in each other's place.
            let swapped = [last.clone(), frames[0].clone()];
            assert!(packing.unpack_now((id, &table), &swapped, 0..u64::MAX).is_err());
        }
    }

    #[test]
    fn a_wrong_key_or_none_is_told() {
        let octets = text(100);
        let id = BlobId::of(&octets);
        let sealed = Packing::new(Compression::Zstd, Some(&key(1))).unwrap();
        let (frames, tail) = packed(&sealed, &octets);
        assert!(!frames.concat().windows(9).any(|some| some == b"the quick"));
        let other = Packing::new(Compression::Zstd, Some(&key(2))).unwrap();
        let told = other.table(id, &tail).unwrap_err().to_string();
        assert!(told.contains("the key is another"), "{told}");
        let told = Packing::default().table(id, &tail).unwrap_err().to_string();
        assert!(told.contains("no key is configured"), "{told}");
        // What was written before there was a key is still read.
        let (_, tail) = packed(&Packing::default(), &octets);
        assert_eq!(sealed.table(id, &tail).unwrap().size, 100);
    }

    #[test]
    fn the_same_blob_is_never_sealed_twice_with_one_key() {
        let octets = text(100);
        let sealed = Packing::new(Compression::None, Some(&key(1))).unwrap();
        assert_ne!(packed(&sealed, &octets).0, packed(&sealed, &octets).0);
    }

    #[test]
    fn a_key_that_is_not_32_octets_is_refused_in_words_and_not_shown() {
        for wrong in ["", "short", &BASE64_STANDARD.encode([1; 31]), &BASE64_STANDARD.encode([1; 33])] {
            let told = Packing::new(Compression::None, Some(&Secret::new(wrong.to_owned()))).err().unwrap().to_string();
            assert!(told.contains("32 octets as base64") && (wrong.is_empty() || !told.contains(wrong)), "{told}");
        }
    }
}
