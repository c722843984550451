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
    W0201 NamedTwice Error "a name is given twice" ""
        "Hosts, stores, domains, providers and directories are known by name, so each name stands once. Where two domains share settings, write `like=` or `defaults`."
    W0202 UnknownHost Error "a host that the spec does not have" ""
        "A domain's mail is taken by hosts of the same spec. Write the host's node, or correct the name."
    W0203 NoHost Error "a domain without host" ""
        "Where the spec has one host, it serves every domain. Where it has several, each domain says which take its mail: `host \"mail.example.org\"`, in the domain or in `defaults { domain { … } }`."
    W0204 UnknownDomain Error "a domain that the spec does not have" ""
        "`like` takes the settings of another domain of the same spec, and an account's alias lies in a domain of the spec: mail for others never comes here."
    W0205 LikeCircle Error "domains that are like each other in a circle" ""
        "`like` follows from domain to domain until one says what holds. A circle has no such domain."
    W0206 UnknownProvider Error "a DNS provider that the spec does not have" ""
        "The `dns` node of a domain names a `dns` node of the spec."
    // 03xx: people and addresses.
    W0301 TwoOwners Error "an address with two owners" ""
        "Mail to an address goes to one account, alias, group or list. If several people should get it, write a group."
    W0302 Shadowed Error "an alias that stands before an account" ""
        "The address is an account's own, so the alias would take its mail and its login away. Remove the alias, or name the account otherwise."
    W0303 Circle Error "groups or aliases in a circle" "RFC 5321 §3.9"
        "Mail to any of them would be copied to the next for ever."
    W0304 UnknownPerson Error "an address that nobody has" "RFC 5321 §3.9"
        "The address lies in a domain of the spec, but no account, alias, group or list has it, so its mail would come back."
    W0305 Nobody Warning "a group or list without members" ""
        "Mail to it would reach nobody, and is refused."
    W0306 NoPassword Warning "an account without password" ""
        "Nobody can log in to it, so its mail can be received but not read. Write a `password`."
    W0307 MemberTwice Warning "a member named twice" ""
        "Everybody gets one copy; the second mention changes nothing."
    W0308 NoPostmaster Warning "a domain without postmaster" "RFC 5321 §4.5.1"
        "Every domain must have the address postmaster, which others write to when something is wrong. It goes to the first account until an account or alias of that name is written."
    W0309 PasswordForm Error "a password hash of a form that is not known" ""
        "Known are argon2id, scrypt and PBKDF2 as PHC strings, bcrypt (`$2b$`) and sha512-crypt (`$6$`); `(scram)` takes `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER` with at least 4096 iterations. Any other would lock the person out."
    W0310 NoRoom Error "a quota that lets no mail in" ""
        "A mailbox needs room for at least one message."
    W0311 Reserved Error "an address that a list needs" "RFC 5321 §3.9.2"
        "Mail of a list is sent in the name of `LIST-bounces`, so that undeliverable copies come back to its owners. The address must be free."
    W0312 NoPeople Warning "a domain without people" ""
        "No account, alias, group, list or catch-all stands in it, so all of its mail but postmaster's is refused."
    W0313 WeakHash Warning "a password hash that is weak" ""
        "The hash costs so little that a stolen copy is soon undone. Write argon2id with at least 19 MiB, or another with its present parameters."
    // 04xx: hosts, listeners, TLS.
    W0401 PortTaken Error "a port taken twice" ""
        "Two listeners cannot have the same address and port."
    W0402 NoAddress Warning "a host without address" ""
        "Nobody can be told where the host is, and its listeners bind to every address of the machine. Write `address`."
    W0403 NotPublic Warning "an address that the Internet does not reach" "RFC 6890"
        "The address is of a loopback, private or documentation network. For a trial that is fine; other servers cannot send mail there."
    W0404 SelfSigned Warning "a self-signed certificate" "RFC 8461 §4.2"
        "Mail clients warn of it, and senders that obey MTA-STS do not deliver. Write a `certificate`."
    W0405 CertificateAway Warning "a certificate that cannot be looked at here" ""
        "The certificate is not in the spec's folder, so neither its names nor its dates were checked, and no TLSA record was made from it."
    W0406 CertificateForm Error "not a certificate" "RFC 7468 §5"
        "The file must hold the chain as PEM, the host's own certificate first."
    W0407 CertificateName Error "a certificate that does not cover the host" "RFC 6125 §6.4"
        "Clients that connect by the host's name would refuse it."
    W0408 CertificateDates Error "a certificate that is not valid now" "RFC 5280 §4.1.2.5"
        "It is expired, or not valid yet. Clients would refuse it."
    W0409 CertificateSoon Warning "a certificate that expires within two weeks" "RFC 5280 §4.1.2.5"
        "Renew it, and replace the file; the running server takes the new one at once."
    W0410 CertificateOthers Warning "a certificate that does not cover a name that clients ask for" "RFC 8461 §3.3"
        "Senders fetch the MTA-STS policy from `mta-sts.DOMAIN`, and refuse one whose certificate is of another name."
    W0411 TlsKey Error "a TLS key that cannot be used" ""
        "`public` is the SubjectPublicKeyInfo, base64 of its DER. Left out, it is taken from the private file, which must then be there, PKCS#8 as PEM."
    W0412 DaneNeeds Error "TLSA records that need a certificate" "RFC 6698 §2.1"
        "Records of usage 2 and of selector 0 are made from a certificate, so `dane` needs a `certificate` file in the spec's folder."
    W0413 NoArrival Warning "no listener on port 25" "RFC 5321 §4.5.4.2"
        "Other servers send to port 25 of the hosts that MX names. Unless something forwards the port, mail from others does not arrive."
    W0414 NoListener Error "a host that listens nowhere" ""
        "None of its listeners is one that this version serves."
    // 05xx: stores.
    W0501 OneKind Error "a node that needs exactly one kind" ""
        "A store is one database: write one of `rocksdb`, `memory`, `postgresql` … inside."
    W0502 StoreNotServed Error "a store that this version does not serve" ""
        "The language knows it; this server keeps data in `rocksdb` or `memory`."
    W0503 UnknownStore Error "a store that the spec does not have" ""
        "`storage` names stores of the same spec."
    W0504 WhichStore Error "it is not said which store keeps what" ""
        "Where the spec has one store, it keeps everything. Where it has several, `storage` says which keeps `data`, `blob`, `search` and `lookup`."
    W0505 NoStore Warning "no store" ""
        "Data is kept by RocksDB in the folder `data` beside the spec. Write the store that you mean: `store \"local\" { rocksdb \"/var/lib/waybill\"; }`."
    W0506 UnusedStore Warning "a store that keeps nothing" ""
        "No part of `storage` names it, so it is not opened. A misspelt name elsewhere may be why."
    W0507 SameFolder Error "two stores in one folder" ""
        "A folder belongs to one database."
    W0508 MemoryForgets Warning "mail in memory" ""
        "What is kept in memory is gone when the server stops, also mail that it has promised to deliver. For trials only."
    // 06xx: records: DKIM, SPF, DMARC, MTA-STS.
    W0601 NoDkim Warning "a domain without DKIM key" "RFC 6376"
        "Its mail is not signed, so forwarded copies fail DMARC and large receivers refuse or hide it. `waybill init` makes keys."
    W0602 KeyAway Error "a DKIM key whose public part is not known" "RFC 6376 §3.6.1"
        "`public` is left out, so it is taken from the private file, which is not there. Write `public`, or put the file in its place."
    W0603 KeyForm Error "not a DKIM key of its algorithm" "RFC 6376 §3.6.1, RFC 8463 §4"
        "`public` is the value of `p=`: 32 octets as base64 for ed25519, a SubjectPublicKeyInfo for rsa. The private file is PKCS#8 as PEM."
    W0604 KeyShort Error "a DKIM key that is too short" "RFC 8301 §3.2"
        "Signatures with an RSA key of less than 1024 bits are not believed."
    W0605 KeyWeak Warning "a DKIM key of less than 2048 bits" "RFC 8301 §3.2"
        "Signers should use 2048 bits or more. Make a new key under a new selector."
    W0606 PolicyUnserved Error "an MTA-STS policy that nothing serves" "RFC 8461 §3.3"
        "The policy is fetched by HTTPS from `mta-sts.DOMAIN`. No host of the domain has an `https` listener, so senders would hear of a policy that they cannot get."
    W0608 SelectorTwice Error "a DKIM selector used twice" "RFC 6376 §3.1"
        "A selector names one key of a domain."
    W0609 SelectorForm Error "not a DKIM selector" "RFC 6376 §3.1"
        "A selector is one or more DNS labels: letters, digits and hyphens."
    W0610 OnlyEd25519 Warning "no RSA key" "RFC 8463 §3"
        "Many receivers do not check ed25519 signatures yet. Sign with an rsa key beside it."
    W0611 SpfTerm Error "not an SPF mechanism" "RFC 7208 §5"
        "`ip4` and `ip6` take an address or network (`192.0.2.0/24`), `exists` a domain name that may hold macros."
    W0612 SpfLookups Error "an SPF record with too many look-ups" "RFC 7208 §4.6.4"
        "Receivers look up at most ten names for one check, `include`, `a`, `mx` and `exists` counted, and fail the check after that. What included records look up counts too."
    W0613 ReportsElsewhere Warning "DMARC reports to a domain outside the spec" "RFC 9990 §4"
        "That domain must publish that it takes the reports, else they are not sent."
    W0614 ReportsToNobody Error "reports to an address that nobody has" ""
        "The address lies in a domain of the spec, but nobody has it, so reports would come back."
    W0615 MaxAge Error "an MTA-STS age out of bounds" "RFC 8461 §3.2"
        "`max-age` is at most a year (31557600 s), and less than a day protects nobody."
    W0616 EnforceSelfSigned Warning "MTA-STS enforced with a self-signed certificate" "RFC 8461 §4.2"
        "Senders that obey the policy cannot verify the certificate, so they do not deliver."
    W0617 Unsigned Warning "a zone that is not signed" "RFC 7672 §2.2"
        "Without DNSSEC no TLSA record is published, so others cannot be held to TLS by DANE. Write `dnssec` where the zone is signed."
    W0618 RecordForm Error "not a record" "RFC 1035 §5.1"
        "The name is relative to the domain (`@` is the domain), the type one of A, AAAA, CAA, CNAME, MX, SRV, TLSA and TXT, the value of that type."
    W0619 CnameBeside Error "a CNAME beside other records" "RFC 1034 §3.6.2"
        "A name that has a CNAME has nothing else."
    W0620 NothingOmitted Warning "an omitted record that would not be there" ""
        "`omit` names a set that nothing derives. A misspelt name may be why."
    W0621 Ttl Error "a time to live out of bounds" "RFC 2181 §8"
        "At least a minute, at most a week: less burdens resolvers, more makes every change wait."
    W0622 NoTlsa Warning "no key for a TLSA record" "RFC 7672 §3.1"
        "The zone is signed, but no key of the host is known here, so others cannot be held to TLS by DANE. Write a `key` in the host's `tls`."
}
