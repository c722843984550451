//! From texts to what is indexed, and from a question to what is looked for: the only place that knows, so that every
//! backend gives the same answers.
//!
//! # Words
//! A text is cut into runs of one class of characters: letters, digits and the marks on them (UAX #29 without the
//! punctuation that it leaves within words, since people look for `ada` in `ada@example.org`), and the characters of
//! scripts that put no space between words. Whether two characters lie in one run depends on nothing but the two: what
//! is cut out of a text has the same runs, but for its first and last one.
//!
//! - A run of letters is a word. It is kept **folded**: lower case, compatibility forms as what they stand for, without
//!   diacritics, `ß` as `ss`. Folding goes by character, so what is part of a word is part of it folded.
//! - A run of Chinese, Japanese, Korean or another script without spaces is kept as its pairs of neighbouring
//!   characters, and its last character alone; each takes a position.
//!
//! # Stems
//! A message's language is detected once, from its subject and body. Where a stemmer knows it, each word is found by its
//! stem too, marked with the language. A question is too short for its language to be told, so a word of it is looked
//! for as it stands and by its stems in every language: it matches a message that holds the word, or a word with the same
//! stem *in the message's own language*. A pair of characters is found by its first one in the same way.
//!
//! That costs one more entry a message for each word that differs from its stem (two of five in English), and one
//! look-up a question for each different stem of its words (two to seven). A language that the account does not have
//! finds nothing, since no message has its mark.

use super::{Document, Field, How, PHRASE_MOST, Query, TERMS_MOST, TOKENS_MOST, WORD_MOST, WORDS_MOST};
use crate::error::{Cause, StoreError};
use rust_stemmers::{Algorithm, Stemmer};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZero;
use std::sync::LazyLock;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use whatlang::{Detector, Lang};

/// Changes whenever the same text is analysed or kept in another way, so that an index made before is made anew.
pub const VERSION: u32 = 2;
/// Octets of a message that its language is detected from.
const DETECT_MOST: usize = 4 << 10;
/// How sure the detection must be, from 0 to 1. A wrong stem costs little: the word itself is always found.
const SURE: f64 = 0.1;

/// What a stem is marked with: a language's number, or [`FIRST`].
pub type Mark = u8;
/// The mark of a pair's first character.
pub const FIRST: Mark = 255;

/// Number, ISO 639-1 code, how it is detected and how it is stemmed. The numbers lie in indices.
const LANGUAGES: [(Mark, &str, Lang, Algorithm); 18] = [
    (1, "ar", Lang::Ara, Algorithm::Arabic),
    (2, "da", Lang::Dan, Algorithm::Danish),
    (3, "de", Lang::Deu, Algorithm::German),
    (4, "el", Lang::Ell, Algorithm::Greek),
    (5, "en", Lang::Eng, Algorithm::English),
    (6, "es", Lang::Spa, Algorithm::Spanish),
    (7, "fi", Lang::Fin, Algorithm::Finnish),
    (8, "fr", Lang::Fra, Algorithm::French),
    (9, "hu", Lang::Hun, Algorithm::Hungarian),
    (10, "it", Lang::Ita, Algorithm::Italian),
    (11, "nl", Lang::Nld, Algorithm::Dutch),
    (12, "no", Lang::Nob, Algorithm::Norwegian),
    (13, "pt", Lang::Por, Algorithm::Portuguese),
    (14, "ro", Lang::Ron, Algorithm::Romanian),
    (15, "ru", Lang::Rus, Algorithm::Russian),
    (16, "sv", Lang::Swe, Algorithm::Swedish),
    (17, "ta", Lang::Tam, Algorithm::Tamil),
    (18, "tr", Lang::Tur, Algorithm::Turkish),
];

/// Analyses texts in the languages of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Analyser {
    /// Most likely first; empty: all.
    languages: Vec<(Mark, Lang)>,
}

/// What of a document is indexed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysed {
    /// The words of each text in their order. Texts follow each other with a gap: no phrase goes across.
    pub texts: Vec<(Field, Vec<String>)>,
    /// The stems.
    pub stems: BTreeSet<(Field, Mark, String)>,
    /// Nothing was left out, by whoever made the document or for [`super::WORDS_MOST`] and its like.
    pub whole: bool,
}

/// A part of a question, which a document must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clause {
    /// Where.
    pub fields: Vec<Field>,
    /// What.
    pub wants: Wants,
}

