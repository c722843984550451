//! Whole commands to types (RFC 3501 §9 and the extensions offered).

use super::types::{
    AppendHead, Command, FetchCommand, FetchItem, Flag, ListCommand, Messages, Section, SectionText, SequenceSet,
    SpecialUse, StatusItem, StoreAction, StoreCommand, Tagged,
};
use super::{
    MAX_DEPTH, MAX_FETCH_ITEMS, MAX_FLAGS, MAX_KEYWORD, MAX_MAILBOX_LEVELS, MAX_MAILBOX_NAME, MAX_PATTERNS, MAX_SET,
    utf7,
};
use jiff::civil::{Date, Time};

mod search;

/// Octets of a tag.
const MAX_TAG: usize = 128;

/// Why a command is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// BAD, and why.
    Bad(&'static str),
    /// NO: a name that no mailbox can have.
    Name(&'static str),
    /// NO [BADCHARSET].
    Charset,
}

type Parsed<T> = Result<T, Flaw>;

const SYNTAX: Flaw = Flaw::Bad("the command is not well-formed");

/// The tag that a line begins with.
pub fn tag(line: &[u8]) -> Option<String> {
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\r' | b'\n')).unwrap_or(line.len());
    let tag = &line[..end];
    let fits = (1..=MAX_TAG).contains(&tag.len()) && tag.iter().all(|octet| is_astring(*octet) && *octet != b'+');
    fits.then(|| String::from_utf8_lossy(tag).into_owned())
}

/// Whether a line's command is APPEND.
pub fn is_append(line: &[u8]) -> bool {
    let verb = line.split(|octet| *octet == b' ').nth(1);
    verb.is_some_and(|verb| verb.eq_ignore_ascii_case(b"APPEND"))
}

/// APPEND up to its message. `None`: not even the mailbox's name is there.
pub fn append_head(line: &[u8]) -> Parsed<Option<AppendHead>> {
    let mut cursor = Cursor::new(line);
    let tag = cursor.tag()?;
    cursor.space()?;
    cursor.atom()?;
    cursor.space()?;
    if cursor.is_over() {
        return Ok(None);
    }
    let mailbox = cursor.mailbox()?;
    cursor.space()?;
    let mut flags = Vec::new();
    if cursor.peek() == Some(b'(') {
        flags = cursor.flag_list()?;
        cursor.space()?;
    }
    let mut internal_date = None;
    if cursor.peek() == Some(b'"') {
        internal_date = Some(cursor.date_time()?);
        cursor.space()?;
    }
    cursor.over()?;
    Ok(Some(AppendHead { tag, mailbox, flags, internal_date }))
}

/// A whole command; what is wrong with it comes with its tag, where it has one.
pub fn command(octets: &[u8]) -> Result<Tagged, (Option<String>, Flaw)> {
    let mut cursor = Cursor::new(octets);
    let tag = cursor.tag().map_err(|flaw| (None, flaw))?;
    match cursor.space().and_then(|()| cursor.command()).and_then(|command| cursor.over().map(|()| command)) {
        Ok(command) => Ok(Tagged { tag, command }),
        Err(flaw) => Err((Some(tag), flaw)),
    }
}

/// A command's octets and how far they are read.
struct Cursor<'a> {
    octets: &'a [u8],
    at: usize,
    depth: usize,
}

