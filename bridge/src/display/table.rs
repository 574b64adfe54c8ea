//! Records as a table: in HTML for a browser and aligned in text for a terminal. What is shown of a
//! value, and how much, was decided before.

use mlua::{FromLua, Lua, Table, Value};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::html::escape;

/// A cell's text is cut to this width in the text form, in columns of a terminal.
const CELL_WIDTH: usize = 48;

/// What a table shows.
#[derive(Debug, Default)]
pub(super) struct Grid {
    caption: Option<String>,
    columns: Vec<String>,
    rows: Vec<Vec<Entry>>,
    more_rows: usize,
    more_columns: usize,
}

/// One value.
#[derive(Clone, Debug, Default)]
struct Entry {
    text: String,
    /// Its HTML, where that is more than the text.
    html: Option<String>,
    number: bool,
}

impl FromLua for Grid {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Grid> {
        let table = Table::from_lua(value, lua)?;
        let text = |text: mlua::LuaString| text.to_string_lossy();
        let width = table.get::<Table>("columns")?.raw_len();
        let rows = table.get::<Table>("rows")?;
        Ok(Grid {
            caption: table.get::<Option<mlua::LuaString>>("caption")?.map(text),
            columns: table.get::<Vec<mlua::LuaString>>("columns")?.into_iter().map(text).collect(),
            rows: rows
                .sequence_values::<Table>()
                .map(|row| row.and_then(|row| (1..=width).map(|column| row.get(column)).collect()))
                .collect::<mlua::Result<_>>()?,
            more_rows: table.get("more_rows")?,
            more_columns: table.get("more_columns")?,
        })
    }
}

/// A text, or `{text, html, number}`.
impl FromLua for Entry {
    fn from_lua(value: Value, _: &Lua) -> mlua::Result<Entry> {
        Ok(match value {
            Value::Table(entry) => Entry {
                text: entry.get::<mlua::LuaString>(1)?.to_string_lossy(),
                html: entry.get::<Option<mlua::LuaString>>(2)?.map(|html| html.to_string_lossy()),
                number: entry.get::<Option<bool>>(3)?.unwrap_or(false),
            },
            Value::String(text) => Entry { text: text.to_string_lossy(), ..Entry::default() },
            _ => Entry::default(),
        })
    }
}

impl Grid {
    pub(super) fn html(&self) -> String {
        let mut html = String::from("<table>");
        if let Some(caption) = &self.caption {
            html.push_str(&format!("<caption>{}</caption>", escape(caption)));
        }
        html.push_str("<thead><tr>");
        for (column, name) in self.columns.iter().enumerate() {
            html.push_str(&format!("<th{}>{}</th>", self.alignment(column), escape(name)));
        }
        html.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            html.push_str("<tr>");
            for (column, entry) in row.iter().enumerate() {
                let content = entry.html.clone().unwrap_or_else(|| escape(&entry.text));
                html.push_str(&format!("<td{}>{content}</td>", self.alignment(column)));
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table>");
        if let Some(more) = self.more() {
            html.push_str(&format!("<p>{more}</p>"));
        }
        html
    }

    pub(super) fn text(&self) -> String {
        let mut columns: Vec<Vec<String>> = self.columns.iter().map(|name| vec![one_line(name)]).collect();
        for row in &self.rows {
            for (column, entry) in columns.iter_mut().zip(row) {
                column.push(one_line(&entry.text));
            }
        }
        let widths: Vec<usize> =
            columns.iter().map(|column| column.iter().map(|text| text.width()).max().unwrap_or(0)).collect();
        let mut lines = Vec::from_iter(self.caption.clone());
        for index in 0..=self.rows.len() {
            let cells = columns.iter().zip(&widths).enumerate().map(|(column, (texts, width))| {
                let padding = " ".repeat(width - texts[index].width());
                match self.is_numeric(column) {
                    true => padding + &texts[index],
                    false => texts[index].clone() + &padding,
                }
            });
            lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
            if index == 0 {
                lines.push(widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  "));
            }
        }
        lines.extend(self.more());
        lines.join("\n")
    }

    /// What is not shown.
    fn more(&self) -> Option<String> {
        let counted = |count: usize, name: &str| match count {
            0 => None,
            1 => Some(format!("1 more {name}")),
            _ => Some(format!("{count} more {name}s")),
        };
        let parts = [counted(self.more_rows, "row"), counted(self.more_columns, "column")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("... {}", parts.join(" and ")))
    }

    fn is_numeric(&self, column: usize) -> bool {
        let mut entries = self.rows.iter().filter_map(|row| row.get(column)).filter(|entry| !entry.text.is_empty());
        entries.clone().next().is_some() && entries.all(|entry| entry.number)
    }

    /// Frontends differ in which way they align what says nothing.
    fn alignment(&self, column: usize) -> &'static str {
        match self.is_numeric(column) {
            true => r#" style="text-align: right""#,
            false => r#" style="text-align: left""#,
        }
    }
}

/// `text` on one line, cut to [`CELL_WIDTH`].
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut width = 0;
    for character in text.chars() {
        let character = match character {
            '\n' => '↵',
            control if control.is_control() => ' ',
            other => other,
        };
        width += character.width().unwrap_or(0);
        if width > CELL_WIDTH {
            while line.width() > CELL_WIDTH - 1 {
                line.pop();
            }
            line.push('…');
            break;
        }
        line.push(character);
    }
    line
}