/// What a document must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// This word, or one with one of these stems.
    Word {
        /// The word, folded; `None`: the stems alone.
        word: Option<String>,
        /// Marked stems.
        stems: Vec<(Mark, String)>,
    },
    /// These words, folded, one after the other; two at least.
    Phrase(Vec<String>),
    /// A word with this in it, folded.
    Part {
        /// What is in it.
        text: String,
        /// The word begins with it.
        begins: bool,
        /// The word ends with it.
        ends: bool,
    },
}

impl Analyser {
    /// Languages by ISO 639-1 code, most likely first; ones without a stemmer are left out. None: all.
    pub fn new(languages: &[String]) -> Analyser {
        let known = |code: &String| {
            let found = LANGUAGES.iter().find(|(_, known, _, _)| code.eq_ignore_ascii_case(known))?;
            Some((found.0, found.2))
        };
        Analyser { languages: languages.iter().filter_map(known).collect() }
    }

    /// The codes of the languages that have a stemmer.
    pub fn known() -> impl Iterator<Item = &'static str> {
        LANGUAGES.iter().map(|(_, code, _, _)| *code)
    }

    /// The language of a text that has a stemmer.
    fn detect(&self, text: &str) -> Option<Mark> {
        let marked = |lang: Lang| LANGUAGES.iter().find(|known| known.2 == lang).map(|known| known.0);
        match self.languages.as_slice() {
            [] => {
                let found = Detector::new().detect(text)?;
                (found.confidence() >= SURE).then(|| marked(found.lang())).flatten()
            }
            [(only, _)] => Some(*only),
            [(first, _), ..] => {
                let allowed = self.languages.iter().map(|(_, lang)| *lang).collect();
                let found = Detector::with_allowlist(allowed).detect(text);
                let sure = found.filter(|found| found.confidence() >= SURE).and_then(|found| marked(found.lang()));
                Some(sure.unwrap_or(*first))
            }
        }
    }

    /// What of each document is indexed, on a thread where long work may be done.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the program ends.
    pub async fn documents(&self, documents: &[Document]) -> Result<Vec<Analysed>, StoreError> {
        let (own, documents) = (self.clone(), documents.to_vec());
        aside(move || documents.iter().map(|one| own.document(one)).collect()).await
    }

    /// What of a document is indexed, within [`WORD_MOST`], [`WORDS_MOST`] and [`TOKENS_MOST`].
    pub fn document(&self, document: &Document) -> Analysed {
        let language = self.detect(&sample(document));
        let mut made = Analysed { whole: document.whole, ..Analysed::default() };
        let mut seen: HashSet<(Field, String)> = HashSet::new();
        let mut tokens = 0;
        for (field, text) in &document.texts {
            let mut words = Vec::new();
            let full = each_token(text, |token| {
                let (word, stem) = token.indexed(language, &mut made.whole);
                let more = seen.len() + made.stems.len();
                if tokens >= TOKENS_MOST || more + 2 > WORDS_MOST {
                    return false;
                }
                tokens += 1;
                if let Some((mark, stem)) = stem {
                    made.stems.insert((*field, mark, stem));
                }
                seen.insert((*field, word.clone()));
                words.push(word);
                true
            });
            if !words.is_empty() {
                made.texts.push((*field, words));
            }
            if full {
                made.whole = false;
                break;
            }
        }
        made
    }
}

/// Indexing takes at most half of the processors: those who read and send come first.
static PROCESSORS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new((std::thread::available_parallelism().map_or(1, NonZero::get) / 2).max(1)));

/// Does long work on a thread where that keeps nobody waiting.
///
/// # Errors
/// [`StoreError::Unavailable`] while the program ends.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let _turn = PROCESSORS.acquire().await.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))?;
    tokio::task::spawn_blocking(work).await.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))
}

/// What a language is detected from.
fn sample(document: &Document) -> String {
    let mut sample = String::new();
    for wanted in [Field::Subject, Field::Body] {
        for (_, text) in document.texts.iter().filter(|(field, _)| *field == wanted) {
            let room = DETECT_MOST.saturating_sub(sample.len());
            sample.push_str(&text[..text.floor_char_boundary(room.min(text.len()))]);
            sample.push('\n');
        }
    }
    sample
}

/// What a question looks for, at most [`TERMS_MOST`] parts. Without any it cannot be answered from an index.
pub fn clauses(query: &Query) -> Vec<Clause> {
    let mut found = BTreeSet::new();
    for term in &query.terms {
        let fields = if term.fields.is_empty() { Field::ALL.to_vec() } else { term.fields.clone() };
        let mut add = |wants: Wants| {
            if found.len() < TERMS_MOST {
                found.insert(Clause { fields: fields.clone(), wants });
            }
        };
        match query.how {
            How::Part => parts(&term.text, &mut add),
            How::Words => {
                for (at, piece) in term.text.split('"').enumerate() {
                    if at % 2 == 1 {
                        in_sequence(piece, true, &mut add);
                    } else {
                        piece.split_whitespace().for_each(|chunk| in_sequence(chunk, false, &mut add));
                    }
                }
            }
        }
    }
    found.into_iter().collect()
}

