//! Lists: as a table, as JSON, by a template.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::table;
use super::template::{Shape, Template, TemplateError, Zero};

/// `.Label "KEY"` gives the value of one label.
const SHAPE: Shape = Shape {
    maps: &[("Label", Zero::Text)],
    optional: &[],
};

/// How lists are written.
#[derive(Debug, Clone)]
pub(crate) enum ListFormat {
    /// The columns that people want most.
    Table,
    /// A JSON object a line.
    Json,
    /// What a template makes of each row.
    Template(Arc<Template>),
    /// The same with headings, cells being separated by tabs.
    TableOf(Arc<Template>),
}

impl ListFormat {
    /// Reads what `--format` is given: `table`, `json`, `table TEMPLATE` or `TEMPLATE`, where `\t` and `\n` are a tab
    /// and the end of a line, as shells do not know them.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = |text: &str| {
            let text = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
            Template::parse(&text).map(Arc::new)
        };
        match text.strip_prefix("table") {
            _ if text.is_empty() => Ok(ListFormat::Table),
            _ if text == "json" => Ok(ListFormat::Json),
            Some("") => Ok(ListFormat::Table),
            Some(rest) => Ok(ListFormat::TableOf(template(rest)?)),
            None => Ok(ListFormat::Template(template(text)?)),
        }
    }
}

/// What a list can show.
#[derive(Debug)]
pub(crate) struct List {
    /// The fields of a row with their headings.
    pub(crate) columns: &'static [(&'static str, &'static str)],
    /// The fields that people want most.
    pub(crate) default: &'static [&'static str],
    /// What stands in an empty cell.
    pub(crate) blank: &'static str,
}

impl List {
    /// The text of all rows, which need not be there all at once, without the end of its last line; `None` if it has
    /// not even one line.
    ///
    /// # Errors
    /// [`TemplateError`] when a template asks for what there is not.
    pub(crate) fn render(
        &self,
        format: &ListFormat,
        rows: impl Iterator<Item = Value>,
    ) -> Result<Option<String>, TemplateError> {
        let lines = match format {
            ListFormat::Table => vec![self.table(rows)],
            ListFormat::Json => rows.map(|row| row.to_string()).collect(),
            ListFormat::Template(template) => rendered(template, rows)?,
            ListFormat::TableOf(template) => {
                let mut lines = vec![template.render_heading(&self.headings(), &SHAPE)?];
                lines.extend(rendered(template, rows)?);
                let cells = lines.iter().flat_map(|line| line.split('\n'));
                vec![table::align(
                    cells
                        .map(|line| line.split('\t').map(str::to_owned).collect())
                        .collect(),
                )]
            }
        };
        Ok((!lines.is_empty()).then(|| lines.join("\n")))
    }

    fn headings(&self) -> Value {
        let headings = self.columns.iter();
        let headings: Map<String, Value> = headings
            .map(|(field, heading)| ((*field).to_owned(), Value::from(*heading)))
            .collect();
        Value::Object(headings)
    }

    fn table(&self, rows: impl Iterator<Item = Value>) -> String {
        let cells = |row: Value| -> Vec<String> {
            let cell = |field: &&str| match &row[*field] {
                Value::String(text) if text.is_empty() => self.blank.to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            self.default.iter().map(cell).collect()
        };
        table::align([self.headings()].into_iter().chain(rows).map(cells).collect())
    }
}

fn rendered(template: &Template, rows: impl Iterator<Item = Value>) -> Result<Vec<String>, TemplateError> {
    rows.map(|row| template.render(&row, &SHAPE)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIST: List = List {
        columns: &[("ID", "THING ID"), ("Name", "NAME"), ("Count", "COUNT"), ("Label", "")],
        default: &["Name", "Count"],
        blank: "-",
    };

    #[track_caller]
    fn check(format: &str, expected: &str) {
        let rows = [
            json!({"ID": "1", "Name": "a", "Count": 12, "Label": {"com.x.some-key": "v"}}),
            json!({"ID": "2", "Name": "", "Count": 3, "Label": {}}),
        ];
        let format = ListFormat::parse(format).unwrap();
        assert_eq!(
            LIST.render(&format, rows.into_iter()).unwrap().unwrap_or_default(),
            expected
        );
    }

    #[test]
    fn every_format() {
        check("table", "NAME   COUNT\na      12\n-      3");
        check("", "NAME   COUNT\na      12\n-      3");
        check(
            "json",
            "{\"ID\":\"1\",\"Name\":\"a\",\"Count\":12,\"Label\":{\"com.x.some-key\":\"v\"}}\n\
             {\"ID\":\"2\",\"Name\":\"\",\"Count\":3,\"Label\":{}}",
        );
        check("{{.ID}}={{.Name}}", "1=a\n2=");
        check("{{.ID}}\\t{{.Name}}\\n", "1\ta\n\n2\t\n");
        check("table {{.ID}}\\t{{upper .Name}}", "THING ID   NAME\n1          A\n2");
        check(
            "table {{.Label \"com.x.some-key\"}}\\t{{.ID}}",
            "some key   THING ID\nv          1\n           2",
        );
        check("{{json .Name}}", "\"a\"\n\"\"");
        assert_eq!(LIST.render(&ListFormat::Json, std::iter::empty()), Ok(None));
        assert_eq!(
            LIST.render(&ListFormat::Table, std::iter::empty()),
            Ok(Some("NAME   COUNT".to_owned()))
        );
        assert!(ListFormat::parse("table {{").is_err());
        let unknown = ListFormat::parse("table {{.Nope}}").unwrap();
        assert!(
            LIST.render(&unknown, std::iter::empty())
                .unwrap_err()
                .to_string()
                .contains("ID, Name, Count")
        );
    }
}
