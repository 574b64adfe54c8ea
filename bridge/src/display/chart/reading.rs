//! The table that `display.chart` got, as a [`Chart`]; what cannot be drawn is an error that names it.

use mlua::{Table, Value};

use super::{Chart, Kind, Positions, Series, scale};
use crate::convert::described;

const KINDS: [(&str, Kind); 4] =
    [("bar", Kind::Bar), ("line", Kind::Line), ("scatter", Kind::Scatter), ("histogram", Kind::Histogram)];
/// Pixels.
const SIZE: (f64, f64) = (560.0, 320.0);
/// More series than there are colours cannot be told apart.
const MOST_SERIES: usize = 8;
/// More points than this are not worth drawing.
const MOST_POINTS: usize = 20_000;

impl Chart {
    /// Reads the table that `display.chart` got; its field names were checked before.
    pub(super) fn read(table: &Table) -> Result<Chart, String> {
        let kind_name = string(table, "kind")?
            .ok_or("display.chart got no `kind`; expected \"bar\", \"line\", \"scatter\" or \"histogram\"")?;
        let Some((_, kind)) = KINDS.into_iter().find(|(name, _)| *name == kind_name) else {
            return Err(format!(
                "option `kind` of display.chart is {kind_name:?}; expected \"bar\", \"line\", \"scatter\" or \"histogram\""
            ));
        };
        let mut chart = Chart {
            kind,
            title: string(table, "title")?,
            x_label: string(table, "x_label")?,
            y_label: string(table, "y_label")?,
            width: size(table, "width", SIZE.0)?,
            height: size(table, "height", SIZE.1)?,
            positions: Positions::Names(Vec::new()),
            series: Vec::new(),
        };
        match kind {
            Kind::Histogram => chart.read_histogram(table)?,
            _ => chart.read_series(table)?,
        }
        if chart.series.iter().all(|series| series.values.iter().all(Option::is_none)) {
            return Err("display.chart got no numbers to draw".to_owned());
        }
        Ok(chart)
    }

    fn read_series(&mut self, table: &Table) -> Result<(), String> {
        let data: Option<Table> = optional(table, "data")?;
        let y = field(table, "y")?;
        let columns: Vec<(Option<String>, Vec<Value>)> = match (&data, &y) {
            (Some(data), Value::String(name)) => vec![(None, column(data, &name.to_string_lossy())?)],
            (Some(data), Value::Table(names)) => names
                .sequence_values::<mlua::LuaString>()
                .map(|name| {
                    let name = name.map_err(|error| error.to_string())?.to_string_lossy();
                    let values = column(data, &name)?;
                    Ok((Some(name), values))
                })
                .collect::<Result<_, String>>()?,
            (None, Value::Table(values)) if values.raw_len() > 0 => vec![(None, items(values)?)],
            (None, Value::Table(series)) => named_series(series)?,
            (data, other) => {
                return Err(format!(
                    "option `y` of display.chart is {}; expected {}",
                    described(other),
                    match data {
                        Some(_) => "the name of a field of `data`, or a list of such names",
                        None => "a list of numbers, or a table from names to such lists",
                    }
                ));
            }
        };
        if columns.len() > MOST_SERIES {
            return Err(format!("display.chart got {} series; expected at most {MOST_SERIES}", columns.len()));
        }
        let longest = columns.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        if longest > MOST_POINTS {
            return Err(format!("display.chart got {longest} points; expected at most {MOST_POINTS}"));
        }
        let x = match (data, field(table, "x")?) {
            (Some(data), Value::String(name)) => Some(column(&data, &name.to_string_lossy())?),
            (None, Value::Table(values)) => Some(items(&values)?),
            (_, Value::Nil) => None,
            (_, other) => {
                return Err(format!(
                    "option `x` of display.chart is {}; expected the name of a field of `data`, or without `data` a list",
                    described(&other)
                ));
            }
        };
        self.positions = positions(self.kind, x, longest)?;
        self.series = columns
            .into_iter()
            .map(|(name, values)| {
                let values = values.iter().map(number).collect::<Result<Vec<_>, String>>()?;
                Ok(Series { name, values })
            })
            .collect::<Result<_, String>>()?;
        Ok(())
    }

    fn read_histogram(&mut self, table: &Table) -> Result<(), String> {
        let values = match (optional::<Table>(table, "data")?, field(table, "x")?) {
            (Some(data), Value::String(name)) => column(&data, &name.to_string_lossy())?,
            (None, Value::Table(values)) => items(&values)?,
            (_, other) => {
                return Err(format!(
                    "option `x` of a histogram is {}; expected a list of numbers, or the name of a field of `data`",
                    described(&other)
                ));
            }
        };
        let numbers: Vec<f64> =
            values.iter().map(number).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let bins = match field(table, "bins")? {
            // Sturges' rule: https://doi.org/10.1080/01621459.1926.10502161
            Value::Nil => (numbers.len().max(1) as f64).log2().ceil() as usize + 1,
            Value::Integer(bins @ 1..=200) => bins as usize,
            other => {
                return Err(format!(
                    "option `bins` of display.chart is {}; expected a whole number from 1 to 200",
                    described(&other)
                ));
            }
        };
        let (edges, counts) = scale::bins(&numbers, bins);
        self.positions = Positions::Edges(edges);
        self.series = vec![Series { name: None, values: counts.into_iter().map(Some).collect() }];
        Ok(())
    }
}