/// The words of a text one after the other; where it is but one and not `exact`, also by its stems.
fn in_sequence(text: &str, exact: bool, add: &mut impl FnMut(Wants)) {
    // Words that follow each other, and what the first one was before it was folded.
    let mut runs: Vec<(Vec<String>, Option<&str>)> = Vec::new();
    let mut open = false;
    for (class, run, _) in runs_of(text) {
        match class {
            Class::Letters => match (cut(fold(run)).0, runs.last_mut()) {
                (word, _) if word.is_empty() => {}
                (word, Some((last, _))) if open => last.push(word),
                (word, _) => {
                    runs.push((vec![word], Some(run)));
                    open = true;
                }
            },
            Class::Unspaced => {
                // Its neighbours are not in one phrase with it: its last character is no pair.
                open = false;
                match pairs(run) {
                    Pairs::Many(pairs) => runs.push((inner(pairs), None)),
                    Pairs::One(first) => add(Wants::Word { word: None, stems: vec![(FIRST, first)] }),
                    Pairs::None => {}
                }
            }
        }
    }
    for (words, source) in runs {
        let stems = source.filter(|_| !exact).map(all_stems).unwrap_or_default();
        add(word_or_phrase(words, stems));
    }
}

fn word_or_phrase(words: Vec<String>, stems: Vec<(Mark, String)>) -> Wants {
    match <[String; 1]>::try_from(words) {
        Ok([word]) => Wants::Word { word: Some(word), stems },
        Err(mut words) => {
            words.truncate(PHRASE_MOST);
            Wants::Phrase(words)
        }
    }
}

/// A run's pairs without its last character alone.
fn inner(mut pairs: Vec<(String, String)>) -> Vec<String> {
    pairs.pop();
    pairs.into_iter().map(|(pair, _)| pair).collect()
}

/// What any message with this text somewhere in it must hold.
fn parts(text: &str, add: &mut impl FnMut(Wants)) {
    for (class, run, at) in runs_of(text) {
        match class {
            Class::Letters => {
                let (begins, ends) = (at > 0, at + run.len() < text.len());
                let (folded, whole) = cut(fold(run));
                match (folded.is_empty(), begins, ends && whole) {
                    (true, _, _) => {}
                    (_, true, true) => add(Wants::Word { word: Some(folded), stems: Vec::new() }),
                    (_, begins, ends) => add(Wants::Part { text: folded, begins, ends }),
                }
            }
            Class::Unspaced => match pairs(run) {
                Pairs::One(first) => add(Wants::Word { word: None, stems: vec![(FIRST, first)] }),
                Pairs::Many(pairs) => add(word_or_phrase(inner(pairs), Vec::new())),
                Pairs::None => {}
            },
        }
    }
}

/// Whether a document answers a question: what every index must agree with, and for what is not indexed yet. Without
/// clauses nothing does.
pub fn holds(document: &Analysed, clauses: &[Clause], how: How) -> bool {
    if how == How::Part && !document.whole {
        return true;
    }
    !clauses.is_empty() && clauses.iter().all(|clause| has(document, clause))
}

fn has(document: &Analysed, clause: &Clause) -> bool {
    let texts = || document.texts.iter().filter(|(field, _)| clause.fields.contains(field)).map(|(_, words)| words);
    match &clause.wants {
        Wants::Word { word, stems } => {
            let as_it_stands = word.as_ref().is_some_and(|word| texts().any(|words| words.contains(word)));
            let stem =
                |field: &Field, (mark, stem): &(Mark, String)| document.stems.contains(&(*field, *mark, stem.clone()));
            as_it_stands || clause.fields.iter().any(|field| stems.iter().any(|wanted| stem(field, wanted)))
        }
        Wants::Phrase(phrase) => texts().any(|words| words.windows(phrase.len()).any(|some| some == phrase)),
        Wants::Part { text, begins, ends } => texts().flatten().any(|word| is_part(word, text, (*begins, *ends))),
    }
}

/// Whether a word has this in it: where it begins, where it ends, or anywhere.
pub fn is_part(word: &str, text: &str, (begins, ends): (bool, bool)) -> bool {
    match (begins, ends) {
        (true, true) => word == text,
        (true, false) => word.starts_with(text),
        (false, true) => word.ends_with(text),
        (false, false) => word.contains(text),
    }
}

