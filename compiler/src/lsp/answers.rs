//! What is answered to an editor's questions.

use super::cursor::{self, Part, Word};
use super::names::{self, Name, Of};
use super::text::Lines;
use super::workspace::{Workspace, path, uri};
use crate::diagnostic::machine;
use crate::format;
use crate::read::grammar::{Field, Kind, Shape};
use crate::reference;
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, CodeActionParams, CodeActionResponse, CompletionItem,
    CompletionItemKind, CompletionParams, CompletionTextEdit, DocumentFormattingParams, DocumentSymbol,
    DocumentSymbolParams, Documentation, GotoDefinitionParams, Hover, HoverContents, HoverParams, Location,
    MarkupContent, MarkupKind, PrepareRenameResponse, Range, ReferenceParams, RenameParams, SymbolKind,
    TextDocumentPositionParams, TextEdit, Uri, WorkspaceEdit,
};
use schema::name::{Address, DomainName, HostName, LocalPart};
use schema::spec::Spec;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How many names are offered at once.
const MOST_OFFERED: usize = 1000;
/// How many records a hover shows.
const MOST_RECORDS: usize = 12;

/// Where a question is asked.
struct Spot {
    path: PathBuf,
    lines: Lines,
    word: Word,
}

fn spot(at: &Workspace, asked: &TextDocumentPositionParams) -> Option<Spot> {
    let path = path(&asked.text_document.uri)?;
    let lines = at.lines(&path)?;
    let word = cursor::at(&lines.text, lines.offset(asked.position));
    Some(Spot { path, lines, word })
}

/// Nodes, properties, words and names that may stand here.
pub fn completion(at: &Workspace, asked: &CompletionParams) -> Vec<CompletionItem> {
    let Some(Spot { path, lines, word }) = spot(at, &asked.text_document_position) else { return Vec::new() };
    let Some(around) = cursor::kind(&at.language, &word.way) else { return Vec::new() };
    let range = lines.range(&word.span);
    let item = |label: &str, text: String, kind: CompletionItemKind, says: &str| CompletionItem {
        label: label.to_owned(),
        kind: Some(kind),
        documentation: (!says.is_empty()).then(|| markdown(says.to_owned())),
        filter_text: Some(text.clone()),
        text_edit: Some(CompletionTextEdit::Edit(TextEdit::new(range, text))),
        ..CompletionItem::default()
    };
    let mut items = Vec::new();
    let Some(node) = &word.node else {
        for name in around.children() {
            let field = around.child(name).cloned().or_else(|| cursor::sequenced(&around, name));
            let says = field.map(|field| field.says).unwrap_or_default();
            items.push(item(name, name.to_owned(), CompletionItemKind::STRUCT, &says));
        }
        return items;
    };
    if let Some((kind, field)) = cursor::field(&around, &node.name, &word.part) {
        for (value, says) in values(at, &path, &word, (&kind, &field)) {
            items.push(item(value.trim_matches('"'), value.clone(), CompletionItemKind::VALUE, &says));
        }
    }
    if let (Part::Argument(_) | Part::PropertyName, Some(Shape::Node(kind))) =
        (&word.part, around.child(&node.name).map(|field| &field.shape))
    {
        for name in kind.properties() {
            let says = kind.property(name).map(|field| field.says.clone()).unwrap_or_default();
            let text = if word.part == Part::PropertyName { name.to_owned() } else { format!("{name}=") };
            items.push(item(name, text, CompletionItemKind::PROPERTY, &says));
        }
    }
    items
}

fn markdown(value: String) -> Documentation {
    Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value })
}

/// The values that a field may have, as they are written, and what they mean.
fn values(at: &Workspace, path: &Path, word: &Word, (kind, field): (&Kind, &Field)) -> Vec<(String, String)> {
    let quoted = |text: &str| format!("\"{text}\"");
    match &field.shape {
        Shape::Choice(words) => {
            let says = field.meanings.iter().cloned().chain(std::iter::repeat(String::new()));
            words.iter().map(|word| quoted(word)).zip(says).collect()
        }
        Shape::Truth => ["#true", "#false"].map(|word| (word.to_owned(), String::new())).to_vec(),
        Shape::Annotated(kinds) => {
            let says = field.meanings.iter().cloned().chain(std::iter::repeat(String::new()));
            kinds.iter().map(|kind| format!("({kind})\"\"")).zip(says).collect()
        }
        Shape::Text(_) => {
            let Some((of, false)) = names::of(kind, field.name) else { return Vec::new() };
            let Some(spec) = at.spec(path) else { return Vec::new() };
            let domain = names::domain(&word.way, word.node.as_ref());
            let known = known(spec, of, domain.as_ref());
            known.into_iter().take(MOST_OFFERED).map(|name| (quoted(&name), String::new())).collect()
        }
        _ => Vec::new(),
    }
}

