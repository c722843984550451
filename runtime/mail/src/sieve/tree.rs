//! A script as a tree. Names are in lower case, strings as they mean without quotes and dots; every part knows its
//! octets in the script.

use std::ops::Range;

/// Octets of a script.
pub type Span = Range<usize>;

/// A script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// What it does, in order.
    pub commands: Vec<Command>,
}

/// A command: an action, `require`, or a control structure with its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name and arguments.
    pub call: Call,
    /// What stands in its braces.
    pub block: Option<Vec<Command>>,
    /// It holds a syntax error, which was told; what is here is a part of it.
    pub broken: bool,
}

/// A command's or a test's name with what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The name, in lower case.
    pub name: String,
    /// Where the name is.
    pub at: Span,
    /// The arguments, in order.
    pub arguments: Vec<Argument>,
    /// The test, or the tests of a list.
    pub tests: Vec<Call>,
    /// The tests stand in parentheses.
    pub list: bool,
    /// From the name to the last argument or test.
    pub span: Span,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What it is.
    pub value: Value,
    /// Where.
    pub span: Span,
}

/// An argument's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number, its `K`, `M` or `G` multiplied in.
    Number(u64),
    /// `:name`, in lower case without the colon.
    Tag(String),
    /// A string.
    Text(Text),
    /// Strings in brackets, at least one.
    List(Vec<Text>),
}

/// A string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its text; lines end in CRLF whatever the file has (RFC 5228 §2.4.2).
    pub value: String,
    /// Where, with quotes.
    pub span: Span,
}

impl Value {
    /// The strings: of a list all, of a string itself.
    pub fn texts(&self) -> &[Text] {
        match self {
            Value::Text(text) => std::slice::from_ref(text),
            Value::List(texts) => texts,
            Value::Number(_) | Value::Tag(_) => &[],
        }
    }
}

impl Script {
    /// Goes to every command's and test's call, in order.
    pub fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Call)) {
        commands(&self.commands, see);
    }

    /// The addresses that the script redirects to, as far as they are no variables.
    pub fn redirects(&self) -> Vec<&Text> {
        let mut found = Vec::new();
        self.visit(&mut |call| {
            let list = |argument: &Argument| matches!(&argument.value, Value::Tag(tag) if tag == "list");
            if call.name == "redirect" && !call.arguments.iter().any(list) {
                found.extend(call.arguments.iter().flat_map(|argument| argument.value.texts()));
            }
        });
        found
    }
}

fn commands<'a>(block: &'a [Command], see: &mut impl FnMut(&'a Call)) {
    for command in block {
        call(&command.call, see);
        commands(command.block.as_deref().unwrap_or_default(), see);
    }
}

fn call<'a>(at: &'a Call, see: &mut impl FnMut(&'a Call)) {
    see(at);
    for test in &at.tests {
        call(test, see);
    }
}
