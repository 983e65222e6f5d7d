//! From a template's text to its words.

use serde_json::Value;

use super::Fault;

/// A piece of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// Printed as it is.
    Text(String),
    /// What stands between `{{` and `}}`.
    Action(Action),
}

/// What stands between `{{` and `}}`.
#[derive(Debug, PartialEq)]
pub(super) struct Action {
    /// Where it begins, in bytes.
    pub(super) at: usize,
    pub(super) words: Vec<Word>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Word {
    pub(super) at: usize,
    /// Whether white space stands before it: `.A.B` is one operand, `.A .B` are two.
    pub(super) spaced: bool,
    pub(super) token: Token,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.`
    Dot,
    /// `.Name`
    Field(String),
    /// `$` and the name behind it
    Variable(String),
    /// A function or a word of the language.
    Identifier(String),
    /// A text, a number, a truth value.
    Literal(Value),
    /// One of `( ) | , = :=`
    Mark(&'static str),
}

/// Cuts a template into pieces.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let (mut position, mut trims) = (0, false);
    while let Some(length) = source[position..].find("{{") {
        let open = position + length;
        let (inside, trims_before) = after_opening(source, open + 2);
        push_text(&mut pieces, &source[position..open], trims, trims_before);
        let end = if source[inside..].starts_with("/*") {
            end_of_comment(source, open, inside)?
        } else {
            let (words, end) = words(source, open, inside)?;
            pieces.push(Piece::Action(Action { at: open, words }));
            end
        };
        (position, trims) = (end.behind, end.trims);
    }
    push_text(&mut pieces, &source[position..], trims, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start {
        text.trim_start_matches(is_space)
    } else {
        text
    };
    let text = if trim_end {
        text.trim_end_matches(is_space)
    } else {
        text
    };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// White space as Go's templates have it.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// Where the words of an action begin, and whether a `-` trims the text before it.
fn after_opening(source: &str, start: usize) -> (usize, bool) {
    match source[start..].strip_prefix('-') {
        Some(rest) if rest.starts_with(is_space) => {
            let blanks = rest.len() - rest.trim_start_matches(is_space).len();
            (start + 1 + blanks, true)
        }
        _ => (start, false),
    }
}

/// The end of an action.
struct End {
    behind: usize,
    trims: bool,
}

/// Whether an action ends at `position`, which stands behind white space if `spaced`.
fn end_at(source: &str, position: usize, spaced: bool) -> Option<End> {
    let rest = &source[position..];
    let (length, trims) = if rest.starts_with("}}") {
        (2, false)
    } else if spaced && rest.starts_with("-}}") {
        (3, true)
    } else {
        return None;
    };
    Some(End {
        behind: position + length,
        trims,
    })
}

fn end_of_comment(source: &str, open: usize, start: usize) -> Result<End, Fault> {
    let length = source[start..]
        .find("*/")
        .ok_or_else(|| Fault::new(open, "the comment has no end"))?;
    let behind = start + length + 2;
    let blanks = source[behind..].len() - source[behind..].trim_start_matches(is_space).len();
    // Go wants the braces at the comment itself; a blank may only stand before a trim marker.
    end_at(source, behind + blanks, blanks > 0)
        .filter(|end| end.trims || blanks == 0)
        .ok_or_else(|| Fault::new(open, "the comment must end with */}} or */ -}}"))
}

/// The words from `start` to the end of the action that was opened at `open`.
fn words(source: &str, open: usize, start: usize) -> Result<(Vec<Word>, End), Fault> {
    let mut words = Vec::new();
    let mut position = start;
    loop {
        let rest = source[position..].trim_start_matches(is_space);
        let spaced = rest.len() < source.len() - position;
        position = source.len() - rest.len();
        if let Some(end) = end_at(source, position, spaced) {
            return Ok((words, end));
        }
        if rest.is_empty() {
            return Err(Fault::new(open, "{{ has no }}"));
        }
        let (token, length) = token(rest).map_err(|problem| Fault::new(position, problem))?;
        let is_name = matches!(token, Token::Field(_) | Token::Variable(_) | Token::Identifier(_));
        words.push(Word {
            at: position,
            spaced,
            token,
        });
        position += length;
        let behind = &source[position..];
        if is_name && !ends_name(behind) {
            return Err(Fault::new(
                position,
                unexpected(behind.chars().next().unwrap_or_default()),
            ));
        }
    }
}

/// The token at the start of `rest`, which is not empty, and its length in bytes.
fn token(rest: &str) -> Result<(Token, usize), String> {
    let mut characters = rest.chars();
    let (first, second) = (characters.next().unwrap_or_default(), characters.next());
    match first {
        '"' => quoted(rest),
        '`' => raw(rest),
        '\'' => character(rest),
        ':' if second == Some('=') => Ok((Token::Mark(":="), 2)),
        '(' => Ok((Token::Mark("("), 1)),
        ')' => Ok((Token::Mark(")"), 1)),
        '|' => Ok((Token::Mark("|"), 1)),
        ',' => Ok((Token::Mark(","), 1)),
        '=' => Ok((Token::Mark("="), 1)),
        '$' => {
            let name = name(&rest[1..]);
            Ok((Token::Variable(name.to_owned()), 1 + name.len()))
        }
        '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
            let name = name(&rest[1..]);
            let token = if name.is_empty() {
                Token::Dot
            } else {
                Token::Field(name.to_owned())
            };
            Ok((token, 1 + name.len()))
        }
        '.' | '+' | '-' | '0'..='9' => number(rest),
        _ if is_name(first) => {
            let name = name(rest);
            let token = match name {
                "true" | "false" => Token::Literal(Value::Bool(name == "true")),
                _ => Token::Identifier(name.to_owned()),
            };
            Ok((token, name.len()))
        }
        _ => Err(unexpected(first)),
    }
}

