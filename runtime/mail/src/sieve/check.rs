//! A call against its signature: capabilities, tags, arguments, strings.

use super::capability::{Capabilities, Capability};
use super::pattern;
use super::problem::{Kind, Problems, nearest, quoted};
use super::table::{self, Form, MATCH_TYPE, OVER_UNDER, Positional, Shape, Signature, Tag, Tests};
use super::tree::{Argument, Call, Script, Span, Text, Value};
use super::{MATCH_VARIABLE_MOST, value, variable};

/// Holds a script against the table.
pub fn check(script: &Script, offered: &Capabilities, problems: &mut Problems) {
    let mut checker = Checker {
        offered: *offered,
        problems,
        required: Capabilities::of(&[Capability::Octet, Capability::AsciiCasemap]),
        required_at: Vec::new(),
        used: Capabilities::default(),
        told: Capabilities::default(),
        anything: false,
        loops: Vec::new(),
    };
    checker.script(script);
}

pub(super) struct Checker<'a> {
    /// What the server has.
    pub offered: Capabilities,
    pub problems: &'a mut Problems,
    /// What may be used here.
    pub required: Capabilities,
    /// Each `require`, to tell of the unused.
    pub required_at: Vec<(Capability, Span)>,
    pub used: Capabilities,
    /// Those whose absence was told.
    told: Capabilities,
    /// A capability that is not known may have been required, which was told, or asked for by `ihave`.
    pub anything: bool,
    /// The names of the loops around, empty where they have none.
    pub loops: Vec<String>,
}

/// A tag that was given, with its value.
struct Given<'a> {
    tag: &'static Tag,
    span: &'a Span,
    value: Option<&'a Value>,
}

