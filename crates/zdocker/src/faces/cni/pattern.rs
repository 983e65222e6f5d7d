//! The part of regular expressions that lists of kernel variables are written in: characters, `.`, classes in brackets,
//! `*`, `+`, `?`, `^`, `$` and `\` before a character that is to be itself.

/// One character that is matched, and how often.
struct Piece {
    set: Set,
    least: bool,
    many: bool,
}

enum Set {
    Any,
    One(char),
    Class { ranges: Vec<(char, char)>, negated: bool },
}

impl Set {
    fn has(&self, c: char) -> bool {
        match self {
            Set::Any => true,
            Set::One(own) => *own == c,
            Set::Class { ranges, negated } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

/// Whether some part of `text` is matched by `pattern`; `None` if the pattern has what is not known here.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let (at_start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let escaped = rest.ends_with("\\$");
    let (at_end, rest) = match rest.strip_suffix('$') {
        Some(rest) if !escaped => (true, rest),
        _ => (false, rest),
    };
    let pieces = read(rest)?;
    let text: Vec<char> = text.chars().collect();
    let starts = if at_start { 0..1 } else { 0..text.len() + 1 };
    Some(starts.into_iter().any(|start| from(&pieces, &text[start..], at_end)))
}

fn read(pattern: &str) -> Option<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        let set = match c {
            '*' | '+' | '?' => {
                let piece = pieces.last_mut().filter(|piece| piece.least && !piece.many)?;
                piece.least = c == '+';
                piece.many = c != '?';
                continue;
            }
            '.' => Set::Any,
            '[' => read_class(&mut characters)?,
            '\\' => Set::One(characters.next().filter(|c| !c.is_alphanumeric())?),
            '(' | ')' | '|' | '{' | '}' | ']' | '^' | '$' => return None,
            c => Set::One(c),
        };
        pieces.push(Piece {
            set,
            least: true,
            many: false,
        });
    }
    Some(pieces)
}

fn read_class(characters: &mut std::str::Chars<'_>) -> Option<Set> {
    let mut members: Vec<char> = Vec::new();
    loop {
        match characters.next()? {
            ']' if !members.is_empty() => break,
            '[' | '\\' => return None,
            c => members.push(c),
        }
    }
    let negated = members.first() == Some(&'^');
    let mut rest = &members[usize::from(negated)..];
    let mut ranges = Vec::new();
    loop {
        match rest {
            [] => return Some(Set::Class { ranges, negated }),
            [from, '-', to, others @ ..] => {
                ranges.push((*from, *to));
                rest = others;
            }
            [one, others @ ..] => {
                ranges.push((*one, *one));
                rest = others;
            }
        }
    }
}

/// Whether `text` begins with what the pieces match, and with `at_end` is no longer.
fn from(pieces: &[Piece], text: &[char], at_end: bool) -> bool {
    let Some((piece, rest)) = pieces.split_first() else {
        return !at_end || text.is_empty();
    };
    let longest = text.iter().take_while(|c| piece.set.has(**c)).count();
    let most = if piece.many { longest } else { longest.min(1) };
    let least = usize::from(piece.least);
    (least..=most).rev().any(|length| from(rest, &text[length..], at_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_kernel_variables() {
        let key = "net.ipv4.conf.eth0.arp_filter";
        for (pattern, expected) in [
            ("^net.ipv4.conf.[a-z]+[0-9]*.arp_filter$", Some(true)),
            (r"^net\.ipv4\.conf\.[^.]+\.arp_filter$", Some(true)),
            (r"^net\.ipv4\.conf\.[a-z]+\.arp_filter$", Some(false)),
            ("net.*", Some(true)),
            ("conf", Some(true)),
            ("^conf", Some(false)),
            ("arp$", Some(false)),
            ("", Some(true)),
            ("x*", Some(true)),
            ("eth0?.arp", Some(true)),
            ("(net|kernel)", None),
            (r"\d", None),
            ("[a", None),
            ("*", None),
            ("a{2}", None),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern}");
        }
    }
}
