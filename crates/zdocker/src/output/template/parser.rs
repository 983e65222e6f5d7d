//! From a template's words to what is to be done.

use std::collections::VecDeque;

use super::Fault;
use super::functions::Function;
use super::lexer::{Action, Piece, Token, Word, pieces};
use super::tree::{Choice, Command, Head, Node, Operand, Pipeline};

/// How deep blocks and brackets may be nested: more than anybody writes, and far less than the stack holds.
const MAX_DEPTH: usize = 100;

/// What closes a block.
enum Closing {
    /// `{{end}}`, and where.
    End(usize),
    Else(Action),
    /// The template is over.
    Nothing,
}

/// Reads a template.
pub(super) fn parse(source: &str) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser {
        pieces: pieces(source)?.into_iter(),
        // `$` is the value that the template is given.
        variables: vec![String::new()],
        depth: 0,
        ranges: 0,
    };
    let mut nodes = Vec::new();
    match parser.block(&mut nodes)? {
        Closing::Nothing => Ok(nodes),
        Closing::End(at) => Err(Fault::new(at, "{{end}} closes nothing")),
        Closing::Else(action) => Err(Fault::new(action.at, "{{else}} without {{if}}, {{with}} or {{range}}")),
    }
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    /// The names of the variables that are declared.
    variables: Vec<String>,
    /// Blocks and brackets that are open.
    depth: usize,
    /// Ranges that are open.
    ranges: usize,
}

