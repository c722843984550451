//! Packing values: fixed-width numbers, texts with their length before them.

use crate::error::StoreError;

/// Packs a value.
#[derive(Default)]
pub struct Packer(Vec<u8>);

impl Packer {
    /// Begins with a version octet, so that a later layout can be told apart.
    pub fn new(version: u8) -> Packer {
        Packer(vec![version])
    }
    /// One octet.
    pub fn u8(&mut self, n: u8) -> &mut Packer {
        self.0.push(n);
        self
    }
    /// Four octets.
    pub fn u32(&mut self, n: u32) -> &mut Packer {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    /// Eight octets.
    pub fn u64(&mut self, n: u64) -> &mut Packer {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    /// Eight octets, signed.
    pub fn i64(&mut self, n: i64) -> &mut Packer {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    /// Octets of a known length.
    pub fn fixed(&mut self, octets: &[u8]) -> &mut Packer {
        self.0.extend_from_slice(octets);
        self
    }
    /// A text with its length; what is past 4 GiB is cut, which no limit lets happen.
    pub fn text(&mut self, text: &str) -> &mut Packer {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.u32(length);
        self.0.extend_from_slice(&text.as_bytes()[..length as usize]);
        self
    }
    /// A text that may be absent.
    pub fn option(&mut self, text: Option<&str>) -> &mut Packer {
        match text {
            Some(text) => self.u8(1).text(text),
            None => self.u8(0),
        }
    }
    /// The value.
    pub fn done(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Reads what [`Packer`] made.
pub struct Unpacker<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Unpacker<'a> {
    /// Reads a value of this version; `what` names it in errors.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for another version.
    pub fn new(value: &'a [u8], version: u8, what: &'static str) -> Result<Unpacker<'a>, StoreError> {
        let mut this = Unpacker { rest: value, what };
        if this.u8()? == version { Ok(this) } else { Err(this.corrupt()) }
    }
    fn corrupt(&self) -> StoreError {
        StoreError::Corrupt { what: self.what.to_owned() }
    }
    /// Octets of a known length.
    ///
    /// # Errors
    /// As all of these: [`StoreError::Corrupt`] where the value ends too early.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.corrupt())?;
        self.rest = rest;
        Ok(*first)
    }
    /// One octet.
    ///
    /// # Errors
    /// As [`Unpacker::fixed`].
    pub fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(self.fixed::<1>()?[0])
    }
    /// Four octets.
    ///
    /// # Errors
    /// As [`Unpacker::fixed`].
    pub fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }
    /// Eight octets.
    ///
    /// # Errors
    /// As [`Unpacker::fixed`].
    pub fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.fixed()?))
    }
    /// Eight octets, signed.
    ///
    /// # Errors
    /// As [`Unpacker::fixed`].
    pub fn i64(&mut self) -> Result<i64, StoreError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }
    /// A text.
    ///
    /// # Errors
    /// As [`Unpacker::fixed`], and where it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, StoreError> {
        let length = self.u32()? as usize;
        let (text, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.corrupt())?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| self.corrupt())
    }
    /// A text that may be absent.
    ///
    /// # Errors
    /// As [`Unpacker::text`].
    pub fn option(&mut self) -> Result<Option<&'a str>, StoreError> {
        if self.u8()? == 0 { Ok(None) } else { self.text().map(Some) }
    }
}