/// The names that a spec gives, as they are written in a domain.
fn known(spec: &Spec, of: Of, domain: Option<&DomainName>) -> Vec<String> {
    match of {
        Of::Host => spec.host.iter().map(|host| host.name.to_string()).collect(),
        Of::Store => spec.store.iter().map(|store| store.name.clone()).collect(),
        Of::Dns => spec.dns.iter().map(|dns| dns.name.clone()).collect(),
        Of::Directory => spec.directory.iter().map(|directory| directory.name.clone()).collect(),
        Of::Domain => spec.domain.iter().map(|domain| domain.name.to_string()).collect(),
        Of::Person => {
            let (own, others): (Vec<_>, Vec<_>) = spec.domain.iter().partition(|one| Some(&one.name) == domain);
            let locals = |domain: &schema::spec::Domain| -> Vec<LocalPart> {
                let people =
                    domain.account.iter().map(|one| &one.local).chain(domain.alias.iter().map(|one| &one.local));
                let several = domain.group.iter().map(|one| &one.local).chain(domain.list.iter().map(|one| &one.local));
                people.chain(several).cloned().collect()
            };
            let own = own.into_iter().flat_map(|domain| locals(domain).into_iter().map(|local| local.to_string()));
            let others = others.into_iter().flat_map(|domain| {
                locals(domain).into_iter().map(|local| Address::new(local, domain.name.clone()).to_string())
            });
            own.chain(others).take(MOST_OFFERED).collect()
        }
    }
}

/// What a node, property or value means, and the records that come of it.
pub fn hover(at: &Workspace, asked: &HoverParams) -> Option<Hover> {
    let Spot { path, lines, word } = spot(at, &asked.text_document_position_params)?;
    let around = cursor::kind(&at.language, &word.way)?;
    let mut text = match (&word.node, &word.part) {
        (None, _) => {
            let field = around.child(&word.text).cloned().or_else(|| cursor::sequenced(&around, &word.text))?;
            let mut text = reference::described(&field);
            if let Some(records) = records(at, &path, (&lines, &word)) {
                let _ = write!(text, "\n\nRecords:\n```text\n{records}```");
            }
            text
        }
        (Some(node), Part::PropertyName) => {
            let Shape::Node(kind) = &around.child(&node.name)?.shape else { return None };
            reference::described(kind.property(&word.text)?)
        }
        (Some(node), part) => {
            let (_, field) = cursor::field(&around, &node.name, part)?;
            let mut text = reference::described(&field);
            if let Shape::Choice(words) = &field.shape
                && let Some(n) = words.iter().position(|one| *one == word.text)
                && let Some(says) = field.meanings.get(n).filter(|says| !says.is_empty())
            {
                let _ = write!(text, "\n\n`{}`: {says}", word.text);
            }
            text
        }
    };
    text.truncate(text.floor_char_boundary(8000));
    let value = MarkupContent { kind: MarkupKind::Markdown, value: text };
    Some(Hover { contents: HoverContents::Markup(value), range: Some(lines.range(&word.span)) })
}