/// RFC 3501 `ATOM-CHAR`.
fn is_atom(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// RFC 3501 `ASTRING-CHAR`.
fn is_astring(octet: u8) -> bool {
    is_atom(octet) || octet == b']'
}

impl<'a> Cursor<'a> {
    fn new(octets: &'a [u8]) -> Cursor<'a> {
        Cursor { octets, at: 0, depth: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    fn is_over(&self) -> bool {
        self.at >= self.octets.len()
    }

    fn over(&self) -> Parsed<()> {
        if self.is_over() { Ok(()) } else { Err(Flaw::Bad("something follows the command")) }
    }

    fn try_eat(&mut self, octet: u8) -> bool {
        let is = self.peek() == Some(octet);
        self.at += usize::from(is);
        is
    }

    fn eat(&mut self, octet: u8) -> Parsed<()> {
        if self.try_eat(octet) { Ok(()) } else { Err(SYNTAX) }
    }

    fn space(&mut self) -> Parsed<()> {
        self.eat(b' ')
    }

    /// Whether the next word is this, without case; it is taken.
    fn word(&mut self, word: &str) -> bool {
        let next = self.octets.get(self.at..self.at + word.len());
        let after = self.octets.get(self.at + word.len()).copied();
        let is = next.is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()))
            && after.is_none_or(|octet| !octet.is_ascii_alphanumeric());
        self.at += if is { word.len() } else { 0 };
        is
    }

    fn run(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.octets[self.at.min(self.octets.len())..];
        let len = rest.iter().position(|octet| !is(*octet)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn text(octets: &[u8]) -> Parsed<String> {
        let text = std::str::from_utf8(octets).map_err(|_| Flaw::Bad("text is not UTF-8"))?;
        if text.contains('\0') { Err(SYNTAX) } else { Ok(text.to_owned()) }
    }

    fn tag(&mut self) -> Parsed<String> {
        let tag = tag(self.octets).ok_or(Flaw::Bad("a command begins with a tag"))?;
        self.at = tag.len();
        Ok(tag)
    }

    fn atom(&mut self) -> Parsed<String> {
        let atom = self.run(is_atom);
        if atom.is_empty() { Err(SYNTAX) } else { Self::text(atom) }
    }

    fn upper(&mut self) -> Parsed<String> {
        Ok(self.atom()?.to_ascii_uppercase())
    }

    fn number64(&mut self) -> Parsed<u64> {
        let digits = self.run(|octet| octet.is_ascii_digit());
        Self::text(digits)?.parse().map_err(|_| Flaw::Bad("a number is expected"))
    }

    fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| Flaw::Bad("the number is too large"))
    }

    fn nz_number(&mut self) -> Parsed<u32> {
        self.number().and_then(|number| if number == 0 { Err(Flaw::Bad("0 names nothing")) } else { Ok(number) })
    }

    fn string(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => Err(SYNTAX),
        }
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        self.eat(b'"')?;
        let mut out = Vec::new();
        loop {
            let octet = self.peek().ok_or(Flaw::Bad("a quote is not closed"))?;
            self.at += 1;
            match octet {
                b'"' => return Ok(out),
                b'\\' => {
                    let escaped = self.peek().filter(|octet| matches!(octet, b'"' | b'\\')).ok_or(SYNTAX)?;
                    self.at += 1;
                    out.push(escaped);
                }
                b'\r' | b'\n' | 0 => return Err(SYNTAX),
                octet => out.push(octet),
            }
        }
    }

    // The reader has proved that the octets follow.
    fn literal(&mut self) -> Parsed<Vec<u8>> {
        self.eat(b'{')?;
        let size = usize::try_from(self.number64()?).map_err(|_| SYNTAX)?;
        let _ = self.try_eat(b'+') || self.try_eat(b'-');
        for octet in *b"}\r\n" {
            self.eat(octet)?;
        }
        let octets = self.octets.get(self.at..self.at.saturating_add(size)).ok_or(SYNTAX)?;
        self.at += size;
        Ok(octets.to_vec())
    }

    fn astring(&mut self) -> Parsed<String> {
        match self.peek() {
            Some(b'"' | b'{') => Self::text(&self.string()?),
            _ => {
                let atom = self.run(is_astring);
                if atom.is_empty() { Err(SYNTAX) } else { Self::text(atom) }
            }
        }
    }

    /// A mailbox's name, decoded; the inbox's in its one spelling.
    fn mailbox(&mut self) -> Parsed<String> {
        let raw = self.astring()?;
        mailbox_name(&raw)
    }

    fn list_mailbox(&mut self) -> Parsed<String> {
        let raw = match self.peek() {
            Some(b'"' | b'{') => Self::text(&self.string()?)?,
            _ => Self::text(self.run(|octet| is_astring(octet) || matches!(octet, b'%' | b'*')))?,
        };
        if raw.len() > MAX_MAILBOX_NAME {
            return Err(Flaw::Name("the pattern is too long"));
        }
        // A pattern that is no name matches none; it is no error.
        Ok(utf7::decode(&raw).unwrap_or(raw))
    }

    fn list<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.eat(b'(')?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Flaw::Bad("too many levels of parentheses"));
        }
        let mut found = Vec::new();
        while !self.try_eat(b')') {
            if !found.is_empty() {
                self.space()?;
            }
            if found.len() >= most {
                return Err(Flaw::Bad("the list is too long"));
            }
            found.push(one(self)?);
        }
        self.depth -= 1;
        Ok(found)
    }

    fn command(&mut self) -> Parsed<Command> {
        let name = self.upper().map_err(|_| Flaw::Bad("a command is expected"))?;
        match name.as_str() {
            "CAPABILITY" => Ok(Command::Capability),
            "NOOP" => Ok(Command::Noop),
            "LOGOUT" => Ok(Command::Logout),
            "STARTTLS" => Ok(Command::StartTls),
            "NAMESPACE" => Ok(Command::Namespace),
            "IDLE" => Ok(Command::Idle),
            "CHECK" => Ok(Command::Check),
            "CLOSE" => Ok(Command::Close),
            "UNSELECT" => Ok(Command::Unselect),
            "EXPUNGE" => Ok(Command::Expunge(None)),
            "UID" => {
                self.space()?;
                let name = self.upper()?;
                self.on_messages(&name, true)
            }
            "SEARCH" | "FETCH" | "STORE" | "COPY" | "MOVE" => self.on_messages(&name, false),
            _ => {
                self.space().map_err(|_| Flaw::Bad("no such command, or its arguments are missing"))?;
                self.with_arguments(&name)
            }
        }
    }

    fn with_arguments(&mut self, name: &str) -> Parsed<Command> {
        match name {
            "ID" => self.id(),
            "AUTHENTICATE" => self.authenticate(),
            "LOGIN" => {
                let user = self.astring()?;
                self.space()?;
                Ok(Command::Login { user, password: self.astring()? })
            }
            "ENABLE" => {
                let mut names = vec![self.upper()?];
                while self.try_eat(b' ') && names.len() < MAX_FLAGS {
                    names.push(self.upper()?);
                }
                Ok(Command::Enable(names))
            }
            "SELECT" => self.select(false),
            "EXAMINE" => self.select(true),
            "CREATE" => self.create(),
            "DELETE" => Ok(Command::Delete(self.mailbox()?)),
            "RENAME" => {
                let from = self.mailbox()?;
                self.space()?;
                Ok(Command::Rename { from, to: self.new_mailbox()? })
            }
            "SUBSCRIBE" => Ok(Command::Subscribe { mailbox: self.new_mailbox()?, on: true }),
            "UNSUBSCRIBE" => Ok(Command::Subscribe { mailbox: self.mailbox()?, on: false }),
            "LIST" => self.list_command(),
            "LSUB" => {
                let reference = self.list_mailbox()?;
                self.space()?;
                let patterns = vec![self.list_mailbox()?];
                Ok(Command::List(ListCommand { lsub: true, reference, patterns, ..ListCommand::default() }))
            }
            "STATUS" => {
                let mailbox = self.mailbox()?;
                self.space()?;
                Ok(Command::Status { mailbox, items: self.status_items()? })
            }
            // The reader takes APPEND where it ends in a literal, as it must.
            "APPEND" => Err(Flaw::Bad("APPEND ends in a literal that holds a message")),
            _ => Err(Flaw::Bad("no such command")),
        }
    }

    fn id(&mut self) -> Parsed<Command> {
        if !self.word("NIL") {
            // RFC 2971 §3.3: at most 30 pairs.
            self.list(60, |cursor| if cursor.word("NIL") { Ok(Vec::new()) } else { cursor.string() })?;
        }
        Ok(Command::Id)
    }

    fn authenticate(&mut self) -> Parsed<Command> {
        let mechanism = self.upper()?;
        let mut initial = None;
        if self.try_eat(b' ') {
            let base64 = self.run(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'='));
            initial = Some(Self::text(base64)?);
        }
        Ok(Command::Authenticate { mechanism, initial })
    }

    fn select(&mut self, read_only: bool) -> Parsed<Command> {
        let mailbox = self.mailbox()?;
        let mut condstore = false;
        if self.try_eat(b' ') {
            for name in self.list(8, Self::upper)? {
                match name.as_str() {
                    "CONDSTORE" => condstore = true,
                    _ => return Err(Flaw::Bad("no such parameter")),
                }
            }
        }
        Ok(Command::Select { mailbox, read_only, condstore })
    }

    fn new_mailbox(&mut self) -> Parsed<String> {
        let mut name = self.mailbox()?;
        // RFC 3501 §6.3.3: a trailing separator says that names will follow below.
        if name.ends_with('/') {
            name.pop();
        }
        let levels = || name.split('/');
        if name.is_empty() || levels().any(str::is_empty) {
            return Err(Flaw::Name("a level of the name is empty"));
        }
        if levels().count() > MAX_MAILBOX_LEVELS {
            return Err(Flaw::Name("the name has too many levels"));
        }
        if name.contains(['%', '*']) || levels().any(|level| matches!(level, "." | "..")) || name.starts_with('#') {
            return Err(Flaw::Name("a name may not hold `%` or `*`, nor begin with `#`"));
        }
        Ok(name)
    }

    fn create(&mut self) -> Parsed<Command> {
        let mailbox = self.new_mailbox()?;
        let mut special_use = None;
        if self.try_eat(b' ') {
            self.eat(b'(')?;
            if !self.word("USE") {
                return Err(Flaw::Bad("no such parameter"));
            }
            self.space()?;
            let uses = self.list(8, |cursor| {
                cursor.eat(b'\\')?;
                let name = format!("\\{}", cursor.atom()?);
                SpecialUse::parse(&name).ok_or(Flaw::Bad("no such use"))
            })?;
            self.eat(b')')?;
            special_use = uses.first().copied();
            if uses.len() > 1 {
                return Err(Flaw::Name("a mailbox has one use here"));
            }
        }
        Ok(Command::Create { mailbox, special_use })
    }

    fn list_command(&mut self) -> Parsed<Command> {
        let mut list = ListCommand::default();
        if self.peek() == Some(b'(') {
            list.extended = true;
            for option in self.list(16, Self::upper)? {
                match option.as_str() {
                    "SUBSCRIBED" => list.select_subscribed = true,
                    "SPECIAL-USE" => list.select_special_use = true,
                    "RECURSIVEMATCH" => list.recursive_match = true,
                    "REMOTE" => {}
                    _ => return Err(Flaw::Bad("no such selection option")),
                }
            }
            self.space()?;
            // RFC 5258 §3.1: it needs another to say what matches.
            if list.recursive_match && !list.select_subscribed && !list.select_special_use {
                return Err(Flaw::Bad("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE beside it"));
            }
        }
        list.reference = self.list_mailbox()?;
        self.space()?;
        if self.peek() == Some(b'(') {
            list.extended = true;
            list.patterns = self.list(MAX_PATTERNS, Self::list_mailbox)?;
        } else {
            list.patterns = vec![self.list_mailbox()?];
        }
        if self.try_eat(b' ') {
            list.extended = true;
            if !self.word("RETURN") {
                return Err(SYNTAX);
            }
            self.space()?;
            let returns = self.list(16, |cursor| {
                let name = cursor.upper()?;
                let status = name == "STATUS";
                if status {
                    cursor.space()?;
                }
                Ok((name, if status { Some(cursor.status_items()?) } else { None }))
            })?;
            for (name, status) in returns {
                match name.as_str() {
                    "SUBSCRIBED" => list.return_subscribed = true,
                    "STATUS" => list.return_status = status,
                    // Told in any case.
                    "CHILDREN" | "SPECIAL-USE" => {}
                    _ => return Err(Flaw::Bad("no such return option")),
                }
            }
        }
        Ok(Command::List(list))
    }

    fn status_items(&mut self) -> Parsed<Vec<StatusItem>> {
        self.list(16, |cursor| match cursor.upper()?.as_str() {
            "MESSAGES" => Ok(StatusItem::Messages),
            "RECENT" => Ok(StatusItem::Recent),
            "UIDNEXT" => Ok(StatusItem::UidNext),
            "UIDVALIDITY" => Ok(StatusItem::UidValidity),
            "UNSEEN" => Ok(StatusItem::Unseen),
            "DELETED" => Ok(StatusItem::Deleted),
            "SIZE" => Ok(StatusItem::Size),
            "HIGHESTMODSEQ" => Ok(StatusItem::HighestModSeq),
            "APPENDLIMIT" => Ok(StatusItem::AppendLimit),
            _ => Err(Flaw::Bad("no such status item")),
        })
    }

    fn on_messages(&mut self, name: &str, uid: bool) -> Parsed<Command> {
        if !matches!(name, "SEARCH" | "FETCH" | "STORE" | "COPY" | "MOVE" | "EXPUNGE") {
            return Err(Flaw::Bad("no such command"));
        }
        self.space()?;
        if name == "SEARCH" {
            return self.search(uid);
        }
        let set = self.sequence_set()?;
        if name == "EXPUNGE" {
            return Ok(Command::Expunge(Some(set)));
        }
        self.space()?;
        let messages = Messages { uid, set };
        match name {
            "FETCH" => self.fetch(messages),
            "STORE" => self.store(messages),
            _ => Ok(Command::Copy { messages, to: self.mailbox()?, remove: name == "MOVE" }),
        }
    }

    fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        let mut pairs = Vec::new();
        loop {
            let from = self.sequence_number()?;
            let to = if self.try_eat(b':') { self.sequence_number()? } else { from };
            pairs.push((from, to));
            if pairs.len() > MAX_SET {
                return Err(Flaw::Bad("the set has too many elements"));
            }
            if !self.try_eat(b',') {
                return Ok(SequenceSet(pairs));
            }
        }
    }

    fn sequence_number(&mut self) -> Parsed<Option<u32>> {
        if self.try_eat(b'*') { Ok(None) } else { self.nz_number().map(Some) }
    }

    fn fetch(&mut self, messages: Messages) -> Parsed<Command> {
        let mut items = Vec::new();
        if self.peek() == Some(b'(') {
            for found in self.list(MAX_FETCH_ITEMS, Self::fetch_item)? {
                items.extend(found);
            }
        } else {
            items = self.fetch_item()?;
        }
        let mut changed_since = None;
        if self.try_eat(b' ') {
            self.eat(b'(')?;
            if !self.word("CHANGEDSINCE") {
                return Err(Flaw::Bad("no such modifier"));
            }
            self.space()?;
            changed_since = Some(self.number64()?);
            self.eat(b')')?;
        }
        if items.is_empty() {
            return Err(Flaw::Bad("nothing to fetch"));
        }
        Ok(Command::Fetch(FetchCommand { messages, items, changed_since }))
    }

    fn fetch_item(&mut self) -> Parsed<Vec<FetchItem>> {
        use FetchItem::{Body, BodyStructure, Envelope, Flags, InternalDate, ModSeq, Size, Uid};
        let name = self.run(|octet| octet.is_ascii_alphanumeric() || octet == b'.').to_ascii_uppercase();
        let old = |text, peek, old_name| FetchItem::Section {
            section: Section { path: Vec::new(), text, partial: None },
            peek,
            old_name: Some(old_name),
        };
        Ok(match name.as_slice() {
            b"ALL" => vec![Flags, InternalDate, Size, Envelope],
            b"FAST" => vec![Flags, InternalDate, Size],
            b"FULL" => vec![Flags, InternalDate, Size, Envelope, Body],
            b"FLAGS" => vec![Flags],
            b"INTERNALDATE" => vec![InternalDate],
            b"RFC822.SIZE" => vec![Size],
            b"ENVELOPE" => vec![Envelope],
            b"BODYSTRUCTURE" => vec![BodyStructure],
            b"UID" => vec![Uid],
            b"MODSEQ" => vec![ModSeq],
            b"RFC822" => vec![old(SectionText::All, false, "RFC822")],
            b"RFC822.HEADER" => vec![old(SectionText::Header, true, "RFC822.HEADER")],
            b"RFC822.TEXT" => vec![old(SectionText::Text, false, "RFC822.TEXT")],
            b"BODY" if self.peek() != Some(b'[') => vec![Body],
            b"BODY" | b"BODY.PEEK" => vec![self.section(name.len() > 4)?],
            _ => return Err(Flaw::Bad("no such item to fetch")),
        })
    }

    fn section(&mut self, peek: bool) -> Parsed<FetchItem> {
        self.eat(b'[')?;
        let mut path = Vec::new();
        let mut ended = false;
        while self.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            path.push(self.nz_number()?);
            if path.len() > super::MAX_STRUCTURE_DEPTH {
                return Err(Flaw::Bad("the part lies too deep"));
            }
            if !self.try_eat(b'.') {
                ended = true;
                break;
            }
        }
        let text = if self.peek() == Some(b']') && (path.is_empty() || ended) {
            SectionText::All
        } else {
            self.section_text(!path.is_empty())?
        };
        self.eat(b']')?;
        let mut partial = None;
        if self.try_eat(b'<') {
            let origin = self.number()?;
            self.eat(b'.')?;
            partial = Some((origin, self.nz_number()?));
            self.eat(b'>')?;
        }
        Ok(FetchItem::Section { section: Section { path, text, partial }, peek, old_name: None })
    }

    fn section_text(&mut self, of_part: bool) -> Parsed<SectionText> {
        let name = self.run(|octet| octet.is_ascii_alphabetic() || octet == b'.').to_ascii_uppercase();
        match name.as_slice() {
            b"HEADER" => Ok(SectionText::Header),
            b"TEXT" => Ok(SectionText::Text),
            b"MIME" if of_part => Ok(SectionText::Mime),
            b"HEADER.FIELDS" | b"HEADER.FIELDS.NOT" => {
                self.space()?;
                let names = self.list(MAX_FETCH_ITEMS, Self::astring)?;
                Ok(SectionText::Fields { names, not: name.ends_with(b"NOT") })
            }
            _ => Err(Flaw::Bad("no such section")),
        }
    }

    fn store(&mut self, messages: Messages) -> Parsed<Command> {
        let mut unchanged_since = None;
        if self.try_eat(b'(') {
            if !self.word("UNCHANGEDSINCE") {
                return Err(Flaw::Bad("no such modifier"));
            }
            self.space()?;
            unchanged_since = Some(self.number64()?);
            self.eat(b')')?;
            self.space()?;
        }
        let action = match self.peek() {
            Some(b'+') => StoreAction::Add,
            Some(b'-') => StoreAction::Remove,
            _ => StoreAction::Replace,
        };
        self.at += usize::from(action != StoreAction::Replace);
        let silent =
            match self.run(|octet| octet.is_ascii_alphabetic() || octet == b'.').to_ascii_uppercase().as_slice() {
                b"FLAGS" => false,
                b"FLAGS.SILENT" => true,
                _ => return Err(Flaw::Bad("only flags can be stored")),
            };
        self.space()?;
        let flags = if self.peek() == Some(b'(') {
            self.flag_list()?
        } else {
            let mut flags: Vec<Flag> = self.flag()?.into_iter().collect();
            while self.try_eat(b' ') {
                flags.extend(self.flag()?);
                if flags.len() > MAX_FLAGS {
                    return Err(Flaw::Bad("too many flags"));
                }
            }
            flags
        };
        Ok(Command::Store(StoreCommand { messages, action, flags, silent, unchanged_since }))
    }

    fn flag_list(&mut self) -> Parsed<Vec<Flag>> {
        Ok(self.list(MAX_FLAGS, Self::flag)?.into_iter().flatten().collect())
    }

    /// `None`: `\Recent`, which nobody can set.
    fn flag(&mut self) -> Parsed<Option<Flag>> {
        if !self.try_eat(b'\\') {
            let keyword = self.atom()?;
            return if keyword.len() <= MAX_KEYWORD {
                Ok(Some(Flag::Keyword(keyword)))
            } else {
                Err(Flaw::Bad("the keyword is too long"))
            };
        }
        Ok(match self.upper()?.as_str() {
            "ANSWERED" => Some(Flag::Answered),
            "FLAGGED" => Some(Flag::Flagged),
            "DELETED" => Some(Flag::Deleted),
            "SEEN" => Some(Flag::Seen),
            "DRAFT" => Some(Flag::Draft),
            "RECENT" => None,
            _ => return Err(Flaw::Bad("no such system flag")),
        })
    }

    /// `"17-Jul-1996 02:44:25 -0700"`
    fn date_time(&mut self) -> Parsed<i64> {
        let wrong = Flaw::Bad("the date is not well-formed");
        let raw = self.quoted()?;
        let text = std::str::from_utf8(&raw).map_err(|_| wrong)?;
        let mut words = text.split_ascii_whitespace();
        let (Some(day), Some(time), Some(zone), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(wrong);
        };
        let date = date(day).ok_or(wrong)?;
        let time = Time::strptime("%H:%M:%S", time).map_err(|_| wrong)?;
        let digits =
            zone.get(1..).filter(|digits| digits.len() == 4 && digits.bytes().all(|octet| octet.is_ascii_digit()));
        let minutes: i64 = digits.and_then(|digits| digits.parse().ok()).ok_or(wrong)?;
        let offset = (minutes / 100 * 60 + minutes % 100) * 60;
        let offset = match zone.as_bytes().first() {
            Some(b'+') => offset,
            Some(b'-') => -offset,
            _ => return Err(wrong),
        };
        let at = jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(time)).map_err(|_| wrong)?;
        Ok(at.as_second() - offset)
    }
}