/// Whether an index alone tells which of the messages that it has whole hold this text somewhere: it is a word or a part of
/// one, in a script that puts spaces between words.
pub fn decides(text: &str) -> bool {
    let mut runs = runs_of(text);
    match (runs.next(), runs.next()) {
        (Some((Class::Letters, run, 0)), None) if run.len() == text.len() => {
            let (folded, whole) = cut(fold(run));
            whole && !folded.is_empty()
        }
        _ => false,
    }
}

/// A text as texts are compared: letters folded as words are, everything else as it stands. Whatever a message's words are
/// found by is part of this.
pub fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match class(c) {
            _ if c.is_ascii() => out.push(c.to_ascii_lowercase()),
            Some(Class::Letters) => fold_char(c, &mut out),
            _ => out.extend(std::iter::once(c).nfkc()),
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letters,
    Unspaced,
}

enum Token<'a> {
    Word(&'a str),
    /// A pair or the last character of its run, and the first character.
    Pair(String, String),
}

impl Token<'_> {
    /// The folded word and its marked stem; notes where a word is cut.
    fn indexed(self, language: Option<Mark>, whole: &mut bool) -> (String, Option<(Mark, String)>) {
        match self {
            Token::Word(source) => {
                let (word, all) = cut(fold(source));
                *whole &= all;
                let stem = language.filter(|_| all).map(|mark| (mark, stem(source, mark)));
                (word, stem.filter(|(_, stem)| fits(stem)))
            }
            Token::Pair(pair, first) => (pair, Some((FIRST, first))),
        }
    }
}

/// Calls `each` with every word until it says `false`; whether it did.
fn each_token(text: &str, mut each: impl FnMut(Token<'_>) -> bool) -> bool {
    for (class, run, _) in runs_of(text) {
        let go_on = match class {
            Class::Letters if run.is_ascii() => each(Token::Word(run)),
            Class::Letters => fold(run).is_empty() || each(Token::Word(run)),
            Class::Unspaced => match pairs(run) {
                Pairs::None => true,
                Pairs::One(only) => each(Token::Pair(only.clone(), only)),
                Pairs::Many(pairs) => pairs.into_iter().all(|(pair, first)| each(Token::Pair(pair, first))),
            },
        };
        if !go_on {
            return true;
        }
    }
    false
}

/// Runs of one class, and where each begins.
fn runs_of(text: &str) -> impl Iterator<Item = (Class, &str, usize)> {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, own) = chars.by_ref().find_map(|(at, c)| class(c).map(|class| (at, class)))?;
        while chars.next_if(|(_, c)| class(*c) == Some(own)).is_some() {}
        let end = chars.peek().map_or(text.len(), |(at, _)| *at);
        Some((own, text.get(start..end)?, start))
    })
}

fn class(c: char) -> Option<Class> {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric().then_some(Class::Letters);
    }
    let counts = c.is_alphanumeric() || is_combining_mark(c);
    match c {
        // A soft hyphen and joiners stand within a word, and are no part of it.
        '\u{AD}' | '\u{200C}' | '\u{200D}' | '\u{2060}' => Some(Class::Letters),
        // Thai, Lao, Tibetan, Burmese; Hangul's letters; Khmer.
        '\u{E00}'..='\u{109F}' | '\u{1100}'..='\u{11FF}' | '\u{1780}'..='\u{17FF}'
        // Radicals, kana, bopomofo, Hangul's letters, ideographs.
        | '\u{2E80}'..='\u{318F}' | '\u{31A0}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        // Hangul, ideographs for compatibility, narrow kana and Hangul, rarer ones.
        | '\u{A960}'..='\u{A97F}' | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF66}'..='\u{FFDC}'
        | '\u{1B000}'..='\u{1B16F}' | '\u{20000}'..='\u{3FFFF}' => counts.then_some(Class::Unspaced),
        _ => counts.then_some(Class::Letters),
    }
}

enum Pairs {
    None,
    One(String),
    /// Each with its first character; the last is the run's last character.
    Many(Vec<(String, String)>),
}

fn pairs(run: &str) -> Pairs {
    let chars: Vec<char> = run.nfkc().filter(|c| class(*c).is_some()).collect();
    match chars.as_slice() {
        [] => Pairs::None,
        [only] => Pairs::One(only.to_string()),
        [.., last] => {
            let pair = |two: &[char]| (two.iter().collect(), two.iter().take(1).collect());
            let mut pairs: Vec<(String, String)> = chars.windows(2).map(pair).collect();
            pairs.push((last.to_string(), last.to_string()));
            Pairs::Many(pairs)
        }
    }
}

