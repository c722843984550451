//! Every command and test that is known: its arguments in order, its tagged arguments, the capability that it needs.

use super::capability::Capability;
use Capability as C;

/// What a string must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Anything.
    Any,
    /// Anything, and matched: a pattern where `:matches` or `:regex` stands.
    Key,
    /// A capability's name.
    Capability,
    /// A comparator's name (RFC 4790).
    Comparator,
    /// `gt`, `ge`, `lt`, `le`, `eq`, `ne`.
    Relation,
    /// A field's name, to look for.
    Header,
    /// The name of a field that holds addresses.
    AddressHeader,
    /// A field's name, to write.
    NewHeader,
    /// `from`, `to`.
    EnvelopePart,
    /// A mail address.
    Address,
    /// A mailbox's name.
    Mailbox,
    /// A special use (RFC 6154 §2).
    SpecialUse,
    /// Keywords and system flags, several between spaces.
    Flags,
    /// A variable's name, to set.
    Variable,
    /// A part of a date (RFC 5260 §4.2).
    DatePart,
    /// `+0100`.
    Zone,
    /// A media type, a part of one, or nothing.
    ContentType,
    /// An URI.
    Uri,
    /// `1`, `2`, `3`.
    Importance,
    /// The name of an annotation (RFC 5464 §3.2).
    Annotation,
    /// A script's name.
    Script,
    /// A name that must not come from a variable.
    Constant,
}

/// An argument's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number.
    Number,
    /// One string.
    One(Form),
    /// A string or a list of them.
    Many(Form),
}

/// An argument that is told by its place.
#[derive(Clone, Copy, Debug)]
pub struct Positional {
    /// What the rules call it.
    pub name: &'static str,
    /// What it must be.
    pub shape: Shape,
    /// It may be left out: the first, where something must follow; else the last.
    pub optional: bool,
}

/// An argument that is told by its tag.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// The tag, without the colon.
    pub name: &'static str,
    /// What it is one of; two of a group cannot stand together.
    pub group: &'static str,
    /// What must be required for it.
    pub needs: Option<Capability>,
    /// What follows it.
    pub value: Option<Shape>,
    /// Which tag must stand beside it; may be empty.
    pub with: &'static str,
}

/// What stands behind a call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tests {
    /// None.
    None,
    /// One test.
    One,
    /// Tests in parentheses.
    List,
}

/// A command or a test.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Where it is specified.
    pub section: &'static str,
    /// What must be required for it.
    pub needs: &'static [Capability],
    /// Its tagged arguments.
    pub tags: &'static [&'static [Tag]],
    /// Its other arguments.
    pub arguments: &'static [Positional],
    /// The tests behind.
    pub tests: Tests,
    /// Whether a block follows.
    pub block: bool,
}

impl Signature {
    /// The tagged argument of that name.
    pub fn tag(&self, name: &str) -> Option<&'static Tag> {
        self.tags.iter().flat_map(|tags| tags.iter()).find(|tag| tag.name == name)
    }
}

const fn tag(name: &'static str, group: &'static str) -> Tag {
    Tag { name, group, needs: None, value: None, with: "" }
}
impl Tag {
    const fn needs(self, capability: Capability) -> Tag {
        Tag { needs: Some(capability), ..self }
    }
    const fn value(self, shape: Shape) -> Tag {
        Tag { value: Some(shape), ..self }
    }
    const fn one(self, form: Form) -> Tag {
        self.value(Shape::One(form))
    }
    const fn many(self, form: Form) -> Tag {
        self.value(Shape::Many(form))
    }
    const fn with(self, other: &'static str) -> Tag {
        Tag { with: other, ..self }
    }
}

