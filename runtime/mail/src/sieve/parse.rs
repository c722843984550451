//! The grammar of RFC 5228 §8.2. It knows no command by name, and after a mistake goes on with the next command.

use super::problem::{Kind, Problem, Problems, quoted};
use super::token::{Token, Tokens};
use super::tree::{Argument, Call, Command, Script, Span, Text, Value};
use super::{LIST_MOST, NESTING_MOST, SCRIPT_MOST};

const GRAMMAR: &str = "RFC 5228 §8.2";

/// Reads a script. What is broken is marked so and told.
pub fn parse(script: &str) -> (Script, Vec<Problem>) {
    let mut problems = Problems::new();
    let tree = into_tree(script, &mut problems);
    (tree, problems.sorted())
}

pub(super) fn into_tree(script: &str, problems: &mut Problems) -> Script {
    if script.len() > SCRIPT_MOST {
        let says = format!("the script has {} octets, and {SCRIPT_MOST} is the most", script.len());
        problems.find(Kind::Limit, &(0..0), "RFC 5228 §2.10.5", says).help("take lists of addresses out of it");
        return Script::default();
    }
    let mark = if script.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut tokens = Tokens::after(script, mark);
    let (token, span) = tokens.next(problems);
    let mut parser = Parser { tokens, token, span, end: 0, depth: 0, quiet: false, told_deep: false, problems };
    Script { commands: parser.commands(None) }
}

/// A mistake that was told.
struct Broken;

struct Parser<'a, 'p> {
    tokens: Tokens<'a>,
    /// The token to look at, and where.
    token: Token,
    span: Span,
    /// Where the token before it ended.
    end: usize,
    /// How many blocks and tests are open.
    depth: usize,
    /// Going on after a mistake, when what is wrong in between is not told.
    quiet: bool,
    /// That it nests too deep was told.
    told_deep: bool,
    problems: &'p mut Problems,
}

impl Parser<'_, '_> {
    fn step(&mut self) -> Token {
        self.end = self.span.end;
        let (token, span) = match self.quiet {
            true => self.tokens.next(&mut Problems::new()),
            false => self.tokens.next(self.problems),
        };
        self.span = span;
        std::mem::replace(&mut self.token, token)
    }

    fn is(&self, mark: u8) -> bool {
        self.token == Token::Mark(mark)
    }

    fn takes(&mut self, mark: u8) -> bool {
        let there = self.is(mark);
        if there {
            self.step();
        }
        there
    }

    fn wrong(&mut self, wanted: &str, help: &str) -> Broken {
        let found = match &self.token {
            Token::Bad => return Broken,
            Token::End => "the script ends".to_owned(),
            Token::Word(word) => format!("{} stands", quoted(word)),
            Token::Tag(tag) => format!("`:{}` stands", quoted(tag).trim_matches('`')),
            Token::Number(_) => "a number stands".to_owned(),
            Token::Text(_) => "a string stands".to_owned(),
            Token::Mark(mark) => format!("`{}` stands", char::from(*mark)),
        };
        let says = format!("{found} where {wanted} is wanted");
        self.problems.find(Kind::Syntax, &self.span, GRAMMAR, says).help(help);
        Broken
    }

    /// The commands up to the end of a block that was opened at `open`, or of the script.
    fn commands(&mut self, open: Option<Span>) -> Vec<Command> {
        let mut commands = Vec::new();
        while !self.problems.is_full() {
            match (&self.token, &open) {
                (Token::Word(_), _) => commands.push(self.command()),
                (Token::End, None) => break,
                (Token::End, Some(open)) => {
                    let says = "the block that begins here does not end".to_owned();
                    self.problems.find(Kind::Syntax, open, GRAMMAR, says).help("end it with `}`");
                    break;
                }
                (Token::Mark(b'}'), Some(_)) => {
                    self.step();
                    break;
                }
                _ => {
                    let help = match self.token {
                        Token::Mark(b'}') => "take it out, or open its block with `{` before it",
                        Token::Mark(b';') => "take it out; a block needs no `;` behind it",
                        _ => "a command begins with its name, as in `keep;`",
                    };
                    self.wrong("a command", help);
                    self.step();
                    self.recover();
                }
            }
        }
        commands
    }

    fn command(&mut self) -> Command {
        let start = self.span.start;
        let (mut call, depth) = (self.begin(), self.depth);
        let whole = self.arguments(&mut call);
        call.span = start..self.end;
        self.depth = depth;
        if whole.is_err() {
            self.recover_to_block();
        }
        let mut command = Command { call, block: None, broken: whole.is_err() };
        if self.is(b'{') {
            let open = self.span.clone();
            self.step();
            command.block = Some(self.block(open));
        } else if !command.broken && !self.takes(b';') {
            let says = format!("the command {} does not end", quoted(&command.call.name));
            match self.token {
                Token::Bad => {}
                _ => {
                    let at = self.end.saturating_sub(1)..self.end;
                    self.problems.find(Kind::Syntax, &at, GRAMMAR, says).help("write `;` behind it");
                }
            }
            command.broken = true;
            self.recover();
        }
        command
    }

