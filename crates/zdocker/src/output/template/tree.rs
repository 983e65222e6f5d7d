//! A template as it has been read.

use serde_json::Value;

use super::functions::Function;

/// One thing to be done.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// Prints the value, or declares a variable.
    Action(Pipeline),
    If(Choice),
    With(Choice),
    Range {
        pipeline: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// `if ... else if ... else`: the first branch whose value is not empty is taken.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) branches: Vec<(Pipeline, Vec<Node>)>,
    pub(super) otherwise: Vec<Node>,
}

/// Commands, each of which gets the value of the one before it as its last argument.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    /// The variables that get the value: at most one, in `range` two.
    pub(super) variables: Vec<String>,
    /// Whether the variables are there already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A function with its arguments, or an operand alone.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) head: Operand,
    pub(super) arguments: Vec<Operand>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) head: Head,
    /// The fields behind it, each with its place.
    pub(super) fields: Vec<(usize, String)>,
}

#[derive(Debug)]
pub(super) enum Head {
    Dot,
    Nil,
    Literal(Value),
    Variable(String),
    Function(Function),
    Brackets(Box<Pipeline>),
}

impl Command {
    /// A function takes arguments; a field may be a map, which takes a key.
    pub(super) fn can_take_arguments(&self) -> bool {
        matches!(self.head.head, Head::Function(_)) || !self.head.fields.is_empty()
    }
}
