//! A script in its canonical form: read again it is the same tree.

use super::tree::{Argument, Call, Command, Script, Text, Value};

/// Spaces a block is set in.
const INDENT: usize = 4;

/// Writes a script, a command a line.
pub fn print(script: &Script) -> String {
    let mut out = String::new();
    commands(&script.commands, 0, &mut out);
    out
}

fn commands(block: &[Command], depth: usize, out: &mut String) {
    for command in block {
        out.extend(std::iter::repeat_n(' ', depth * INDENT));
        call(&command.call, out);
        match &command.block {
            None => *out += ";\n",
            Some(block) => {
                *out += " {\n";
                commands(block, depth + 1, out);
                out.extend(std::iter::repeat_n(' ', depth * INDENT));
                *out += "}\n";
            }
        }
    }
}

fn call(at: &Call, out: &mut String) {
    *out += &at.name;
    for one in &at.arguments {
        // A line of text has ended its line; what follows stands on the next.
        out.push(' ');
        argument(one, out);
    }
    match (at.list, at.tests.as_slice()) {
        (true, tests) => {
            *out += " (";
            separated(tests, out, call);
            out.push(')');
        }
        (false, [test, ..]) => {
            out.push(' ');
            call(test, out);
        }
        (false, []) => {}
    }
}

fn separated<T>(items: &[T], out: &mut String, one: impl Fn(&T, &mut String)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            *out += ", ";
        }
        one(item, out);
    }
}

fn argument(at: &Argument, out: &mut String) {
    match &at.value {
        Value::Number(number) => *out += &self::number(*number),
        Value::Tag(tag) => {
            out.push(':');
            *out += tag;
        }
        Value::Text(one) => text(one, out),
        Value::List(list) => {
            out.push('[');
            separated(list, out, text);
            out.push(']');
        }
    }
}

fn number(number: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let unit = units.iter().find(|(bits, _)| number > 0 && number.trailing_zeros() >= *bits);
    unit.map_or_else(|| number.to_string(), |(bits, unit)| format!("{}{unit}", number >> bits))
}

fn text(at: &Text, out: &mut String) {
    if at.value.ends_with("\r\n") {
        *out += "text:\n";
        for line in at.value.split_terminator("\r\n") {
            if line.starts_with('.') {
                out.push('.');
            }
            *out += line;
            out.push('\n');
        }
        *out += ".\n";
        return;
    }
    out.push('"');
    for c in at.value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\r' => {}
            c => out.push(c),
        }
    }
    out.push('"');
}
