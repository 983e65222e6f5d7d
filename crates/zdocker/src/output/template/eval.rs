//! Doing what a template says.

use serde_json::Value;

use super::Fault;
use super::data::{Data, Shape};
use super::format::display;
use super::functions::Function;
use super::tree::{Choice, Command, Head, Node, Operand, Pipeline};

/// What a template is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Values,
    /// The headings of a table: functions that change a text leave it as it is.
    Headings,
}

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// Renders nodes over `root`.
pub(super) fn render<'t>(nodes: &'t [Node], root: &'t Value, shape: &'t Shape, mode: Mode) -> Result<String, Fault> {
    let root = Data::borrowed(root);
    let mut evaluation = Evaluation {
        variables: vec![("", root.clone())],
        output: String::new(),
        shape,
        mode,
    };
    evaluation.run(nodes, &root)?;
    Ok(evaluation.output)
}

struct Evaluation<'t> {
    /// The innermost last. The one without a name is the root, `$`.
    variables: Vec<(&'t str, Data<'t>)>,
    output: String,
    shape: &'t Shape,
    mode: Mode,
}

impl<'t> Evaluation<'t> {
    fn run(&mut self, nodes: &'t [Node], dot: &Data<'t>) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.output.push_str(text);
                    Flow::On
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.output.push_str(&display(&value, self.shape));
                    }
                    Flow::On
                }
                Node::If(choice) => self.choose(choice, dot, false)?,
                Node::With(choice) => self.choose(choice, dot, true)?,
                Node::Range {
                    pipeline,
                    body,
                    otherwise,
                } => self.range(pipeline, body, otherwise, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    /// What `within` declares is forgotten behind it.
    fn scoped<T>(&mut self, within: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let declared = self.variables.len();
        let result = within(self);
        self.variables.truncate(declared);
        result
    }

    fn choose(&mut self, choice: &'t Choice, dot: &Data<'t>, is_with: bool) -> Result<Flow, Fault> {
        self.scoped(|this| {
            for (pipeline, body) in &choice.branches {
                let value = this.pipeline(pipeline, dot)?;
                if value.is_true() {
                    return this.run(body, if is_with { &value } else { dot });
                }
            }
            this.run(&choice.otherwise, dot)
        })
    }

    fn range(
        &mut self,
        pipeline: &'t Pipeline,
        body: &'t [Node],
        otherwise: &'t [Node],
        dot: &Data<'t>,
    ) -> Result<Flow, Fault> {
        self.scoped(|this| {
            let value = this.commands(pipeline, dot)?;
            let elements = value
                .elements(this.shape)
                .map_err(|problem| Fault::new(pipeline.at, problem))?;
            if elements.is_empty() {
                return this.run(otherwise, dot);
            }
            for (key, element) in elements {
                let flow = this.scoped(|this| {
                    this.set_range_variables(pipeline, key, &element);
                    this.run(body, &element)
                })?;
                if flow == Flow::Break {
                    break;
                }
            }
            Ok(Flow::On)
        })
    }

    fn set_range_variables(&mut self, pipeline: &'t Pipeline, key: Data<'t>, element: &Data<'t>) {
        match pipeline.variables.as_slice() {
            [] => {}
            [one] => self.set(one, element.clone(), pipeline.assigns),
            [first, second, ..] => {
                self.set(first, key, pipeline.assigns);
                self.set(second, element.clone(), pipeline.assigns);
            }
        }
    }

    fn set(&mut self, name: &'t str, value: Data<'t>, assigns: bool) {
        let there = self.variables.iter_mut().rev().find(|(known, _)| *known == name);
        match there {
            Some((_, old)) if assigns => *old = value,
            _ => self.variables.push((name, value)),
        }
    }

    /// The value of a pipeline, which its variable gets.
    fn pipeline(&mut self, pipeline: &'t Pipeline, dot: &Data<'t>) -> Result<Data<'t>, Fault> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &'t Pipeline, dot: &Data<'t>) -> Result<Data<'t>, Fault> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        Ok(value.unwrap_or(Data::MISSING))
    }

    /// The value of a command; `passed` is the value of the one before it.
    fn command(&mut self, command: &'t Command, passed: Option<Data<'t>>, dot: &Data<'t>) -> Result<Data<'t>, Fault> {
        let head = &command.head;
        if let Head::Function(function) = &head.head
            && head.fields.is_empty()
        {
            return self.call(*function, command, passed, dot);
        }
        let value = self.operand(head, dot)?;
        let mut keys = Vec::new();
        for argument in &command.arguments {
            keys.push(self.operand(argument, dot)?);
        }
        keys.extend(passed);
        match keys.as_slice() {
            [] => Ok(value),
            [key] if value.is_map() || self.mode == Mode::Headings => self.element(&value, key, head.at),
            _ => Err(Fault::new(head.at, format!("{} takes no arguments", value.kind()))),
        }
    }

    /// The element of a map that is given a key. Such a column is headed by the last part of the key.
    fn element(&self, map: &Data<'t>, key: &Data<'t>, at: usize) -> Result<Data<'t>, Fault> {
        if let (Mode::Headings, Some(key)) = (self.mode, key.json().as_str()) {
            let name = key.rsplit('.').next().unwrap_or(key);
            return Ok(Data::owned(name.replace(['-', '_'], " ")));
        }
        map.index(key, self.shape).map_err(|problem| Fault::new(at, problem))
    }

    fn call(
        &mut self,
        function: Function,
        command: &'t Command,
        passed: Option<Data<'t>>,
        dot: &Data<'t>,
    ) -> Result<Data<'t>, Fault> {
        let mut arguments = Vec::new();
        for operand in &command.arguments {
            let value = self.operand(operand, dot)?;
            // What stands behind the value that settles it is not looked at.
            let settled = function.is_settled_by(&value);
            arguments.push(value);
            if settled {
                break;
            }
        }
        if !arguments.last().is_some_and(|last| function.is_settled_by(last)) {
            arguments.extend(passed);
        }
        let called = match self.mode {
            Mode::Values => function.call(&arguments, self.shape),
            Mode::Headings => function.call_for_heading(&arguments, self.shape),
        };
        called.map_err(|problem| Fault::new(command.head.at, format!("{}: {problem}", function.name())))
    }

    fn operand(&mut self, operand: &'t Operand, dot: &Data<'t>) -> Result<Data<'t>, Fault> {
        let mut value = match &operand.head {
            Head::Dot => dot.clone(),
            Head::Nil => Data::owned(Value::Null),
            Head::Literal(value) => Data::borrowed(value),
            Head::Variable(name) => self.variable(name),
            // As an argument it has none of its own.
            Head::Function(function) => function
                .call(&[], self.shape)
                .map_err(|problem| Fault::new(operand.at, format!("{}: {problem}", function.name())))?,
            Head::Brackets(pipeline) => self.commands(pipeline, dot)?,
        };
        for (at, name) in &operand.fields {
            value = value
                .field(name, self.shape)
                .map_err(|problem| Fault::new(*at, problem))?;
        }
        Ok(value)
    }

    /// The parser has seen to it that the variable is declared.
    fn variable(&self, name: &str) -> Data<'t> {
        let found = self.variables.iter().rev().find(|(known, _)| *known == name);
        found.map_or(Data::MISSING, |(_, value)| value.clone())
    }
}
