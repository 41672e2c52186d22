//! Tables as etcdctl draws them: the heading in the middle of each column, values at the right.

/// Headings and rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn render(&self) -> String {
        let head: Vec<String> = self.head.iter().map(|name| name.to_uppercase()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(head.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let rule: String =
            widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+\n";
        let row = |cells: &[String], middle: bool| {
            let cells = cells.iter().zip(&widths).map(|(cell, &width)| {
                if middle {
                    // The odd blank goes to the right.
                    format!("| {cell:^width$} ")
                } else {
                    format!("| {cell:>width$} ")
                }
            });
            cells.collect::<String>() + "|\n"
        };
        let mut text = rule.clone() + &row(&head, true) + &rule;
        for cells in &self.rows {
            text += &row(cells, false);
        }
        if !self.rows.is_empty() {
            text += &rule;
        }
        text
    }

    /// The rows, as the format `simple` has them.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.rows.iter().map(|row| row.join(", "))
    }
}