/// A word at most [`WORD_MOST`] octets long, and whether it is all of it.
fn cut(mut word: String) -> (String, bool) {
    let whole = word.len() <= WORD_MOST;
    word.truncate(word.floor_char_boundary(WORD_MOST));
    (word, whole)
}

fn fold(run: &str) -> String {
    if run.is_ascii() {
        return run.to_ascii_lowercase();
    }
    let mut out = String::with_capacity(run.len());
    run.chars().for_each(|c| fold_char(c, &mut out));
    out
}

fn fold_char(c: char, out: &mut String) {
    decompose_compatible(c, |part| {
        for lower in part.to_lowercase() {
            match lower {
                'ß' => out.push_str("ss"),
                'æ' => out.push_str("ae"),
                'œ' => out.push_str("oe"),
                'þ' => out.push_str("th"),
                'ø' => out.push('o'),
                'ł' => out.push('l'),
                'đ' | 'ð' => out.push('d'),
                'ħ' => out.push('h'),
                'ı' => out.push('i'),
                'ς' => out.push('σ'),
                other if is_diacritic(other) => {}
                other if other.is_alphanumeric() || is_combining_mark(other) => out.push(other),
                _ => {}
            }
        }
    });
}

/// Marks that people leave out when they look for a word; the vowels of Indian scripts are none.
fn is_diacritic(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5C7}' | '\u{610}'..='\u{61A}'
        | '\u{640}' | '\u{64B}'..='\u{65F}' | '\u{670}' | '\u{6D6}'..='\u{6ED}')
}

/// What stemmers read: lower case, accents in place.
fn lowered(run: &str) -> Cow<'_, str> {
    if run.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit()) {
        return run.into();
    }
    run.nfkc().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric() || is_combining_mark(*c)).collect()
}

fn stem(source: &str, language: Mark) -> String {
    let Some((_, _, _, algorithm)) = LANGUAGES.iter().find(|known| known.0 == language) else {
        return fold(source);
    };
    fold(&Stemmer::create(*algorithm).stem(&lowered(source)))
}

fn fits(stem: &str) -> bool {
    (1..=WORD_MOST).contains(&stem.len())
}

/// A word's stems in every language.
fn all_stems(source: &str) -> Vec<(Mark, String)> {
    if !cut(fold(source)).1 {
        return Vec::new();
    }
    let lowered = lowered(source);
    let stems =
        LANGUAGES.iter().map(|(mark, _, _, algorithm)| (*mark, fold(&Stemmer::create(*algorithm).stem(&lowered))));
    stems.filter(|(_, stem)| fits(stem)).collect()
}

/// Where the words of each field stand: ascending positions of every word.
pub fn positions(document: &Analysed) -> BTreeMap<(&str, Field), Vec<u32>> {
    let mut at: BTreeMap<Field, u32> = BTreeMap::new();
    let mut all: BTreeMap<(&str, Field), Vec<u32>> = BTreeMap::new();
    for (field, words) in &document.texts {
        let at = at.entry(*field).or_default();
        for word in words {
            all.entry((word, *field)).or_default().push(*at);
            *at += 1;
        }
        // The gap that no phrase goes across.
        *at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_index_decides_is_what_comparing_the_texts_says() {
        let texts = [
            "We discussed the Große Café's BUDGET7x at length",
            "na\u{ef}ve co\u{ad}operation, x\u{b2} \u{bd}l \u{fb01}le ",
            "\u{6771}\u{4eac}tower \u{397}\u{3bf}\u{3c2} \u{130}stanbul \u{1e9e}a",
        ];
        let needles = [
            "grosse",
            "GRO\u{df}E",
            "gross",
            "afe",
            "caf\u{e9}",
            "budget7",
            "7x",
            "naive",
            "coop",
            "x2",
            "12l",
            "file",
            "\u{fb01}l",
            "tower",
            "\u{3b7}\u{3bf}\u{3c3}",
            "istan",
            "ssa",
            "absent",
            "lengthw",
        ];
        for needle in needles {
            assert!(decides(needle), "{needle}");
            for text in texts {
                let mut has = false;
                each_token(text, |token| {
                    has |= token.indexed(None, &mut true).0.contains(&fold(needle));
                    true
                });
                assert_eq!(folded(text).contains(&folded(needle)), has, "{needle} in {text}");
            }
        }
        for needle in
            ["", " a", "a b", "a.b", "caf\u{e9}!", "\u{6771}\u{4eac}", "a\u{6771}", "\u{301}", &"w".repeat(65)]
        {
            assert!(!decides(needle), "{needle}");
        }
    }
}