/// The records that were written in a node, as a master file has them.
fn records(at: &Workspace, path: &Path, (lines, word): (&Lines, &Word)) -> Option<String> {
    let compiled = at.compiled(path)?;
    let artefacts = compiled.artefacts.as_ref()?;
    let extent = cursor::extent(&lines.text, word.span.start);
    let whole = word.way.is_empty();
    let own = cursor::at(&lines.text, extent.start + word.text.len() + 1);
    let domain = match own.node.as_ref().filter(|node| whole && node.name == "domain") {
        Some(_) => own.text.parse().ok(),
        None => names::domain(&word.way, None),
    };
    let folder = at.folder(path)?;
    let zones = artefacts.zones.iter().filter(|zone| match &domain {
        Some(domain) => zone.name == *domain,
        // A host's records lie in the zone that it is in.
        None => own.text.parse::<HostName>().is_ok_and(|host| host.domain().is_within(&zone.name)),
    });
    let (mut text, mut more) = (String::new(), 0);
    let mut count = 0;
    for set in zones.flat_map(|zone| &zone.sets) {
        let here = set.origins.iter().any(|origin| {
            let place = compiled.located.place(&origin.at);
            let file = compiled.located.file(&place);
            file.is_some_and(|file| folder.join(&file.name) == path) && extent.contains(&place.span.start)
        });
        for value in set.values.iter().filter(|_| here) {
            count += 1;
            if count > MOST_RECORDS {
                more += 1;
                continue;
            }
            let _ = writeln!(text, "{}. {} {value}", set.name, set.kind.name());
        }
    }
    if more > 0 {
        let _ = writeln!(text, "… and {more} more");
    }
    (count > 0).then_some(text)
}

/// Where the name that is meant is given.
pub fn definition(at: &Workspace, asked: &GotoDefinitionParams) -> Vec<Location> {
    let Some(spot) = spot(at, &asked.text_document_position_params) else { return Vec::new() };
    let Some(mention) = names::mention(&at.language, &spot.word) else { return Vec::new() };
    mentions(at, &spot.path, |found| found.gives && found.name == mention.name)
        .into_iter()
        .map(|(location, _)| location)
        .collect()
}

/// Everywhere that the name stands.
pub fn references(at: &Workspace, asked: &ReferenceParams) -> Vec<Location> {
    let Some(spot) = spot(at, &asked.text_document_position) else { return Vec::new() };
    let Some(mention) = names::mention(&at.language, &spot.word) else { return Vec::new() };
    let whole = asked.context.include_declaration;
    mentions(at, &spot.path, |found| (whole || !found.gives) && found.name == mention.name)
        .into_iter()
        .map(|(location, _)| location)
        .collect()
}

/// The names of a spec's files that are wanted.
fn mentions(at: &Workspace, path: &Path, wanted: impl Fn(&names::Mention) -> bool) -> Vec<(Location, names::Mention)> {
    let mut out = Vec::new();
    for file in at.files(path) {
        let Some((lines, uri)) = at.lines(&file).zip(uri(&file)) else { continue };
        for found in names::mentions(&at.language, &lines.text) {
            if wanted(&found) {
                out.push((Location::new(uri.clone(), lines.range(&found.span)), found));
            }
        }
    }
    out
}

/// Whether a name stands here that can be changed.
pub fn prepare_rename(at: &Workspace, asked: &TextDocumentPositionParams) -> Option<PrepareRenameResponse> {
    let spot = spot(at, asked)?;
    let mention = names::mention(&at.language, &spot.word)?;
    let placeholder = match mention.name.of {
        Of::Person => mention.name.text.split('@').next().unwrap_or_default().to_owned(),
        _ => mention.text,
    };
    Some(PrepareRenameResponse::RangeWithPlaceholder { range: spot.lines.range(&mention.span), placeholder })
}

/// A name changed everywhere.
///
/// # Errors
/// Where there is none, or it cannot be called so.
pub fn rename(at: &Workspace, asked: &RenameParams) -> Result<WorkspaceEdit, String> {
    let spot = spot(at, &asked.text_document_position).ok_or("nothing here can be renamed")?;
    let mention = names::mention(&at.language, &spot.word).ok_or("nothing here can be renamed")?;
    let new = asked.new_name.as_str();
    let name = mention.name;
    match name.of {
        Of::Person => new.parse::<LocalPart>().map(drop).map_err(|why| format!("`{new}` {why}"))?,
        Of::Host => new.parse::<HostName>().map(drop).map_err(|why| format!("`{new}` {why}"))?,
        Of::Domain => new.parse::<DomainName>().map(drop).map_err(|why| format!("`{new}` {why}"))?,
        Of::Store | Of::Dns | Of::Directory if new.is_empty() || new.contains(char::is_control) => {
            return Err("a name is text on one line".to_owned());
        }
        Of::Store | Of::Dns | Of::Directory => {}
    }
    let of_domain = |found: &Name| {
        name.of == Of::Domain
            && found.of == Of::Person
            && found.text.rsplit_once('@').is_some_and(|(_, d)| d == name.text)
    };
    // Mutable keys are what the protocol's type has; a URI's hash never changes.
    #[allow(clippy::mutable_key_type)]
    let mut changes: HashMap<Uri, Vec<TextEdit>> = HashMap::new();
    let wanted = |found: &names::Mention| found.name == name || (of_domain(&found.name) && found.text.contains('@'));
    for (location, found) in mentions(at, &spot.path, wanted) {
        let text = match (found.text.rsplit_once('@'), name.of) {
            (Some((_, domain)), Of::Person) => format!("{new}@{domain}"),
            (Some((local, _)), Of::Domain) => format!("{local}@{new}"),
            _ => new.to_owned(),
        };
        let text = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        changes.entry(location.uri).or_default().push(TextEdit::new(location.range, text));
    }
    Ok(WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() })
}

