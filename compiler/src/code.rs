//! Every finding's code: what it means and which rule it comes from. A code, once given, never changes its meaning.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; the build goes on.
    Warning,
    /// Would lose mail, break authentication, lock people out, or cannot be built.
    Error,
}

macro_rules! codes {
    ($($code:ident $name:ident $severity:ident $title:literal $rule:literal $text:literal)*) => {
        /// A finding's code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// Every code, by number.
            pub const ALL: &[Code] = &[$(Code::$name,)*];
            /// `W0123`.
            pub fn id(self) -> &'static str { match self { $(Code::$name => stringify!($code),)* } }
            /// Error or warning.
            pub fn severity(self) -> Severity { match self { $(Code::$name => Severity::$severity,)* } }
            /// One line.
            pub fn title(self) -> &'static str { match self { $(Code::$name => $title,)* } }
            /// The RFC section or rule it comes from; may be empty.
            pub fn rule(self) -> &'static str { match self { $(Code::$name => $rule,)* } }
            /// The explanation that `waybill explain` prints: why it matters, how to mend it.
            pub fn text(self) -> &'static str { match self { $(Code::$name => $text,)* } }
        }
    };
}

codes! {
    // 01xx: reading. Files, KDL, shape.
    W0101 NotReadable Error "a file of the spec cannot be read" ""
        "The file named does not exist, is not readable, or is not UTF-8. Check its name (it is relative to the including file) and its mode."
    // 02xx: names and references.
    // 03xx: people and addresses.
    // 04xx: hosts, listeners, TLS.
    // 05xx: stores.
    // 06xx: records: DKIM, SPF, DMARC, MTA-STS.
}
