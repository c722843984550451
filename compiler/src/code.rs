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
    W0102 TooLarge Error "the spec is too large" ""
        "A file may have 64 MiB, a spec 256 MiB in all and 10,000 files. Split the file, or take generated parts out."
    W0103 TooDeep Error "nested too deeply" ""
        "Children, type annotations and comments may nest 64 levels deep. The language itself needs five; look for a missing `}`."
    W0104 BadSyntax Error "not KDL" "KDL 2.0"
        "The text is not KDL 2.0. Common causes: a missing quote or brace, a string with a backslash that begins no escape (`\\`), or a word that begins with a digit and is not quoted."
    W0105 OldKdl Error "KDL 1, not KDL 2" "KDL 2.0"
        "KDL 2 writes `#true`, `#false`, `#null` and `#\"raw\"#` where KDL 1 wrote `true`, `false`, `null` and `r\"raw\"`."
    W0106 OutsideSpec Error "a path leaves the spec's folder" ""
        "A spec is one folder, so that it can be moved, reviewed and built elsewhere. Neither `..`, an absolute path nor a symbolic link may lead out of it."
    W0107 NothingIncluded Error "an included file does not exist" ""
        "`include` names a file relative to the file that it stands in. A pattern with `*` or `?` may match nothing, with a warning; a plain name may not."
    W0108 NothingMatched Warning "an include's pattern matches nothing" ""
        "The pattern is relative to the file that it stands in; `*` and `?` match within one folder's names, and not a leading dot."
    W0109 IncludeTooDeep Error "includes nest too deeply" ""
        "A chain of includes may be 16 files long."
    W0110 NoLanguage Error "the language's version is missing" ""
        "The first node of `mail.kdl` says which version of the language the spec is written in, so that a newer compiler reads it in the same way: `waybill 1`."
    W0111 OtherLanguage Error "a version of the language that this compiler does not know" ""
        "The spec is written in a version of the language newer than this compiler, or one too old. Use the compiler of that version."
    W0112 UnknownNode Error "a node that the language does not know" ""
        "Nothing is ignored silently: a misspelt node would otherwise be a setting that never takes effect. `waybill schema spec` lists what is known."
    W0113 UnknownProperty Error "a property that the node does not know" ""
        "Nothing is ignored silently. A property is `name=value` on the node's own line; what the language has as a child node must be written between `{` and `}`."
    W0114 ExtraArgument Error "more arguments than the node takes" ""
        "The node takes fewer values than are written. Perhaps one of them belongs to another node or is a property, `name=value`."
    W0115 WrittenTwice Error "written twice" ""
        "The node or property may stand once. Which of the two should hold cannot be known, so neither wins."
    W0116 NotGiven Error "something is missing that must be there" ""
        "The node needs a value that is not written; there is no safe default for it."
    W0117 WrongKind Error "a value of the wrong kind" ""
        "Text is written in quotes, numbers without, yes and no as `#true` and `#false`."
    W0118 WrongForm Error "not of the form that is wanted" ""
        "The text is not a name, address, size or period of the wanted form. Sizes are written `\"5GiB\"`, periods `\"1h30m\"`, rates `\"100/1h\"`."
    W0119 OutOfBounds Error "a value outside its bounds" ""
        "The value is of the right kind, but lies outside what the language allows there."
    W0120 PlainSecret Error "a plain secret" ""
        "A spec lives in Git, where nothing is ever forgotten. Write where the secret is kept, `(env)\"NAME\"` or `(file)\"path\"`, and replace the secret that was written, since it may have been seen. A person's password is written as its hash."
    W0121 UnknownAnnotation Error "a type annotation that the value does not take" ""
        "`(env)`, `(file)` and `(age)` say where a secret is kept; `(hash)` and `(scram)` say what a password is kept as. Other values take none."
    W0122 NotServed Warning "known, but not served by this version" ""
        "The language knows the node, the server of this version does not serve it yet. It is not opened, and no record points at it."
    W0123 NotDecoded Error "the spec cannot be taken in" ""
        "The reader and the schema disagree about the spec. This is a mistake in the compiler; please report it with the node shown."
    // 02xx: names and references.
    // 03xx: people and addresses.
    // 04xx: hosts, listeners, TLS.
    // 05xx: stores.
    // 06xx: records: DKIM, SPF, DMARC, MTA-STS.
}