/// Numbers where all of them are; else names, unless the kind needs numbers.
fn positions(kind: Kind, x: Option<Vec<Value>>, count: usize) -> Result<Positions, String> {
    let Some(x) = x else {
        let numbers = (1..=count).map(|index| index as f64);
        return Ok(match kind {
            Kind::Bar => Positions::Names(numbers.map(scale::label).collect()),
            _ => Positions::Numbers(numbers.collect()),
        });
    };
    if x.len() < count {
        return Err(format!("display.chart got {count} values for `y` and {} for `x`; expected as many", x.len()));
    }
    let numeric = x.iter().all(|value| matches!(value, Value::Integer(_) | Value::Number(_)));
    if numeric && kind != Kind::Bar {
        let numbers = x.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        return Ok(Positions::Numbers(numbers.into_iter().flatten().collect()));
    }
    if kind == Kind::Scatter {
        return Err("the `x` of a scatter chart has values that are no numbers".to_owned());
    }
    Ok(Positions::Names(
        x.iter()
            .map(|value| match value {
                Value::String(text) => text.to_string_lossy(),
                Value::Number(number) => scale::label(*number),
                Value::Nil => String::new(),
                other => described(other),
            })
            .collect(),
    ))
}

/// Values that belong together, and what they are called.
type Named = (Option<String>, Vec<Value>);

fn named_series(table: &Table) -> Result<Vec<Named>, String> {
    let mut series = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        match pair.map_err(|error| error.to_string())? {
            (Value::String(name), Value::Table(values)) => series.push((Some(name.to_string_lossy()), items(&values)?)),
            (key, value) => {
                return Err(format!(
                    "option `y` of display.chart has {} under {}; expected lists of numbers by name",
                    described(&value),
                    described(&key)
                ));
            }
        }
    }
    series.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(series)
}

/// A field of every record.
fn column(data: &Table, name: &str) -> Result<Vec<Value>, String> {
    let records: Vec<Value> = items(data)?;
    let values: Vec<Value> = records
        .iter()
        .map(|record| match record {
            Value::Table(record) => record.raw_get(name).map_err(|error| error.to_string()),
            other => Err(format!("option `data` of display.chart has {} in it; expected records", described(other))),
        })
        .collect::<Result<_, String>>()?;
    match values.iter().all(Value::is_nil) {
        true => Err(format!("no record of `data` has the field `{name}`")),
        false => Ok(values),
    }
}

fn items(table: &Table) -> Result<Vec<Value>, String> {
    (1..=table.raw_len()).map(|index| table.raw_get(index).map_err(|error| error.to_string())).collect()
}

fn number(value: &Value) -> Result<Option<f64>, String> {
    match value {
        Value::Nil => Ok(None),
        Value::Integer(number) => Ok(Some(*number as f64)),
        Value::Number(number) if number.is_finite() && number.abs() > scale::LARGEST => Err(format!(
            "display.chart got {number:e} among the numbers to draw; expected at most {:e}",
            scale::LARGEST
        )),
        Value::Number(number) => Ok(number.is_finite().then_some(*number)),
        other => Err(format!("display.chart got {} among the numbers to draw", described(other))),
    }
}

fn field(table: &Table, name: &str) -> Result<Value, String> {
    table.raw_get(name).map_err(|error| error.to_string())
}

fn optional<T: mlua::FromLua>(table: &Table, name: &str) -> Result<Option<T>, String> {
    let value = field(table, name)?;
    let text = described(&value);
    table.raw_get(name).map_err(|_| format!("option `{name}` of display.chart is {text}"))
}

fn string(table: &Table, name: &str) -> Result<Option<String>, String> {
    match field(table, name)? {
        Value::Nil => Ok(None),
        Value::String(text) => Ok(Some(text.to_string_lossy())),
        other => Err(format!("option `{name}` of display.chart is {}; expected a string", described(&other))),
    }
}

fn size(table: &Table, name: &str, usual: f64) -> Result<f64, String> {
    match field(table, name)? {
        Value::Nil => Ok(usual),
        Value::Integer(pixels @ 100..=4000) => Ok(pixels as f64),
        other => Err(format!(
            "option `{name}` of display.chart is {}; expected a whole number from 100 to 4000",
            described(&other)
        )),
    }
}
