//! Columns for people.

/// Rows of cells with the columns as wide as they need to be, three blanks apart, as Docker writes them.
pub(crate) fn align(rows: Vec<Vec<String>>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: Vec<String>| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            line += cell;
            line += &" ".repeat(width - cell.chars().count() + 3);
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same with a heading.
pub(crate) fn render(header: &[&str], mut rows: Vec<Vec<String>>) -> String {
    rows.insert(0, header.iter().map(|&heading| heading.to_owned()).collect());
    align(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["mynet".to_owned(), "x".to_owned()],
            vec!["é".to_owned(), String::new()],
        ];
        assert_eq!(render(&["NAME", "DRIVER"], rows), "NAME    DRIVER\nmynet   x\né");
    }
}