    /// A call of the name that stands here.
    fn begin(&mut self) -> Call {
        let at = self.span.clone();
        let name = match self.step() {
            Token::Word(name) => name,
            _ => String::new(),
        };
        Call { name, span: at.clone(), at, arguments: Vec::new(), tests: Vec::new(), list: false }
    }

    fn arguments(&mut self, call: &mut Call) -> Result<(), Broken> {
        loop {
            let start = self.span.start;
            let value = match &mut self.token {
                Token::Number(number) => Value::Number(*number),
                Token::Tag(tag) => Value::Tag(std::mem::take(tag)),
                Token::Text(text) => Value::Text(Text { value: std::mem::take(text), span: self.span.clone() }),
                Token::Mark(b'[') => {
                    let texts = self.list()?;
                    call.arguments.push(Argument { value: Value::List(texts), span: start..self.end });
                    continue;
                }
                Token::Word(_) => {
                    let test = self.test()?;
                    call.tests.push(test);
                    return Ok(());
                }
                Token::Mark(b'(') => {
                    call.list = true;
                    return self.tests(&mut call.tests);
                }
                Token::Bad => return Err(Broken),
                _ => return Ok(()),
            };
            call.arguments.push(Argument { value, span: self.span.clone() });
            self.step();
        }
    }

    fn list(&mut self) -> Result<Vec<Text>, Broken> {
        let open = self.span.clone();
        self.step();
        let mut texts = Vec::new();
        loop {
            let Token::Text(text) = &mut self.token else {
                return Err(
                    self.wrong("a string of the list", "a list is written `[\"a\", \"b\"]`, and is never empty")
                );
            };
            if texts.len() == LIST_MOST {
                let says = format!("the list holds more than {LIST_MOST} strings");
                self.problems.find(Kind::Limit, &open, "RFC 5228 §2.10.5", says).help("make several tests of it");
            } else if texts.len() < LIST_MOST {
                texts.push(Text { value: std::mem::take(text), span: self.span.clone() });
            }
            self.step();
            if self.takes(b']') {
                return Ok(texts);
            }
            if !self.takes(b',') {
                return Err(self.wrong("`,` or `]`", "a list is written `[\"a\", \"b\"]`"));
            }
        }
    }

    fn test(&mut self) -> Result<Call, Broken> {
        let start = self.span.start;
        self.deeper()?;
        let mut call = self.begin();
        self.arguments(&mut call)?;
        self.depth -= 1;
        call.span = start..self.end;
        Ok(call)
    }

    fn tests(&mut self, tests: &mut Vec<Call>) -> Result<(), Broken> {
        self.step();
        loop {
            let Token::Word(_) = self.token else {
                return Err(self.wrong("a test", "tests are written `(true, exists \"a\")`, and are never none"));
            };
            tests.push(self.test()?);
            if self.takes(b')') {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err(self.wrong("`,` or `)`", "tests are written `(true, exists \"a\")`"));
            }
        }
    }

    fn deeper(&mut self) -> Result<(), Broken> {
        if self.depth >= NESTING_MOST {
            if std::mem::replace(&mut self.told_deep, true) {
                return Err(Broken);
            }
            let says = format!("blocks and tests nest deeper than {NESTING_MOST}");
            self.problems
                .find(Kind::Limit, &self.span, "RFC 5228 §2.10.5", says)
                .help("join tests by one `allof` or `anyof`, and blocks by `elsif`");
            return Err(Broken);
        }
        self.depth += 1;
        Ok(())
    }

    fn block(&mut self, open: Span) -> Vec<Command> {
        let depth = self.depth;
        let block = match self.deeper() {
            Ok(()) => self.commands(Some(open)),
            Err(Broken) => {
                self.skip_block();
                Vec::new()
            }
        };
        self.depth = depth;
        block
    }

    /// Steps over a block, after its brace.
    fn skip_block(&mut self) {
        let mut open = 1_usize;
        while open > 0 && self.token != Token::End {
            match self.step() {
                Token::Mark(b'{') => open += 1,
                Token::Mark(b'}') => open -= 1,
                _ => {}
            }
        }
    }

    /// Goes on to the end of a broken command's arguments.
    fn recover_to_block(&mut self) {
        self.quiet = true;
        while !matches!(self.token, Token::End | Token::Mark(b'{' | b'}' | b';')) {
            self.step();
        }
        self.quiet = false;
        self.takes(b';');
    }

    /// Goes on to where the next command may begin.
    fn recover(&mut self) {
        if matches!(self.token, Token::Word(_)) {
            return;
        }
        self.quiet = true;
        while !matches!(self.token, Token::End | Token::Mark(b'{' | b'}' | b';')) {
            self.step();
        }
        self.quiet = false;
        if self.takes(b'{') {
            self.skip_block();
        } else {
            self.takes(b';');
        }
    }
}