const fn number(name: &'static str) -> Positional {
    Positional { name, shape: Shape::Number, optional: false }
}
const fn one(name: &'static str, form: Form) -> Positional {
    Positional { name, shape: Shape::One(form), optional: false }
}
const fn many(name: &'static str, form: Form) -> Positional {
    Positional { name, shape: Shape::Many(form), optional: false }
}
const fn or_none(argument: Positional) -> Positional {
    Positional { optional: true, ..argument }
}

const fn command(name: &'static str, section: &'static str) -> Signature {
    Signature { name, section, needs: &[], tags: &[], arguments: &[], tests: Tests::None, block: false }
}
impl Signature {
    const fn needs(self, needs: &'static [Capability]) -> Signature {
        Signature { needs, ..self }
    }
    const fn tags(self, tags: &'static [&'static [Tag]]) -> Signature {
        Signature { tags, ..self }
    }
    const fn takes(self, arguments: &'static [Positional]) -> Signature {
        Signature { arguments, ..self }
    }
    const fn tests(self, tests: Tests) -> Signature {
        Signature { tests, ..self }
    }
    const fn block(self) -> Signature {
        Signature { block: true, ..self }
    }
}

/// The group of match types.
pub const MATCH_TYPE: &str = "match type";
/// The group of sizes, of which one must be there.
pub const OVER_UNDER: &str = "size";

const MATCH: &[Tag] = &[
    tag("is", MATCH_TYPE),
    tag("contains", MATCH_TYPE),
    tag("matches", MATCH_TYPE),
    tag("regex", MATCH_TYPE).needs(C::Regex),
    tag("count", MATCH_TYPE).needs(C::Relational).one(Form::Relation),
    tag("value", MATCH_TYPE).needs(C::Relational).one(Form::Relation),
    tag("list", MATCH_TYPE).needs(C::Extlists),
];
const COMPARATOR: &[Tag] = &[tag("comparator", "comparator").one(Form::Comparator)];
const PART: &[Tag] = &[
    tag("localpart", "address part"),
    tag("domain", "address part"),
    tag("all", "address part"),
    tag("user", "address part").needs(C::Subaddress),
    tag("detail", "address part").needs(C::Subaddress),
];
const INDEX: &[Tag] =
    &[tag("index", "index").needs(C::Index).value(Shape::Number), tag("last", "last").needs(C::Index).with("index")];
const ANY_PART: &[Tag] = &[tag("mime", "mime").needs(C::Mime), tag("anychild", "child").needs(C::Mime).with("mime")];
const MIME_PART: &[Tag] = &[
    tag("type", "part of a field").needs(C::Mime).with("mime"),
    tag("subtype", "part of a field").needs(C::Mime).with("mime"),
    tag("contenttype", "part of a field").needs(C::Mime).with("mime"),
    tag("param", "part of a field").needs(C::Mime).many(Form::Any).with("mime"),
];
const MODIFIERS: &[Tag] = &[
    tag("lower", "case of the text"),
    tag("upper", "case of the text"),
    tag("lowerfirst", "case of the first letter"),
    tag("upperfirst", "case of the first letter"),
    tag("quotewildcard", "quoting"),
    tag("quoteregex", "quoting").needs(C::Regex),
    tag("encodeurl", "encoding").needs(C::Enotify),
    tag("length", "length"),
];
const FLAGS: &[Tag] = &[tag("flags", "flags").needs(C::Imap4flags).many(Form::Flags)];
const INTO: &[Tag] = &[
    tag("copy", "copy").needs(C::Copy),
    tag("create", "create").needs(C::Mailbox),
    tag("specialuse", "choice of a mailbox").needs(C::SpecialUse).one(Form::SpecialUse),
    tag("mailboxid", "choice of a mailbox").needs(C::Mailboxid).one(Form::Any),
];
const FCC: &[Tag] = &[
    tag("fcc", "copy").needs(C::Fcc).one(Form::Mailbox),
    tag("flags", "flags").needs(C::Imap4flags).many(Form::Flags).with("fcc"),
    tag("create", "create").needs(C::Mailbox).with("fcc"),
    tag("specialuse", "choice of a mailbox").needs(C::SpecialUse).one(Form::SpecialUse).with("fcc"),
    tag("mailboxid", "choice of a mailbox").needs(C::Mailboxid).one(Form::Any).with("fcc"),
];
const ZONE: Tag = tag("zone", "zone").one(Form::Zone);

