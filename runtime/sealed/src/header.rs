//! What a sealed secret shows without being opened: how many recipients of which kind it has, never who they are.

use crate::recipient::Kind;
use crate::{Unopened, bare};

/// The largest header, in octets: one is read again for each of its lines.
pub const HEADER_MOST: usize = 64 << 10;
/// The most stanzas: each costs every identity a key agreement.
pub const STANZAS_MOST: usize = 256;

/// The first line of every age file.
const MAGIC: &[u8] = b"age-encryption.org/v1";
/// What a stanza's first line begins with.
const STANZA: &[u8] = b"-> ";
/// What the header's last line begins with.
const END: &[u8] = b"---";

/// What a header shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The kinds of recipients that are known here, sorted; one for each recipient.
    pub kinds: Vec<Kind>,
    /// How many recipients are of another kind.
    pub others: usize,
    /// It is encrypted with a passphrase.
    pub passphrase: bool,
}

impl Header {
    /// The header of a sealed secret, armoured or not.
    ///
    /// # Errors
    /// [`Unopened`]: too large, or no age file.
    pub fn of(sealed: &[u8]) -> Result<Header, Unopened> {
        Header::of_bare(&bare(sealed)?)
    }

    pub(crate) fn of_bare(octets: &[u8]) -> Result<Header, Unopened> {
        let mut header = Header::default();
        let mut stanzas = 0;
        let mut read = 0;
        for (number, line) in octets.split(|octet| *octet == b'\n').enumerate() {
            read += line.len() + 1;
            if number == 0 && line != MAGIC {
                return Err(Unopened::NotAge);
            }
            if read > HEADER_MOST || stanzas > STANZAS_MOST {
                return Err(Unopened::Header);
            }
            if line.starts_with(END) {
                header.kinds.sort_unstable();
                return Ok(header);
            }
            let Some(stanza) = line.strip_prefix(STANZA) else { continue };
            stanzas += 1;
            let tag = stanza.split(|octet| *octet == b' ').next().unwrap_or_default();
            match tag {
                b"X25519" => header.kinds.push(Kind::X25519),
                b"ssh-ed25519" => header.kinds.push(Kind::SshEd25519),
                b"ssh-rsa" => header.kinds.push(Kind::SshRsa),
                b"scrypt" => header.passphrase = true,
                // Nobody's: put there so that readers learn to skip what they do not know.
                tag if tag.ends_with(b"-grease") => {}
                _ => header.others += 1,
            }
        }
        Err(Unopened::NotAge)
    }
}
