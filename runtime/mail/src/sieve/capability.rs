//! What a script may `require` (RFC 5228 §3.2).

use std::fmt;

macro_rules! capabilities {
    ($($name:ident $text:literal $section:literal)*) => {
        /// A capability by its registered name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each is its name")]
        pub enum Capability { $($name,)* }

        impl Capability {
            /// All that are known.
            pub const ALL: &[Capability] = &[$(Capability::$name,)*];
            /// The name as `require` has it.
            pub fn name(self) -> &'static str { match self { $(Capability::$name => $text,)* } }
            /// Where it is specified.
            pub fn section(self) -> &'static str { match self { $(Capability::$name => $section,)* } }
        }
    };
}

capabilities! {
    Fileinto "fileinto" "RFC 5228 §4.1"
    Envelope "envelope" "RFC 5228 §5.4"
    EncodedCharacter "encoded-character" "RFC 5228 §2.4.2.4"
    Octet "comparator-i;octet" "RFC 5228 §2.7.3"
    AsciiCasemap "comparator-i;ascii-casemap" "RFC 5228 §2.7.3"
    AsciiNumeric "comparator-i;ascii-numeric" "RFC 4790 §9.1"
    UnicodeCasemap "comparator-i;unicode-casemap" "RFC 5051 §2"
    Copy "copy" "RFC 3894 §3"
    Body "body" "RFC 5173 §3"
    Environment "environment" "RFC 5183 §3"
    Variables "variables" "RFC 5229 §2"
    Vacation "vacation" "RFC 5230 §3"
    VacationSeconds "vacation-seconds" "RFC 6131 §3"
    Relational "relational" "RFC 5231 §3"
    Imap4flags "imap4flags" "RFC 5232 §2"
    Subaddress "subaddress" "RFC 5233 §3"
    Spamtest "spamtest" "RFC 5235 §2.1"
    Spamtestplus "spamtestplus" "RFC 5235 §2.2"
    Virustest "virustest" "RFC 5235 §2.3"
    Date "date" "RFC 5260 §3"
    Index "index" "RFC 5260 §6"
    Editheader "editheader" "RFC 5293 §3"
    Reject "reject" "RFC 5429 §2.2"
    Ereject "ereject" "RFC 5429 §2.1"
    Enotify "enotify" "RFC 5435 §2"
    Ihave "ihave" "RFC 5463 §3"
    Mailbox "mailbox" "RFC 5490 §3"
    Mboxmetadata "mboxmetadata" "RFC 5490 §3"
    Servermetadata "servermetadata" "RFC 5490 §3"
    Foreverypart "foreverypart" "RFC 5703 §3"
    Mime "mime" "RFC 5703 §4"
    Extracttext "extracttext" "RFC 5703 §7"
    Replace "replace" "RFC 5703 §5"
    Enclose "enclose" "RFC 5703 §6"
    Extlists "extlists" "RFC 6134 §2"
    Include "include" "RFC 6609 §3"
    Imapsieve "imapsieve" "RFC 6785 §4"
    Duplicate "duplicate" "RFC 7352 §3"
    SpecialUse "special-use" "RFC 8579 §3"
    Fcc "fcc" "RFC 8580 §3"
    Mailboxid "mailboxid" "RFC 9042 §3"
    Regex "regex" "draft-ietf-sieve-regex §3"
}

impl Capability {
    /// The capability of a name, which is told by its octets.
    pub fn named(name: &str) -> Option<Capability> {
        Capability::ALL.iter().copied().find(|capability| capability.name() == name)
    }

    /// What every server has, without a `require` (RFC 5228 §2.7.3).
    pub fn is_base(self) -> bool {
        matches!(self, Capability::Octet | Capability::AsciiCasemap)
    }

    /// What comes with it.
    pub(super) fn brings(self) -> Capabilities {
        match self {
            // RFC 6131 §2, RFC 5235 §2.2.
            Capability::VacationSeconds => Capabilities::of(&[Capability::Vacation]),
            Capability::Spamtestplus => Capabilities::of(&[Capability::Spamtest]),
            _ => Capabilities::default(),
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// All that are known.
    pub fn all() -> Capabilities {
        Capabilities::of(Capability::ALL)
    }

    /// These, with what they bring.
    pub fn of(capabilities: &[Capability]) -> Capabilities {
        let mut set = Capabilities::default();
        for capability in capabilities {
            set.insert(*capability);
        }
        set
    }

    /// Puts one in, with what it brings.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability as u64 | capability.brings().0;
    }

    /// Without one.
    #[must_use]
    pub fn without(self, capability: Capability) -> Capabilities {
        Capabilities(self.0 & !(1 << capability as u64))
    }

    /// Whether one is in it.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u64 != 0
    }

    /// Whether one of another set is in it.
    pub fn meets(self, other: Capabilities) -> bool {
        self.0 & other.0 != 0
    }

    /// Those in it, as ManageSieve lists them (RFC 5804 §1.7).
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| self.contains(*capability))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Capability::name)).finish()
    }
}
