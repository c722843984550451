//! Commands in their order: `require` first, `elsif` behind `if`, loops, what is never reached, what is never used.

use super::capability::Capability;
use super::check::Checker;
use super::problem::{Kind, nearest, quoted};
use super::table::{self, Signature};
use super::tree::{Command, Script, Text, Value};

const ORDER: &str = "RFC 5228 §3.1";
const REQUIRE: &str = "RFC 5228 §3.2";

/// Where an `if` and what follows it stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// No `if` stands before.
    None,
    /// `elsif` and `else` may follow; whether every branch so far ends the block.
    Open { ends: bool },
}

impl Checker<'_> {
    /// The whole script.
    pub fn script(&mut self, script: &Script) {
        let first = script.commands.iter().position(|command| command.call.name != "require");
        let (heads, rest) = script.commands.split_at(first.unwrap_or(script.commands.len()));
        for command in heads {
            match command.broken {
                // Which capabilities it names is not known.
                true => self.anything = true,
                false => self.require(command),
            }
        }
        self.block(rest);
        self.unused();
    }

    fn require(&mut self, command: &Command) {
        self.command(command, table::command_named("require"));
        for text in command.call.arguments.iter().flat_map(|argument| argument.value.texts()) {
            self.capability(text);
        }
    }

    fn capability(&mut self, text: &Text) {
        let name = quoted(&text.value);
        let Some(capability) = Capability::named(&text.value) else {
            self.anything = true;
            let help = match text.value.as_str() {
                "imapflags" => "`imap4flags` took its place".to_owned(),
                "notify" => "`enotify` took its place".to_owned(),
                "vacation-days" => "`vacation` knows `:days`".to_owned(),
                other => {
                    let lower = other.to_ascii_lowercase();
                    match nearest(&lower, Capability::ALL.iter().map(|known| known.name())) {
                        near if near.is_empty() => "take it out with what uses it, or ask for it by `ihave`".to_owned(),
                        near => near,
                    }
                }
            };
            let says = format!("no capability {name} is known");
            self.problems.find(Kind::NotOffered, &text.span, REQUIRE, says).help(help);
            return;
        };
        if !self.offered.contains(capability) && !capability.is_base() {
            let says = format!("the capability {name} is not offered by this server");
            self.problems
                .find(Kind::NotOffered, &text.span, REQUIRE, says)
                .help("take it out with what uses it, or ask for it by `ihave`");
        }
        self.required.insert(capability);
        self.required_at.push((capability, text.span.clone()));
    }

    /// The commands of a block; whether none behind it is reached.
    fn block(&mut self, commands: &[Command]) -> bool {
        let mut chain = Chain::None;
        let (mut ended, mut told): (Option<&str>, bool) = (None, false);
        for command in commands {
            if self.problems.is_full() {
                break;
            }
            let name = command.call.name.as_str();
            let continues = matches!(name, "elsif" | "else") && chain != Chain::None;
            if let (Some(by), false, false) = (ended, continues, told) {
                told = true;
                let says = format!("{} is never reached: {by} ends what stands before it", quoted(name));
                self.problems
                    .find(Kind::Unreachable, &command.call.at, "RFC 5228 §3.3", says)
                    .help("move it before, or take it out");
            }
            let ends = self.one(command, chain);
            let so_far = match chain {
                Chain::Open { ends } => ends,
                Chain::None => true,
            };
            chain = match name {
                "if" => Chain::Open { ends },
                "elsif" => Chain::Open { ends: ends && so_far },
                _ => Chain::None,
            };
            match name {
                "else" if ends && so_far => ended = Some("every branch"),
                "stop" => ended = Some("`stop`"),
                "return" => ended = Some("`return`"),
                "break" => ended = Some("`break`"),
                "error" => ended = Some("`error`"),
                _ => {}
            }
        }
        ended.is_some()
    }

    /// One command with its block; whether its block ends.
    fn one(&mut self, command: &Command, chain: Chain) -> bool {
        let name = command.call.name.as_str();
        let signature = table::command_named(name);
        if signature.is_none() {
            self.unknown(command);
        }
        if matches!(name, "elsif" | "else") && chain == Chain::None {
            let says = format!("{} stands without an `if` before it", quoted(name));
            self.problems
                .find(Kind::Order, &command.call.at, ORDER, says)
                .help("put it right behind the block of an `if` or `elsif`");
        }
        if name == "require" {
            let says = "`require` stands behind another command".to_owned();
            self.problems.find(Kind::Order, &command.call.at, REQUIRE, says).help("move it to the script's beginning");
            if !command.broken {
                self.require(command);
            }
            return false;
        }
        if !command.broken {
            self.command(command, signature);
        }
        let inner = command.block.as_deref().unwrap_or_default();
        match name {
            "foreverypart" => {
                self.loops.push(loop_name(command).unwrap_or_default().to_owned());
                self.block(inner);
                self.loops.pop();
                false
            }
            _ => self.block(inner),
        }
    }

    fn unknown(&mut self, command: &Command) {
        if self.anything || command.call.name.is_empty() {
            return;
        }
        let name = quoted(&command.call.name);
        let help = match table::test_named(&command.call.name) {
            Some(_) => format!("{name} is a test; write `if {} … {{ … }}`", command.call.name),
            None if command.call.name == "elseif" => "did you mean `elsif`?".to_owned(),
            None => nearest(&command.call.name, table::COMMANDS.iter().map(|known| known.name)),
        };
        let says = format!("no command is called {name}");
        self.problems.find(Kind::Unknown, &command.call.at, "RFC 5228 §2.9", says).help(help);
    }

    fn command(&mut self, command: &Command, signature: Option<&'static Signature>) {
        let Some(signature) = signature else {
            command.call.tests.iter().for_each(|test| self.test(test));
            return;
        };
        self.call(&command.call, signature);
        let name = quoted(signature.name);
        if signature.block && command.block.is_none() {
            let says = format!("{name} lacks its block");
            self.problems
                .find(Kind::Argument, &command.call.at, signature.section, says)
                .help("write the commands behind it in `{ … }`");
        } else if !signature.block && command.block.is_some() {
            let says = format!("{name} takes no block");
            self.problems.find(Kind::Argument, &command.call.at, signature.section, says).help("end it with `;`");
        }
        if matches!(signature.name, "break" | "extracttext") && self.loops.is_empty() {
            let says = format!("{name} stands outside of `foreverypart`");
            self.problems
                .find(Kind::Order, &command.call.at, signature.section, says)
                .help("put it into the block of a `foreverypart`");
        } else if let Some(name) = loop_name(command).filter(|name| signature.name == "break" && !self.has_loop(name)) {
            let says = format!("no loop around is called {}", quoted(name));
            self.problems
                .find(Kind::Value, &command.call.span, signature.section, says)
                .help("name one as in `foreverypart :name \"parts\" { … }`");
        }
    }

    fn has_loop(&self, name: &str) -> bool {
        self.loops.iter().any(|known| known == name)
    }

    fn unused(&mut self) {
        // What is wrong may be the use.
        if self.anything || self.problems.has_errors() {
            return;
        }
        for (capability, span) in std::mem::take(&mut self.required_at) {
            // What is asked of the environment tells nothing of it (RFC 6785 §4.3).
            let silent = capability.is_base() || capability == Capability::Imapsieve;
            if !silent && !self.used.contains(capability) && !self.used.meets(capability.brings()) {
                let says = format!("the capability `{}` is required and not used", capability.name());
                self.problems.find(Kind::NoEffect, &span, REQUIRE, says).help("take it out");
            }
        }
    }
}

/// What `:name` says.
fn loop_name(command: &Command) -> Option<&str> {
    let mut arguments = command.call.arguments.iter();
    arguments.find(|argument| matches!(&argument.value, Value::Tag(tag) if tag == "name"))?;
    arguments.next()?.value.texts().first().map(|text| text.value.as_str())
}
