//! A picture laid out and written as SVG 1.1.

use super::{Card, Line, Picture};
use std::fmt::Write as _;

/// The width of a box, in pixels.
const WIDE: usize = 270;
/// The room between two columns.
const GAP: usize = 130;
/// The room between two boxes of a column.
const BETWEEN: usize = 18;
/// The height of a line of text.
const TEXT: usize = 18;
/// The room around everything and inside boxes.
const ROOM: usize = 12;
/// Where the boxes begin, under the columns' names.
const TOP: usize = 52;
/// The longest text in a box, in characters; the whole one is in its title.
const LONGEST: usize = 36;

const STYLE: &str = "\
svg{color-scheme:light dark;font:13px system-ui,sans-serif;background:#fff}\
text{fill:#1d2733}.head{font-weight:600;font-size:12px;fill:#5a6878}.name{font-weight:600}\
.box{stroke-width:1.2;stroke:#8494a7;fill:#f4f6f9}.domain .box{fill:#eaf2fd;stroke:#4a7fc1}\
.host .box{fill:#eaf7ee;stroke:#3f8f5b}.store .box{fill:#fcf3e4;stroke:#b07a24}\
.line{fill:none;stroke:#8494a7;stroke-width:1.4}.label{font-size:11px;fill:#5a6878;stroke:#fff;stroke-width:4px;\
paint-order:stroke}\
@media (prefers-color-scheme:dark){svg{background:#12181f}text{fill:#e6ebf1}.head,.label{fill:#9aa8b8}\
.label{stroke:#12181f}.box{fill:#1c242e;stroke:#5f7085}.domain .box{fill:#16273d;stroke:#5b8fd1}\
.host .box{fill:#15291d;stroke:#55a973}.store .box{fill:#2e2413;stroke:#c9953f}.line{stroke:#5f7085}}";

/// A box with its place.
struct Placed<'a> {
    card: &'a Card,
    top: usize,
    high: usize,
}

fn column(cards: &[Card]) -> (Vec<Placed<'_>>, usize) {
    let mut top = 0;
    let mut placed = Vec::with_capacity(cards.len());
    for card in cards {
        let high = card.lines.len() * TEXT + ROOM;
        placed.push(Placed { card, top, high });
        top += high + BETWEEN;
    }
    (placed, top.saturating_sub(BETWEEN))
}

/// Writes a picture.
pub fn draw(picture: &Picture) -> String {
    let columns = [
        ("domain", "Domains", &picture.domains),
        ("host", "Hosts", &picture.hosts),
        ("store", "Stores", &picture.stores),
    ];
    let mut placed: Vec<(&str, &str, Vec<Placed<'_>>, usize)> = Vec::new();
    for (class, head, cards) in columns {
        let (boxes, high) = column(cards);
        placed.push((class, head, boxes, high));
    }
    let tallest = placed.iter().map(|(.., high)| *high).max().unwrap_or(0);
    // Shorter columns stand in the middle.
    for (_, _, boxes, high) in &mut placed {
        let shift = TOP + (tallest - *high) / 2;
        boxes.iter_mut().for_each(|one| one.top += shift);
    }
    let (width, height) = (2 * ROOM + 3 * WIDE + 2 * GAP, TOP + tallest + 2 * ROOM);
    let mut out = String::new();
    let what = format!(
        "{} boxes of domains, {} of hosts, {} of stores",
        picture.domains.len(),
        picture.hosts.len(),
        picture.stores.len()
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"title desc\">\n<title id=\"title\">Ways of mail</title>\n<desc id=\"desc\">{what}</desc>\n\
         <style>{STYLE}</style>"
    );
    if let [(_, _, domains, _), (_, _, hosts, _), (_, _, stores, _)] = placed.as_slice() {
        lines(&mut out, &picture.mail, (domains, hosts), 0);
        lines(&mut out, &picture.kept, (hosts, stores), 1);
    }
    for (at, (class, head, boxes, _)) in placed.iter().enumerate() {
        let left = left(at);
        let _ = writeln!(out, "<text class=\"head\" x=\"{left}\" y=\"{}\">{head}</text>", TOP - 20);
        for one in boxes {
            card(&mut out, class, one, left);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn left(column: usize) -> usize {
    ROOM + column * (WIDE + GAP)
}

fn card(out: &mut String, class: &str, one: &Placed<'_>, left: usize) {
    let Placed { card, top, high } = one;
    let _ = writeln!(
        out,
        "<g class=\"{class}\"><title>{}</title><rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{WIDE}\" height=\"{high}\" rx=\"7\"/>",
        text(&card.title, usize::MAX)
    );
    for (at, line) in card.lines.iter().enumerate() {
        let name = if at == 0 { " class=\"name\"" } else { "" };
        let (x, y) = (left + ROOM, top + ROOM / 2 + at * TEXT + 14);
        let _ = writeln!(out, "<text{name} x=\"{x}\" y=\"{y}\">{}</text>", text(line, LONGEST));
    }
    out.push_str("</g>\n");
}

fn lines(out: &mut String, lines: &[Line], (from, to): (&[Placed<'_>], &[Placed<'_>]), column: usize) {
    let (x1, x2) = (left(column) + WIDE, left(column + 1));
    let bend = GAP / 2;
    for line in lines {
        let (Some(a), Some(b)) = (from.get(line.from), to.get(line.to)) else { continue };
        let (y1, y2) = (a.top + a.high / 2, b.top + b.high / 2);
        let _ = writeln!(
            out,
            "<g><title>{}</title><path class=\"line\" d=\"M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}\"/>",
            text(&line.title, usize::MAX),
            x1 + bend,
            x2 - bend
        );
        if !line.label.is_empty() {
            // Near its box, where lines do not lie on each other yet.
            let (x, y) = (x1 + GAP / 4, y1 + (y2.max(y1) - y1) / 6 - (y1.max(y2) - y2) / 6);
            let _ = writeln!(out, "<text class=\"label\" x=\"{x}\" y=\"{}\">{}</text>", y + 4, text(&line.label, 12));
        }
        out.push_str("</g>\n");
    }
}

/// Text for XML, cut. Control characters, which XML does not take, are replaced.
fn text(raw: &str, most: usize) -> String {
    let mut out = String::with_capacity(raw.len());
    for (at, c) in raw.chars().enumerate() {
        if at >= most {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_cut() {
        assert_eq!(text("<a&\"b\">\u{7}", 100), "&lt;a&amp;&quot;b&quot;&gt;\u{fffd}");
        assert_eq!(text("abcdef", 3), "abc…");
    }

    #[test]
    fn an_empty_picture_is_drawn() {
        let svg = draw(&Picture::default());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
