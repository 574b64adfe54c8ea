//! `display.chart`: what is drawn. [`reading`] takes it strictly from a script's table, [`svg`] draws
//! it for a browser, [`text`] for a terminal.

mod reading;
mod scale;
mod svg;
mod text;

use mlua::Table;

/// How the values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bar,
    Line,
    Scatter,
    Histogram,
}

/// A chart: series over positions.
#[derive(Debug)]
pub(super) struct Chart {
    kind: Kind,
    title: Option<String>,
    x_label: Option<String>,
    y_label: Option<String>,
    width: f64,
    height: f64,
    positions: Positions,
    series: Vec<Series>,
}

/// Where the values stand along the first axis.
#[derive(Debug, PartialEq)]
enum Positions {
    /// One after the other, each with its name.
    Names(Vec<String>),
    Numbers(Vec<f64>),
    /// The edges of a histogram's bins: one more than there are values.
    Edges(Vec<f64>),
}

/// The values of one name, as many as there are positions; what is missing is not drawn.
#[derive(Debug, PartialEq)]
struct Series {
    name: Option<String>,
    values: Vec<Option<f64>>,
}

impl Chart {
    /// The names of the positions, for a terminal.
    fn position_names(&self) -> Vec<String> {
        match &self.positions {
            Positions::Names(names) => names.clone(),
            Positions::Numbers(numbers) => numbers.iter().map(|number| scale::label(*number)).collect(),
            Positions::Edges(edges) => {
                edges.windows(2).map(|edge| format!("{} to {}", scale::label(edge[0]), scale::label(edge[1]))).collect()
            }
        }
    }
}

/// The chart as an SVG document, and as text.
pub(super) fn draw(table: &Table) -> Result<(String, String), String> {
    let chart = Chart::read(table)?;
    Ok((svg::draw(&chart), text::draw(&chart)))
}