/// The nodes of a file, two levels deep.
pub fn symbols(at: &Workspace, asked: &DocumentSymbolParams) -> Vec<DocumentSymbol> {
    let Some(lines) = path(&asked.text_document.uri).and_then(|path| at.lines(&path)) else { return Vec::new() };
    let mut top: Vec<DocumentSymbol> = Vec::new();
    cursor::words::<()>(&lines.text, |scan| {
        let depth = scan.way.len();
        let list = match depth {
            0 => Some(&mut top),
            1 => top.last_mut().map(|parent| parent.children.get_or_insert_default()),
            _ => None,
        };
        if let Some(list) = list {
            match scan.part() {
                Part::Name => list.push(symbol(&lines, scan.says(), scan.span.start)),
                Part::Argument(0) => {
                    if let Some(last) = list.last_mut() {
                        last.name = format!("{} {}", last.name, shortened(&scan.says()));
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    });
    top
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[allow(deprecated, reason = "the protocol's type has a field that is no more used")]
fn symbol(lines: &Lines, name: String, start: usize) -> DocumentSymbol {
    let extent = cursor::extent(&lines.text, start);
    let selection = start..start + name.len().min(extent.len());
    let name = if name.is_empty() { "-".to_owned() } else { name };
    DocumentSymbol {
        kind: SymbolKind::STRUCT,
        range: lines.range(&extent),
        selection_range: lines.range(&selection),
        detail: None,
        tags: None,
        deprecated: None,
        children: None,
        name,
    }
}

/// The whole file in the canonical layout; nothing where it is not KDL.
pub fn formatting(at: &Workspace, asked: &DocumentFormattingParams) -> Option<Vec<TextEdit>> {
    let lines = at.lines(&path(&asked.text_document.uri)?)?;
    let laid = format::format(&lines.text).ok()?;
    if laid == lines.text {
        return Some(Vec::new());
    }
    let whole = Range::new(lines.position(0), lines.position(lines.text.len()));
    Some(vec![TextEdit::new(whole, laid)])
}

/// What mends the findings here.
pub fn actions(at: &Workspace, asked: &CodeActionParams) -> CodeActionResponse {
    let Some(path) = path(&asked.text_document.uri) else { return Vec::new() };
    let Some((located, report)) = at.found(&path) else { return Vec::new() };
    let (Some(folder), Some(lines)) = (at.folder(&path), at.lines(&path)) else { return Vec::new() };
    let wanted = lines.offset(asked.range.start)..lines.offset(asked.range.end);
    let mut out = Vec::new();
    for found in report.diagnostics() {
        let place = machine::place(found, located);
        let here = located.file(&place).is_some_and(|file| folder.join(&file.name) == path);
        let touches = place.span.start <= wanted.end && wanted.start <= place.span.end;
        let Some(fix) = found.fix.clone().filter(|_| here && touches) else { continue };
        // Mutable keys are what the protocol's type has; a URI's hash never changes.
        #[allow(clippy::mutable_key_type)]
        let mut changes: HashMap<Uri, Vec<TextEdit>> = HashMap::new();
        for (place, text) in fix.edits {
            let Some(file) = located.file(&place).map(|file| folder.join(&file.name)) else { continue };
            let Some((lines, uri)) = at.lines(&file).zip(uri(&file)) else { continue };
            changes.entry(uri).or_default().push(TextEdit::new(lines.range(&place.span), text));
        }
        out.push(CodeActionOrCommand::CodeAction(CodeAction {
            title: fix.says,
            kind: Some(CodeActionKind::QUICKFIX),
            edit: Some(WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() }),
            ..CodeAction::default()
        }));
    }
    out
}