/// The commands.
pub const COMMANDS: &[Signature] = &[
    command("require", "RFC 5228 §3.2").takes(&[many("capabilities", Form::Capability)]),
    command("if", "RFC 5228 §3.1").tests(Tests::One).block(),
    command("elsif", "RFC 5228 §3.1").tests(Tests::One).block(),
    command("else", "RFC 5228 §3.1").block(),
    command("stop", "RFC 5228 §3.3"),
    command("keep", "RFC 5228 §4.3").tags(&[FLAGS]),
    command("discard", "RFC 5228 §4.4"),
    command("fileinto", "RFC 5228 §4.1")
        .needs(&[C::Fileinto])
        .tags(&[INTO, FLAGS])
        .takes(&[one("mailbox", Form::Mailbox)]),
    command("redirect", "RFC 5228 §4.2")
        .tags(&[&[tag("copy", "copy").needs(C::Copy), tag("list", "list").needs(C::Extlists)]])
        .takes(&[one("address", Form::Address)]),
    command("set", "RFC 5229 §4")
        .needs(&[C::Variables])
        .tags(&[MODIFIERS])
        .takes(&[one("name", Form::Variable), one("value", Form::Any)]),
    command("vacation", "RFC 5230 §4")
        .needs(&[C::Vacation])
        .tags(&[
            &[
                tag("days", "interval").value(Shape::Number),
                tag("seconds", "interval").needs(C::VacationSeconds).value(Shape::Number),
                tag("subject", "subject").one(Form::Any),
                tag("from", "sender").one(Form::Address),
                tag("addresses", "addresses").many(Form::Address),
                tag("mime", "mime"),
                tag("handle", "handle").one(Form::Any),
            ],
            FCC,
        ])
        .takes(&[one("reason", Form::Any)]),
    command("setflag", "RFC 5232 §3.1").needs(&[C::Imap4flags]).takes(FLAG_ARGUMENTS),
    command("addflag", "RFC 5232 §3.2").needs(&[C::Imap4flags]).takes(FLAG_ARGUMENTS),
    command("removeflag", "RFC 5232 §3.3").needs(&[C::Imap4flags]).takes(FLAG_ARGUMENTS),
    command("addheader", "RFC 5293 §4")
        .needs(&[C::Editheader])
        .tags(&[&[tag("last", "last")]])
        .takes(&[one("field name", Form::NewHeader), one("value", Form::Any)]),
    command("deleteheader", "RFC 5293 §5")
        .needs(&[C::Editheader])
        .tags(&[&[tag("index", "index").value(Shape::Number), tag("last", "last").with("index")], MATCH, COMPARATOR])
        .takes(&[one("field name", Form::NewHeader), or_none(many("values", Form::Key))]),
    command("reject", "RFC 5429 §2.2").needs(&[C::Reject]).takes(&[one("reason", Form::Any)]),
    command("ereject", "RFC 5429 §2.1").needs(&[C::Ereject]).takes(&[one("reason", Form::Any)]),
    command("notify", "RFC 5435 §3")
        .needs(&[C::Enotify])
        .tags(&[
            &[
                tag("from", "sender").one(Form::Any),
                tag("importance", "importance").one(Form::Importance),
                tag("options", "options").many(Form::Any),
                tag("message", "message").one(Form::Any),
            ],
            FCC,
        ])
        .takes(&[one("method", Form::Uri)]),
    command("error", "RFC 5463 §5").needs(&[C::Ihave]).takes(&[one("message", Form::Any)]),
    command("foreverypart", "RFC 5703 §3")
        .needs(&[C::Foreverypart])
        .tags(&[&[tag("name", "name").one(Form::Constant)]])
        .block(),
    command("break", "RFC 5703 §3").needs(&[C::Foreverypart]).tags(&[&[tag("name", "name").one(Form::Constant)]]),
    command("replace", "RFC 5703 §5")
        .needs(&[C::Replace])
        .tags(&[&[tag("mime", "mime"), tag("subject", "subject").one(Form::Any), tag("from", "sender").one(Form::Any)]])
        .takes(&[one("replacement", Form::Any)]),
    command("enclose", "RFC 5703 §6")
        .needs(&[C::Enclose])
        .tags(&[&[tag("subject", "subject").one(Form::Any), tag("headers", "headers").many(Form::Any)]])
        .takes(&[one("text", Form::Any)]),
    command("extracttext", "RFC 5703 §7")
        .needs(&[C::Extracttext, C::Variables])
        .tags(&[MODIFIERS, &[tag("first", "first").value(Shape::Number)]])
        .takes(&[one("variable", Form::Variable)]),
    command("include", "RFC 6609 §3.2")
        .needs(&[C::Include])
        .tags(&[&[
            tag("personal", "location"),
            tag("global", "location"),
            tag("once", "once"),
            tag("optional", "optional"),
        ]])
        .takes(&[one("script", Form::Script)]),
    command("return", "RFC 6609 §3.3").needs(&[C::Include]),
    command("global", "RFC 6609 §3.4").needs(&[C::Include, C::Variables]).takes(&[many("names", Form::Variable)]),
];