fn unexpected(character: char) -> String {
    format!(
        "unexpected character {character:?}; a key that is no plain word is given to index: {{{{index . \"a-b\"}}}}"
    )
}

/// What may stand right behind a name.
fn ends_name(rest: &str) -> bool {
    rest.is_empty()
        || rest.starts_with("}}")
        || rest.starts_with([' ', '\t', '\r', '\n', '.', ',', '|', ':', '=', '(', ')'])
}

fn is_name(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// The letters, digits and underscores at the start of `text`.
fn name(text: &str) -> &str {
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    &text[..end]
}

fn raw(rest: &str) -> Result<(Token, usize), String> {
    let length = rest[1..].find('`').ok_or("the text in back quotes has no end")?;
    Ok((Token::Literal(Value::from(&rest[1..=length])), length + 2))
}

fn quoted(rest: &str) -> Result<(Token, usize), String> {
    let (text, length) = unquote(rest, '"')?;
    Ok((Token::Literal(Value::from(text)), length))
}

/// A character is its number, as in Go.
fn character(rest: &str) -> Result<(Token, usize), String> {
    let (text, length) = unquote(rest, '\'')?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok((Token::Literal(Value::from(u32::from(one))), length)),
        _ => Err("want one character in single quotes; texts stand in double quotes".to_owned()),
    }
}

/// The text between two `quote`s with its escapes resolved, and its length with both quotes.
fn unquote(rest: &str, quote: char) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((place, character)) = characters.next() {
        match character {
            '\n' => break,
            '\\' => {
                let (_, escape) = characters.next().ok_or("the quoted text has no end")?;
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                let digits: String = characters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                text.push(escaped(escape, &digits).ok_or_else(|| format!("unknown escape \\{escape}{digits}"))?);
            }
            _ if character == quote => return Ok((text, place + 1)),
            _ => text.push(character),
        }
    }
    Err("the quoted text has no end".to_owned())
}

fn escaped(escape: char, digits: &str) -> Option<char> {
    Some(match escape {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        '\\' | '"' | '\'' => escape,
        'x' | 'u' | 'U' => char::from_u32(u32::from_str_radix(digits, 16).ok()?)?,
        _ => return None,
    })
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let signed = usize::from(rest.starts_with(['+', '-']));
    let length = rest[signed..]
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
        .map_or(rest.len(), |end| signed + end);
    let text = rest[..length].replace('_', "");
    let whole = match text[signed..].strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(&format!("{}{digits}", &text[..signed]), 16).ok(),
        None => text.parse().ok(),
    };
    let value = match whole {
        Some(whole) => Some(Value::from(whole)),
        None => text
            .parse::<f64>()
            .ok()
            .filter(|_| text[signed..].starts_with(|c: char| c == '.' || c.is_ascii_digit()))
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number),
    };
    let value = value.ok_or_else(|| format!("{:?} is no number", &rest[..length]))?;
    Ok((Token::Literal(value), length))
}
