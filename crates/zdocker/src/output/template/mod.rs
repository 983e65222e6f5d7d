//! The useful part of Go's templates (text/template), with Docker's functions, over JSON values.
//!
//! Fields, variables, pipelines, brackets, `if`, `with`, `range`, `break`, `continue`, comments and trim markers are as
//! in Go; `define`, `template`, `block`, `call`, `html`, `js` and `urlquery` are left out. What Go knows of a value by
//! its type, a [`Shape`] says of JSON: which objects are maps (a missing key prints `<no value>`, and is the element's
//! zero value to `index`) and which are structures (a missing field is an error). A field of a structure is also found
//! when the case of its letters differs: Go calls `Id` by the name `ID`. Beyond Go, a map may be given a key (`.Label
//! "x"`), and `index` and `range` take structures, as they do in Docker, which tries again with maps when a template
//! does not fit its types.

mod data;
mod eval;
mod format;
mod functions;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use serde_json::Value;

pub(crate) use data::{Shape, Zero};

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    source: String,
    nodes: Vec<tree::Node>,
}

/// What a template does not mean, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// From one.
    line: usize,
    /// In characters, from one.
    column: usize,
    problem: String,
}

/// A problem at a byte of the template.
#[derive(Debug)]
struct Fault {
    at: usize,
    problem: String,
}

impl Fault {
    fn new(at: usize, problem: impl Into<String>) -> Self {
        Fault {
            at,
            problem: problem.into(),
        }
    }

    /// Said with line and column.
    fn place(self, source: &str) -> TemplateError {
        let before = source.get(..self.at).unwrap_or(source);
        TemplateError {
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            problem: self.problem,
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error in the template at line {}, column {}: {}",
            self.line, self.column, self.problem
        )
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] when it is not of the language.
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        let nodes = parser::parse(source).map_err(|fault| fault.place(source))?;
        Ok(Template {
            source: source.to_owned(),
            nodes,
        })
    }

    /// What the template makes of a value.
    ///
    /// # Errors
    /// [`TemplateError`] when it asks of the value what it has not.
    pub(crate) fn render(&self, value: &Value, shape: &Shape) -> Result<String, TemplateError> {
        eval::render(&self.nodes, value, shape, eval::Mode::Values).map_err(|fault| fault.place(&self.source))
    }

    /// What the template makes of the headings of its fields: functions that change a text leave them as they are.
    ///
    /// # Errors
    /// [`TemplateError`] when a field has no heading.
    pub(crate) fn render_heading(&self, headings: &Value, shape: &Shape) -> Result<String, TemplateError> {
        eval::render(&self.nodes, headings, shape, eval::Mode::Headings).map_err(|fault| fault.place(&self.source))
    }
}