const FLAG_ARGUMENTS: &[Positional] = &[or_none(one("variable", Form::Variable)), many("flags", Form::Flags)];
const KEYS: Positional = many("keys", Form::Key);

/// The tests.
pub const TESTS: &[Signature] = &[
    command("true", "RFC 5228 §5.10"),
    command("false", "RFC 5228 §5.6"),
    command("not", "RFC 5228 §5.8").tests(Tests::One),
    command("allof", "RFC 5228 §5.2").tests(Tests::List),
    command("anyof", "RFC 5228 §5.3").tests(Tests::List),
    command("address", "RFC 5228 §5.1")
        .tags(&[PART, MATCH, COMPARATOR, INDEX, ANY_PART])
        .takes(&[many("header names", Form::AddressHeader), KEYS]),
    command("envelope", "RFC 5228 §5.4")
        .needs(&[C::Envelope])
        .tags(&[PART, MATCH, COMPARATOR])
        .takes(&[many("envelope parts", Form::EnvelopePart), KEYS]),
    command("exists", "RFC 5228 §5.5").tags(&[ANY_PART]).takes(&[many("header names", Form::Header)]),
    command("header", "RFC 5228 §5.7")
        .tags(&[MATCH, COMPARATOR, INDEX, ANY_PART, MIME_PART])
        .takes(&[many("header names", Form::Header), KEYS]),
    command("size", "RFC 5228 §5.9")
        .tags(&[&[tag("over", OVER_UNDER), tag("under", OVER_UNDER)]])
        .takes(&[number("limit")]),
    command("body", "RFC 5173 §4")
        .needs(&[C::Body])
        .tags(&[
            MATCH,
            COMPARATOR,
            &[
                tag("raw", "body transform"),
                tag("content", "body transform").many(Form::ContentType),
                tag("text", "body transform"),
            ],
        ])
        .takes(&[KEYS]),
    command("environment", "RFC 5183 §4")
        .needs(&[C::Environment])
        .tags(&[MATCH, COMPARATOR])
        .takes(&[one("name", Form::Any), KEYS]),
    command("string", "RFC 5229 §5")
        .needs(&[C::Variables])
        .tags(&[MATCH, COMPARATOR])
        .takes(&[many("source", Form::Any), KEYS]),
    command("hasflag", "RFC 5232 §4")
        .needs(&[C::Imap4flags])
        .tags(&[MATCH, COMPARATOR])
        .takes(&[or_none(many("variables", Form::Variable)), many("flags", Form::Key)]),
    command("spamtest", "RFC 5235 §2.1")
        .needs(&[C::Spamtest])
        .tags(&[MATCH, COMPARATOR, &[tag("percent", "percent").needs(C::Spamtestplus)]])
        .takes(&[one("value", Form::Key)]),
    command("virustest", "RFC 5235 §2.3")
        .needs(&[C::Virustest])
        .tags(&[MATCH, COMPARATOR])
        .takes(&[one("value", Form::Key)]),
    command("date", "RFC 5260 §4")
        .needs(&[C::Date])
        .tags(&[MATCH, COMPARATOR, INDEX, &[ZONE, tag("originalzone", "zone")]])
        .takes(&[one("header name", Form::Header), one("date part", Form::DatePart), KEYS]),
    command("currentdate", "RFC 5260 §5")
        .needs(&[C::Date])
        .tags(&[MATCH, COMPARATOR, &[ZONE]])
        .takes(&[one("date part", Form::DatePart), KEYS]),
    command("valid_notify_method", "RFC 5435 §4").needs(&[C::Enotify]).takes(&[many("methods", Form::Any)]),
    command("notify_method_capability", "RFC 5435 §5").needs(&[C::Enotify]).tags(&[MATCH, COMPARATOR]).takes(&[
        one("method", Form::Any),
        one("capability", Form::Any),
        KEYS,
    ]),
    command("ihave", "RFC 5463 §4").needs(&[C::Ihave]).takes(&[many("capabilities", Form::Constant)]),
    command("mailboxexists", "RFC 5490 §3.1").needs(&[C::Mailbox]).takes(&[many("mailboxes", Form::Mailbox)]),
    command("metadata", "RFC 5490 §3.3").needs(&[C::Mboxmetadata]).tags(&[MATCH, COMPARATOR]).takes(&[
        one("mailbox", Form::Mailbox),
        one("annotation", Form::Annotation),
        KEYS,
    ]),
    command("metadataexists", "RFC 5490 §3.4")
        .needs(&[C::Mboxmetadata])
        .takes(&[one("mailbox", Form::Mailbox), many("annotations", Form::Annotation)]),
    command("servermetadata", "RFC 5490 §3.5")
        .needs(&[C::Servermetadata])
        .tags(&[MATCH, COMPARATOR])
        .takes(&[one("annotation", Form::Annotation), KEYS]),
    command("servermetadataexists", "RFC 5490 §3.6")
        .needs(&[C::Servermetadata])
        .takes(&[many("annotations", Form::Annotation)]),
    command("valid_ext_list", "RFC 6134 §2.6").needs(&[C::Extlists]).takes(&[many("lists", Form::Any)]),
    command("duplicate", "RFC 7352 §3").needs(&[C::Duplicate]).tags(&[&[
        tag("handle", "handle").one(Form::Any),
        tag("header", "what makes messages the same").one(Form::Header),
        tag("uniqueid", "what makes messages the same").one(Form::Any),
        tag("seconds", "interval").value(Shape::Number),
        tag("last", "last"),
    ]]),
    command("specialuse_exists", "RFC 8579 §3.1")
        .needs(&[C::SpecialUse])
        .takes(&[or_none(one("mailbox", Form::Mailbox)), many("special uses", Form::SpecialUse)]),
    command("mailboxidexists", "RFC 9042 §4").needs(&[C::Mailboxid]).takes(&[many("identifiers", Form::Any)]),
];

/// The command of that name.
pub fn command_named(name: &str) -> Option<&'static Signature> {
    COMMANDS.iter().find(|known| known.name == name)
}

/// The test of that name.
pub fn test_named(name: &str) -> Option<&'static Signature> {
    TESTS.iter().find(|known| known.name == name)
}
