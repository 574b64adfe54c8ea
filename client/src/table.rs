//! Aligned columns and readable sizes for the terminal.

use std::fmt::{self, Display, Formatter};

/// Rows under headings, columns padded to their widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with one column per heading.
    pub fn new<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Table {
        Table { rows: vec![headings.map(str::to_uppercase).to_vec()] }
    }

    /// Adds a row; line breaks in a cell become blanks.
    pub fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| cell.replace(['\n', '\r', '\t'], " ")).to_vec());
    }

    /// Whether there is a row below the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A number of bytes as a person reads it: `5.5 MiB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // 1023.95 would print as `1024.0`
    while value >= 1023.95 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// A count as a person reads it: `4.9 million`.
pub fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1} thousand", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} million", number as f64 / 1e6),
        _ => format!("{:.1} billion", number as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_with_text() {
        let mut table = Table::new(["name", "size"]);
        table.row(["é".to_string(), "1 B".to_string()]);
        table.row(["longer\nname".to_string(), String::new()]);
        assert_eq!(table.to_string(), "NAME         SIZE\né            1 B\nlonger name\n");
    }

    #[test]
    fn sizes_are_readable() {
        let sizes = [0, 1023, 1024, 5_767_168, (1 << 20) - 1, 1 << 30, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "5.5 MiB", "1.0 MiB", "1.0 GiB", "16777216.0 TiB"]);
        assert_eq!(
            [9_999, 12_345, 4_900_000, 8_030_000_000].map(count),
            ["9999", "12.3 thousand", "4.9 million", "8.0 billion"]
        );
    }
}