/// `1-Feb-1994`
fn date(text: &str) -> Option<Date> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let mut parts = text.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?.to_ascii_lowercase(), parts.next()?);
    let month = MONTHS.iter().position(|name| **name == month)?;
    let fits = parts.next().is_none() && year.len() == 4;
    let date = Date::new(year.parse().ok()?, i8::try_from(month + 1).ok()?, day.parse().ok()?).ok()?;
    fits.then_some(date)
}

fn mailbox_name(raw: &str) -> Parsed<String> {
    if raw.len() > MAX_MAILBOX_NAME {
        return Err(Flaw::Name("the name is too long"));
    }
    let name = utf7::decode(raw).ok_or(Flaw::Name("the name is not in modified UTF-7"))?;
    // RFC 3501 §5.1: INBOX is one name in any case, also above others.
    let (first, rest) = name.split_once('/').map_or((name.as_str(), None), |(first, rest)| (first, Some(rest)));
    match (first.eq_ignore_ascii_case("INBOX"), rest) {
        (true, None) => Ok("INBOX".to_owned()),
        (true, Some(rest)) => Ok(format!("INBOX/{rest}")),
        (false, _) => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(line: &str) -> Command {
        command(line.as_bytes()).unwrap_or_else(|flaw| panic!("{line}: {flaw:?}")).command
    }

    #[test]
    fn commands_are_read() {
        assert!(matches!(parsed("a noop"), Command::Noop));
        assert!(matches!(parsed("a LOGIN \"a\\\"b\" {2}\r\npw"), Command::Login { user, password }
            if user == "a\"b" && password == "pw"));
        assert!(matches!(parsed("a SELECT inbox (CONDSTORE)"), Command::Select { mailbox, condstore: true, .. }
            if mailbox == "INBOX"));
        assert!(matches!(parsed("a CREATE Entw&APw-rfe (USE (\\Drafts))"), Command::Create { mailbox, special_use }
            if mailbox == "Entwürfe" && special_use == Some(SpecialUse::Drafts)));
        assert!(matches!(parsed("a LIST (SUBSCRIBED) \"\" (\"INBOX\" %) RETURN (CHILDREN STATUS (MESSAGES))"),
            Command::List(list) if list.patterns.len() == 2 && list.return_status.is_some()));
        assert!(matches!(parsed("a UID STORE 1:* (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen $Work)"),
            Command::Store(store) if store.silent && store.flags.len() == 2 && store.messages.uid));
        assert!(matches!(parsed("a ID (\"name\" \"x\" \"os\" NIL)"), Command::Id));
        assert!(matches!(parsed("a UID MOVE 3,5:7 Trash"), Command::Copy { remove: true, .. }));
    }

    #[test]
    fn fetch_items_are_read() {
        let Command::Fetch(fetch) =
            parsed("a FETCH 2:4 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS.NOT (Date \"X-Y\")]<5.10> BODY[] RFC822.TEXT)")
        else {
            panic!("no fetch")
        };
        assert_eq!(fetch.items.len(), 4);
        let FetchItem::Section { section, peek: true, .. } = &fetch.items[1] else { panic!("no section") };
        assert_eq!((&section.path[..], section.partial), (&[1, 2][..], Some((5, 10))));
    }

    #[test]
    fn append_heads_are_read() {
        let head = append_head(b"a APPEND Sent (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" ").unwrap().unwrap();
        assert_eq!((head.mailbox.as_str(), head.internal_date), ("Sent", Some(760_686_745)));
        assert_eq!(append_head(b"a APPEND "), Ok(None));
        assert!(append_head(b"a APPEND Sent \"x\" ").is_err());
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for line in [
            "",
            " ",
            "a",
            "a ",
            "a FROB",
            "a LOGIN x",
            "a FETCH 0 FLAGS",
            "a FETCH 1 BODY[",
            "a FETCH 1 BODY[1.]",
            "a SEARCH",
            "a STORE 1 FLAGS \\Frob",
            "a LIST",
            "a SELECT &",
            "a CREATE a//b",
            "a UID NOOP",
            "a NOOP x",
            "a LOGIN {9}\r\nx y",
            "a FETCH 4294967296 UID",
            "a FETCH 1 BODY[]<0.0>",
            "+ NOOP",
        ] {
            assert!(command(line.as_bytes()).is_err(), "{line:?}");
        }
        let deep = format!("a SEARCH {}ALL{}", "(".repeat(100), ")".repeat(100));
        assert!(command(deep.as_bytes()).is_err());
    }
}
