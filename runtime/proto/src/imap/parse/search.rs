//! SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5032, RFC 7162 §3.1.5).

use super::super::MAX_SEARCH_KEYS;
use super::super::types::{Command, Flag, Messages, SearchCommand, SearchField, SearchKey, SearchReturn, When};
use super::{Cursor, Flaw, Parsed, SYNTAX, date};
use jiff::civil::Date;

type Key = SearchKey<Messages>;

/// Keys read so far.
struct Count(usize);

impl Cursor<'_> {
    pub(super) fn search(&mut self, uid: bool) -> Parsed<Command> {
        let mut returns = None;
        if self.word("RETURN") {
            self.space()?;
            returns = Some(self.search_returns()?);
            self.space()?;
        }
        if self.word("CHARSET") {
            self.space()?;
            let charset = self.astring()?.to_ascii_uppercase();
            if !matches!(charset.as_str(), "UTF-8" | "US-ASCII") {
                return Err(Flaw::Charset);
            }
            self.space()?;
        }
        let mut count = Count(0);
        let mut keys = vec![self.search_key(&mut count)?];
        while self.try_eat(b' ') {
            keys.push(self.search_key(&mut count)?);
        }
        let key = if keys.len() == 1 { keys.remove(0) } else { SearchKey::And(keys) };
        Ok(Command::Search(SearchCommand { uid, returns, key }))
    }

    fn search_returns(&mut self) -> Parsed<SearchReturn> {
        let mut returns = SearchReturn::default();
        for name in self.list(8, Self::upper)? {
            match name.as_str() {
                "MIN" => returns.min = true,
                "MAX" => returns.max = true,
                "ALL" => returns.all = true,
                "COUNT" => returns.count = true,
                _ => return Err(Flaw::Bad("no such return option")),
            }
        }
        // RFC 4731 §3.1: an empty list means ALL.
        returns.all |= !(returns.min || returns.max || returns.count);
        Ok(returns)
    }

    fn search_key(&mut self, count: &mut Count) -> Parsed<Key> {
        count.0 += 1;
        self.depth += 1;
        if count.0 > MAX_SEARCH_KEYS || self.depth > super::super::MAX_DEPTH {
            return Err(Flaw::Bad("the search is too large"));
        }
        let key = match self.peek() {
            Some(b'(') => SearchKey::And(self.list(MAX_SEARCH_KEYS, |cursor| cursor.search_key(count))?),
            Some(b'*' | b'0'..=b'9') => SearchKey::Messages(Messages { uid: false, set: self.sequence_set()? }),
            _ => {
                let name = self.upper()?;
                self.named_key(&name, count)?
            }
        };
        self.depth -= 1;
        Ok(key)
    }

    fn named_key(&mut self, name: &str, count: &mut Count) -> Parsed<Key> {
        if let Some(key) = flag_key(name) {
            return Ok(key);
        }
        self.space()?;
        Ok(match name {
            "KEYWORD" => SearchKey::Flag(Flag::Keyword(self.atom()?)),
            "UNKEYWORD" => not(SearchKey::Flag(Flag::Keyword(self.atom()?))),
            "FROM" => self.text_key(SearchField::From)?,
            "TO" => self.text_key(SearchField::To)?,
            "CC" => self.text_key(SearchField::Cc)?,
            "BCC" => self.text_key(SearchField::Bcc)?,
            "SUBJECT" => self.text_key(SearchField::Subject)?,
            "BODY" => self.text_key(SearchField::Body)?,
            "TEXT" => self.text_key(SearchField::Text)?,
            "HEADER" => {
                let field = self.astring()?;
                self.space()?;
                self.text_key(SearchField::Header(field))?
            }
            "BEFORE" => SearchKey::Arrived(When::Before, self.search_date()?),
            "ON" => SearchKey::Arrived(When::On, self.search_date()?),
            "SINCE" => SearchKey::Arrived(When::Since, self.search_date()?),
            "SENTBEFORE" => SearchKey::Sent(When::Before, self.search_date()?),
            "SENTON" => SearchKey::Sent(When::On, self.search_date()?),
            "SENTSINCE" => SearchKey::Sent(When::Since, self.search_date()?),
            "LARGER" => SearchKey::Larger(self.number64()?),
            "SMALLER" => SearchKey::Smaller(self.number64()?),
            "OLDER" => SearchKey::Older(self.nz_number()?),
            "YOUNGER" => SearchKey::Younger(self.nz_number()?),
            "UID" => SearchKey::Messages(Messages { uid: true, set: self.sequence_set()? }),
            "MODSEQ" => self.modseq_key()?,
            "NOT" => not(self.search_key(count)?),
            "OR" => {
                let first = self.search_key(count)?;
                self.space()?;
                SearchKey::Or(Box::new((first, self.search_key(count)?)))
            }
            _ => return Err(Flaw::Bad("no such search key")),
        })
    }

    fn text_key(&mut self, field: SearchField) -> Parsed<Key> {
        Ok(SearchKey::Text(field, self.astring()?))
    }

    fn search_date(&mut self) -> Parsed<Date> {
        let text = self.astring()?;
        date(&text).ok_or(Flaw::Bad("the date is not well-formed"))
    }

    /// RFC 7162 §3.1.5: one modseq serves all flags here, so which one is asked for does not matter.
    fn modseq_key(&mut self) -> Parsed<Key> {
        if self.peek() == Some(b'"') {
            self.string()?;
            self.space()?;
            if !(self.word("priv") || self.word("shared") || self.word("all")) {
                return Err(SYNTAX);
            }
            self.space()?;
        }
        Ok(SearchKey::ModSeq(self.number64()?))
    }
}

fn not(key: Key) -> Key {
    SearchKey::Not(Box::new(key))
}

fn flag_key(name: &str) -> Option<Key> {
    let flag = |name: &str| {
        Some(SearchKey::Flag(match name {
            "ANSWERED" => Flag::Answered,
            "DELETED" => Flag::Deleted,
            "DRAFT" => Flag::Draft,
            "FLAGGED" => Flag::Flagged,
            "SEEN" => Flag::Seen,
            _ => return None,
        }))
    };
    match name {
        "ALL" | "OLD" => Some(SearchKey::All),
        // Nothing is ever recent (RFC 9051 dropped it).
        "NEW" | "RECENT" => Some(not(SearchKey::All)),
        _ => flag(name).or_else(|| name.strip_prefix("UN").and_then(flag).map(not)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::command;
    use super::*;

    fn key(line: &str) -> Key {
        match command(format!("a SEARCH {line}").as_bytes()).map(|tagged| tagged.command) {
            Ok(Command::Search(search)) => search.key,
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn keys_are_read() {
        assert_eq!(key("UNSEEN"), not(SearchKey::Flag(Flag::Seen)));
        assert_eq!(key("CHARSET UTF-8 SUBJECT {2}\r\n\u{fc}"), SearchKey::Text(SearchField::Subject, "\u{fc}".into()));
        assert!(matches!(key("OR (FROM a TO b) NOT 1:5"), SearchKey::Or(_)));
        assert!(matches!(key("SINCE 1-Feb-1994 HEADER X-A \"\""), SearchKey::And(keys) if keys.len() == 2));
        assert_eq!(key("MODSEQ \"/flags/\\\\draft\" all 620162338"), SearchKey::ModSeq(620_162_338));
        let wrong = command(b"a SEARCH CHARSET KOI8-R ALL").err();
        assert_eq!(wrong, Some((Some("a".into()), Flaw::Charset)));
    }
}