impl Checker<'_> {
    /// A test, and those inside.
    pub fn test(&mut self, call: &Call) {
        if self.problems.is_full() {
            return;
        }
        let Some(signature) = table::test_named(&call.name) else {
            if !self.anything {
                let name = quoted(&call.name);
                let help = match table::command_named(&call.name) {
                    Some(_) => format!("{name} is a command; it goes into a block `{{ … }}`"),
                    None => nearest(&call.name, table::TESTS.iter().map(|known| known.name)),
                };
                let says = format!("no test is called {name}");
                self.problems.find(Kind::Unknown, &call.at, "RFC 5228 §5", says).help(help);
            }
            call.tests.iter().for_each(|test| self.test(test));
            return;
        };
        self.call(call, signature);
        if call.name == "ihave" {
            self.ihave(call);
        }
    }

    /// RFC 5463 §4: what is asked for may be used from here on; what is not there makes the rest a matter of running.
    fn ihave(&mut self, call: &Call) {
        for text in call.arguments.iter().flat_map(|argument| argument.value.texts()) {
            match Capability::named(&text.value).filter(|capability| self.offered.contains(*capability)) {
                Some(capability) => self.required.insert(capability),
                None => self.anything = true,
            }
        }
    }

    /// A call's capabilities, arguments and tests.
    pub fn call(&mut self, call: &Call, signature: &'static Signature) {
        for capability in signature.needs {
            self.need(*capability, &call.at, &quoted(&call.name));
        }
        let mut given: Vec<Given> = Vec::new();
        let mut others: Vec<&Argument> = Vec::new();
        let mut unknown = false;
        let mut arguments = call.arguments.iter().peekable();
        while let Some(argument) = arguments.next_if(|_| !self.problems.is_full()) {
            let Value::Tag(name) = &argument.value else {
                others.push(argument);
                continue;
            };
            let Some(tag) = signature.tag(name) else {
                unknown = true;
                self.unknown_tag(call, signature, name, &argument.span);
                continue;
            };
            if let Some(first) = others.first() {
                let says = format!("`:{name}` stands behind an argument without tag");
                let help = "write the tagged arguments first".to_owned();
                self.problems.find(Kind::Argument, &argument.span, "RFC 5228 §2.6.2", says).help(help);
                // What follows may be the tag's value or not.
                unknown |= first.span.start < argument.span.start && tag.value.is_some();
            }
            let value = tag.value.and_then(|shape| {
                let next = arguments.next_if(|next| !matches!(next.value, Value::Tag(_)));
                self.tag_value(tag, shape, &argument.span, next)
            });
            // One of a group is kept, so that these stay few.
            if self.is_first(tag, &argument.span, &given, signature) {
                given.push(Given { tag, span: &argument.span, value });
            }
        }
        self.together(call, signature, &given);
        if self.tests(call, signature) && !unknown {
            self.others(call, signature, &given, &others);
        }
    }

    fn unknown_tag(&mut self, call: &Call, signature: &Signature, name: &str, at: &Span) {
        if self.anything {
            return;
        }
        let known = || signature.tags.iter().flat_map(|tags| tags.iter()).map(|tag| tag.name);
        let help = match nearest(name, known()) {
            near if !near.is_empty() => near.replacen('`', "`:", 1),
            _ if known().next().is_none() => "it takes no tagged argument".to_owned(),
            _ => format!("it takes :{}", known().collect::<Vec<_>>().join(", :")),
        };
        let says = format!("{} has no argument {}", quoted(&call.name), quoted(&format!(":{name}")));
        self.problems.find(Kind::Unknown, at, signature.section, says).help(help);
    }

    fn tag_value<'v>(&mut self, tag: &Tag, shape: Shape, at: &Span, next: Option<&'v Argument>) -> Option<&'v Value> {
        match next {
            Some(argument) if fits(shape, &argument.value) => {
                self.strings(shape, &argument.value, "");
                Some(&argument.value)
            }
            next => {
                let says = format!("`:{}` wants {} behind it", tag.name, named(shape));
                let span = next.map_or(at, |argument| &argument.span);
                self.problems.find(Kind::Argument, span, "RFC 5228 §2.6.2", says).help(example(shape));
                None
            }
        }
    }

    /// Notes a tag's capability; whether it is the first of its group.
    fn is_first(&mut self, tag: &'static Tag, at: &Span, given: &[Given], signature: &'static Signature) -> bool {
        if let Some(capability) = tag.needs {
            self.need(capability, at, &format!("`:{}`", tag.name));
        }
        if let Some(first) = given.iter().find(|one| one.tag.group == tag.group) {
            let says = match first.tag.name == tag.name {
                true => format!("`:{}` stands twice", tag.name),
                false => format!("`:{}` and `:{}` cannot stand together", first.tag.name, tag.name),
            };
            self.problems
                .find(Kind::Argument, at, signature.section, says)
                .help(format!("take one out: each says the {}", tag.group));
            return false;
        }
        true
    }

    /// What tags ask of each other.
    fn together(&mut self, call: &Call, signature: &'static Signature, given: &[Given]) {
        for one in given {
            let with = one.tag.with;
            if !with.is_empty() && !given.iter().any(|other| other.tag.name == with) {
                let says = format!("`:{}` stands without `:{with}`", one.tag.name);
                self.problems
                    .find(Kind::Argument, one.span, signature.section, says)
                    .help(format!("write `:{with}` too, or take `:{}` out", one.tag.name));
            }
            let number = match one.value {
                Some(Value::Number(number)) => Some(*number),
                _ => None,
            };
            if one.tag.name == "index" && number == Some(0) {
                let says = "fields are counted from 1, so nothing matches".to_owned();
                self.problems
                    .find(Kind::NoEffect, one.span, "RFC 5260 §6", says)
                    .help("write `:index 1` for the first");
            }
            if one.tag.name == "days" && number == Some(0) {
                let says = "`:days 0` is taken as one day".to_owned();
                self.problems.find(Kind::Doubtful, one.span, "RFC 5230 §4.1", says).help("write `:days 1`");
            }
        }
        let sized = signature.tags.iter().any(|tags| tags.iter().any(|tag| tag.group == OVER_UNDER));
        if sized && !given.iter().any(|one| one.tag.group == OVER_UNDER) {
            let says = format!("{} says neither `:over` nor `:under`", quoted(&call.name));
            self.problems.find(Kind::Argument, &call.at, signature.section, says).help("write as in `size :over 100K`");
        }
        self.matching(given);
    }

    /// Match type and comparator (RFC 5228 §2.7, RFC 5231 §4).
    fn matching(&mut self, given: &[Given]) {
        let comparator = given.iter().find(|one| one.tag.name == "comparator");
        let name = comparator.and_then(|one| one.value?.texts().first()).map_or("i;ascii-casemap", |text| &text.value);
        let Some(kind) = given.iter().find(|one| one.tag.group == MATCH_TYPE) else { return };
        let numeric = name == "i;ascii-numeric";
        if numeric && matches!(kind.tag.name, "contains" | "matches" | "regex") {
            let says = format!("`:{}` looks inside texts, and `i;ascii-numeric` compares whole numbers", kind.tag.name);
            self.problems
                .find(Kind::Value, kind.span, "RFC 5228 §2.7.1", says)
                .help("take the comparator out, or compare with `:is` or `:value`");
        }
        if !numeric && kind.tag.name == "count" {
            let says = "`:count` compares as text here, and `10` comes before `9`".to_owned();
            self.problems
                .find(Kind::Doubtful, kind.span, "RFC 5231 §4.2", says)
                .help("add `:comparator \"i;ascii-numeric\"`, and `comparator-i;ascii-numeric` to `require`");
        }
    }

    /// The arguments without tags.
    fn others(&mut self, call: &Call, signature: &'static Signature, given: &[Given], others: &[&Argument]) {
        let mut wanted: Vec<&'static Positional> = signature.arguments.iter().collect();
        let name = quoted(&call.name);
        if let Some(at) = wanted.iter().position(|one| one.optional)
            && others.len() < wanted.len()
        {
            wanted.remove(at);
        }
        let optional = signature.arguments.first().is_some_and(|one| one.optional) && wanted.len() > 1;
        if let (true, Some(first)) = (optional && call.name != "specialuse_exists", others.first()) {
            self.need(Capability::Variables, &first.span, &format!("the variable of {name}"));
        }
        if let Some(missing) = wanted.get(others.len()) {
            let says = format!("{name} lacks its argument “{}”, {}", missing.name, named(missing.shape));
            self.problems.find(Kind::Argument, &call.at, signature.section, says).help(example(missing.shape));
        }
        if let Some(extra) = others.get(wanted.len()) {
            let count = match wanted.len() {
                0 => "no argument".to_owned(),
                1 => "one argument".to_owned(),
                count => format!("{count} arguments"),
            };
            let says = format!("{name} takes {count}, and another stands here");
            self.problems
                .find(Kind::Argument, &extra.span, signature.section, says)
                .help("take it out, or put several strings into one list, as in `[\"a\", \"b\"]`");
        }
        let kind = given.iter().find(|one| one.tag.group == MATCH_TYPE).map_or("", |one| one.tag.name);
        let list = given.iter().any(|one| one.tag.name == "list");
        for (argument, wanted) in others.iter().zip(wanted) {
            if !fits(wanted.shape, &argument.value) {
                let says = format!("the argument “{}” of {name} must be {}", wanted.name, named(wanted.shape));
                self.problems.find(Kind::Argument, &argument.span, signature.section, says).help(example(wanted.shape));
                continue;
            }
            // `redirect :list` names a list instead of an address.
            let shape = match wanted.shape {
                Shape::One(Form::Address) if list => Shape::One(Form::Any),
                shape => shape,
            };
            self.strings(shape, &argument.value, kind);
        }
    }

    /// The tests behind a call; whether its arguments are worth looking at.
    fn tests(&mut self, call: &Call, signature: &'static Signature) -> bool {
        let name = quoted(&call.name);
        let (says, help) = match (signature.tests, call.list, call.tests.as_slice()) {
            (Tests::None, _, []) | (Tests::One, false, [_]) | (Tests::List, true, _) => {
                call.tests.iter().for_each(|test| self.test(test));
                return true;
            }
            (Tests::None, false, [next, ..]) if call.name == "require" && call.arguments.is_empty() => {
                self.anything = true;
                let says = "the names of capabilities stand in quotes".to_owned();
                let help = format!("write as in `require \"{}\";`", next.name);
                self.problems.find(Kind::Argument, &next.at, signature.section, says).help(help);
                return false;
            }
            (Tests::None, false, [next, ..]) if call.name == "else" && next.name == "if" => {
                let says = "`else` takes no test".to_owned();
                self.problems.find(Kind::Argument, &next.at, signature.section, says).help("write `elsif`");
                return false;
            }
            (Tests::None, false, [next, ..]) if table::command_named(&next.name).is_some() => {
                let at = call.arguments.last().map_or(&call.at, |last| &last.span);
                let says = format!("{name} does not end before the next command");
                self.problems.find(Kind::Syntax, at, "RFC 5228 §8.2", says).help("write `;` behind it");
                return false;
            }
            (Tests::None, ..) => (format!("{name} takes no test"), "end it with `;`".to_owned()),
            (Tests::One, true, _) => (
                format!("{name} takes one test, without parentheses"),
                "write `allof (…)` or `anyof (…)` for several".to_owned(),
            ),
            (_, _, []) => (format!("{name} lacks its test"), format!("write as in `{} exists \"x\"`", call.name)),
            (Tests::One, ..) => (format!("{name} takes one test"), "join several by `allof` or `anyof`".to_owned()),
            (Tests::List, ..) => {
                (format!("{name} takes its tests in parentheses"), format!("write `{} (…, …)`", call.name))
            }
        };
        self.problems.find(Kind::Argument, &call.at, signature.section, says).help(help);
        call.tests.iter().for_each(|test| self.test(test));
        true
    }

    /// Notes the use of a capability, and tells where it may not be used; once each.
    pub fn need(&mut self, capability: Capability, at: &Span, what: &str) {
        self.used.insert(capability);
        if self.required.contains(capability) || self.anything || self.told.contains(capability) {
            return;
        }
        self.told.insert(capability);
        let name = capability.name();
        if self.offered.contains(capability) {
            let says = format!("{what} needs the capability `{name}`, which is not required");
            self.problems
                .find(Kind::NotRequired, at, capability.section(), says)
                .help(format!("add \"{name}\" to the `require` at the script's beginning"));
        } else {
            let says = format!("{what} needs the capability `{name}`, which this server does not offer");
            self.problems.find(Kind::NotOffered, at, capability.section(), says).help("take it out");
        }
    }

    fn strings(&mut self, shape: Shape, value: &Value, matching: &str) {
        let (Shape::One(form) | Shape::Many(form)) = shape else { return };
        for text in value.texts() {
            self.string(form, text, matching);
        }
    }

    fn string(&mut self, form: Form, text: &Text, matching: &str) {
        let constant = self.references(form, text);
        let mut plain = std::borrow::Cow::Borrowed(text.value.as_str());
        if self.required.contains(Capability::EncodedCharacter) {
            match variable::decoded(&text.value) {
                Ok(std::borrow::Cow::Borrowed(_)) => {}
                Ok(std::borrow::Cow::Owned(octets)) => {
                    self.used.insert(Capability::EncodedCharacter);
                    // Octets that are no text have no form to hold them against.
                    let Ok(decoded) = String::from_utf8(octets) else { return };
                    plain = decoded.into();
                }
                Err(wrong) => {
                    let encoded = quoted(text.value.get(wrong.0).unwrap_or_default());
                    let says = format!("{encoded} is no character");
                    self.problems
                        .find(Kind::Value, &text.span, "RFC 5228 §2.4.2.4", says)
                        .help("write a code point up to 10FFFF, and none from D800 to DFFF");
                    return;
                }
            }
        }
        if !constant {
            return;
        }
        if form == Form::Key && matching == "regex" {
            if let Err(why) = pattern::is_pattern(&plain) {
                let says = format!("the pattern {} {why}", quoted(&plain));
                self.problems
                    .find(Kind::Value, &text.span, "draft-ietf-sieve-regex §3", says)
                    .help("escape what is meant as it stands, as in `\"\\\\(\"`: a string takes one `\\` away");
            }
        } else if let Some(fault) = value::wrong(form, &plain) {
            self.problems.find(fault.kind, &text.span, fault.section, fault.says).help(fault.help);
        }
        if let (Form::Comparator, Some(capability)) = (form, value::comparator(&plain)) {
            self.need(capability, &text.span, &format!("the comparator {}", quoted(&plain)));
        }
        if form == Form::Variable && plain.contains('.') {
            self.need(Capability::Include, &text.span, "a variable of all scripts");
        }
    }

    /// The variables in a string; whether there are none.
    fn references(&mut self, form: Form, text: &Text) -> bool {
        const SECTION: &str = "RFC 5229 §3";
        let mut constant = true;
        for one in variable::references(&text.value) {
            if !self.required.contains(Capability::Variables) {
                if !self.anything && !value::is_constant(form) {
                    let says = format!("`${{{}}}` stays as it is: `variables` is not required", one.name);
                    let help = "add \"variables\" to the `require` at the script's beginning";
                    self.problems.find(Kind::Doubtful, &text.span, SECTION, says).help(help);
                }
                return true;
            }
            self.used.insert(Capability::Variables);
            constant = false;
            if one
                .name
                .parse::<u64>()
                .map_or(one.name.starts_with(|c: char| c.is_ascii_digit()), |number| number > MATCH_VARIABLE_MOST)
            {
                let says =
                    format!("`${{{}}}` is more than `${{{MATCH_VARIABLE_MOST}}}`, the last match variable", one.name);
                self.problems.find(Kind::Limit, &text.span, "RFC 5229 §3.2", says).help("match less at a time");
            }
            if one.namespace.eq_ignore_ascii_case("global") {
                self.need(Capability::Include, &text.span, "a variable of all scripts");
            } else if !one.namespace.is_empty() && !self.anything {
                let says = format!("there is no namespace {}", quoted(one.namespace));
                self.problems.find(Kind::Value, &text.span, SECTION, says).help("write the variable's name alone");
            }
        }
        if !constant && value::is_constant(form) {
            let says = format!("{} must stand as it is, not come from a variable", quoted(&text.value));
            self.problems.find(Kind::Value, &text.span, SECTION, says).help("write it out");
        }
        constant
    }
}

fn fits(shape: Shape, value: &Value) -> bool {
    match shape {
        Shape::Number => matches!(value, Value::Number(_)),
        Shape::One(_) => matches!(value, Value::Text(_)),
        Shape::Many(_) => matches!(value, Value::Text(_) | Value::List(_)),
    }
}

fn named(shape: Shape) -> &'static str {
    match shape {
        Shape::Number => "a number",
        Shape::One(_) => "a string",
        Shape::Many(_) => "a string or a list of strings",
    }
}

fn example(shape: Shape) -> &'static str {
    match shape {
        Shape::Number => "write as in `7` or `100K`, without quotes",
        Shape::One(_) => "write as in `\"text\"`",
        Shape::Many(_) => "write as in `\"text\"` or `[\"one\", \"two\"]`",
    }
}