impl Parser {
    fn deeper(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(at, "nested too deeply"));
        }
        Ok(())
    }

    /// Reads nodes up to what closes the block.
    fn block(&mut self, nodes: &mut Vec<Node>) -> Result<Closing, Fault> {
        while let Some(piece) = self.pieces.next() {
            let mut action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let at = action.at;
            let keyword = match action.words.first().map(|word| &word.token) {
                Some(Token::Identifier(name)) => name.clone(),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" => return no_more(&action).map(|()| Closing::End(at)),
                "else" => return Ok(Closing::Else(action)),
                "if" | "with" | "range" => {
                    action.words.remove(0);
                    nodes.push(self.opened(&keyword, action)?);
                }
                "break" | "continue" => {
                    no_more(&action)?;
                    if self.ranges == 0 {
                        return Err(Fault::new(at, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                    }
                    nodes.push(if keyword == "break" {
                        Node::Break
                    } else {
                        Node::Continue
                    });
                }
                "define" | "block" | "template" => {
                    return Err(Fault::new(
                        at,
                        format!("{keyword:?} is not supported: there is but one template"),
                    ));
                }
                _ => nodes.push(Node::Action(self.pipeline(action, 1)?)),
            }
        }
        Ok(Closing::Nothing)
    }

    /// The block that `keyword` opens, to its end.
    fn opened(&mut self, keyword: &str, action: Action) -> Result<Node, Fault> {
        let at = action.at;
        self.deeper(at)?;
        // What is declared in a block is forgotten behind it.
        let declared = self.variables.len();
        let node = if keyword == "range" {
            self.range(action)?
        } else {
            let choice = self.choice(keyword, action)?;
            if keyword == "if" {
                Node::If(choice)
            } else {
                Node::With(choice)
            }
        };
        self.variables.truncate(declared);
        self.depth -= 1;
        Ok(node)
    }

    fn range(&mut self, action: Action) -> Result<Node, Fault> {
        let at = action.at;
        let pipeline = self.pipeline(action, 2)?;
        let mut body = Vec::new();
        self.ranges += 1;
        let closing = self.block(&mut body)?;
        self.ranges -= 1;
        let mut otherwise = Vec::new();
        match closing {
            Closing::End(_) => {}
            Closing::Else(action) => {
                no_more(&action)?;
                self.end_of(&mut otherwise, "range", at)?;
            }
            Closing::Nothing => return Err(not_closed("range", at)),
        }
        Ok(Node::Range {
            pipeline,
            body,
            otherwise,
        })
    }

    fn choice(&mut self, keyword: &str, action: Action) -> Result<Choice, Fault> {
        let (at, mut action) = (action.at, action);
        let mut branches = Vec::new();
        loop {
            let pipeline = self.pipeline(action, 1)?;
            let mut body = Vec::new();
            let closing = self.block(&mut body)?;
            branches.push((pipeline, body));
            let mut otherwise = Vec::new();
            match closing {
                Closing::End(_) => {}
                Closing::Nothing => return Err(not_closed(keyword, at)),
                Closing::Else(mut next) => {
                    let again = next.words.get(1).map(|word| word.token.clone());
                    if again == Some(Token::Identifier(keyword.to_owned())) {
                        next.words.drain(..2);
                        action = next;
                        continue;
                    }
                    no_more(&next)?;
                    self.end_of(&mut otherwise, keyword, at)?;
                }
            }
            return Ok(Choice { branches, otherwise });
        }
    }

    /// Reads what stands behind `{{else}}`.
    fn end_of(&mut self, nodes: &mut Vec<Node>, keyword: &str, opened: usize) -> Result<(), Fault> {
        match self.block(nodes)? {
            Closing::End(_) => Ok(()),
            Closing::Else(action) => Err(Fault::new(action.at, format!("a second {{{{else}}}} of one {keyword}"))),
            Closing::Nothing => Err(not_closed(keyword, opened)),
        }
    }

    /// The pipeline that is all of an action; it may give its value to as many as `most` variables.
    fn pipeline(&mut self, action: Action, most: usize) -> Result<Pipeline, Fault> {
        let end = action.words.last().map_or(action.at, |word| word.at);
        let mut words = Words {
            rest: action.words.into(),
            at: action.at,
            end,
        };
        let (variables, assigns) = self.variables(&mut words, most)?;
        let mut pipeline = self.commands(&mut words)?;
        if let Some(word) = words.rest.front() {
            return Err(Fault::new(word.at, "unexpected closing bracket or sign"));
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        (pipeline.variables, pipeline.assigns) = (variables, assigns);
        Ok(pipeline)
    }

    /// `$x :=`, `$x =`, `$i, $x :=` at the start of an action.
    fn variables(&self, words: &mut Words, most: usize) -> Result<(Vec<String>, bool), Fault> {
        let tokens: Vec<&Token> = words.rest.iter().take(4).map(|word| &word.token).collect();
        let (names, sign) = match tokens.as_slice() {
            [Token::Variable(one), Token::Mark(sign @ (":=" | "=")), ..] => (vec![one.clone()], *sign),
            [
                Token::Variable(one),
                Token::Mark(","),
                Token::Variable(two),
                Token::Mark(sign @ (":=" | "=")),
                ..,
            ] => (vec![one.clone(), two.clone()], *sign),
            _ => return Ok((Vec::new(), false)),
        };
        if names.len() > most {
            return Err(Fault::new(words.at, "only range declares two variables"));
        }
        if names.iter().any(String::is_empty) {
            return Err(Fault::new(words.at, "$ alone is the whole value and cannot be set"));
        }
        let assigns = sign == "=";
        if let Some(unknown) = names.iter().find(|name| assigns && !self.variables.contains(name)) {
            return Err(Fault::new(words.at, format!("undefined variable \"${unknown}\"")));
        }
        words.rest.drain(..2 * names.len());
        Ok((names, assigns))
    }

    /// Commands up to a closing bracket or the end of the action.
    fn commands(&mut self, words: &mut Words) -> Result<Pipeline, Fault> {
        let at = words.here();
        let mut commands = Vec::new();
        loop {
            let command = self.command(words)?;
            if !commands.is_empty() && !command.can_take_arguments() {
                return Err(Fault::new(
                    command.head.at,
                    "a value cannot be passed on to something that is no function",
                ));
            }
            commands.push(command);
            if words.next_mark("|").is_none() {
                return Ok(Pipeline {
                    at,
                    variables: Vec::new(),
                    assigns: false,
                    commands,
                });
            }
        }
    }

    fn command(&mut self, words: &mut Words) -> Result<Command, Fault> {
        let missing = Fault::new(words.here(), "a value is missing");
        let head = self.operand(words)?.ok_or(missing)?;
        let mut arguments = Vec::new();
        while let Some(operand) = self.operand(words)? {
            arguments.push(operand);
        }
        let command = Command { head, arguments };
        if !command.arguments.is_empty() && !command.can_take_arguments() {
            let at = command.arguments[0].at;
            return Err(Fault::new(at, "only a function takes arguments"));
        }
        Ok(command)
    }

    fn operand(&mut self, words: &mut Words) -> Result<Option<Operand>, Fault> {
        let Some(word) = words.next_operand() else {
            return Ok(None);
        };
        let (at, mut fields) = (word.at, Vec::new());
        let head = match word.token {
            Token::Dot => Head::Dot,
            Token::Field(name) => {
                fields.push((at, name));
                Head::Dot
            }
            Token::Variable(name) if self.variables.contains(&name) => Head::Variable(name),
            Token::Variable(name) => return Err(Fault::new(at, format!("undefined variable \"${name}\""))),
            Token::Literal(value) => Head::Literal(value),
            Token::Identifier(name) if name == "nil" => Head::Nil,
            Token::Identifier(name) => Head::Function(Function::named(&name).ok_or_else(|| {
                let known = Function::names().join(", ");
                Fault::new(at, format!("function {name:?} is not defined; there are {known}"))
            })?),
            Token::Mark(_) => {
                self.deeper(at)?;
                let pipeline = self.commands(words)?;
                self.depth -= 1;
                words.next_mark(")").ok_or_else(|| Fault::new(at, "( has no )"))?;
                Head::Brackets(Box::new(pipeline))
            }
        };
        while let Some((at, name)) = words.next_field() {
            fields.push((at, name));
        }
        Ok(Some(Operand { at, head, fields }))
    }
}

/// The words of one action that are not read yet.
struct Words {
    rest: VecDeque<Word>,
    at: usize,
    end: usize,
}

impl Words {
    /// The place of the next word, or of the last one.
    fn here(&self) -> usize {
        self.rest.front().map_or(self.end, |word| word.at)
    }

    fn next_if(&mut self, wanted: impl FnOnce(&Word) -> bool) -> Option<Word> {
        if self.rest.front().is_some_and(wanted) {
            self.rest.pop_front()
        } else {
            None
        }
    }

    fn next_mark(&mut self, mark: &'static str) -> Option<Word> {
        self.next_if(|word| word.token == Token::Mark(mark))
    }

    /// The next word, if an operand can begin with it.
    fn next_operand(&mut self) -> Option<Word> {
        self.next_if(|word| !matches!(word.token, Token::Mark(mark) if mark != "("))
    }

    /// The field that follows without a blank.
    fn next_field(&mut self) -> Option<(usize, String)> {
        let word = self.next_if(|word| !word.spaced && matches!(word.token, Token::Field(_)))?;
        match word.token {
            Token::Field(name) => Some((word.at, name)),
            _ => None,
        }
    }
}

fn no_more(action: &Action) -> Result<(), Fault> {
    match action.words.get(1) {
        Some(word) => Err(Fault::new(word.at, "nothing may stand here")),
        None => Ok(()),
    }
}

fn not_closed(keyword: &str, at: usize) -> Fault {
    Fault::new(at, format!("{{{{{keyword}}}}} has no {{{{end}}}}"))
}
