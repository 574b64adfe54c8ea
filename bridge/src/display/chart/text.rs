//! A chart for a terminal: a bar of blocks for every value.

use unicode_width::UnicodeWidthStr;

use super::Chart;
use super::scale::label;

/// Characters of the longest bar.
const WIDTH: usize = 40;
/// More values than this are counted, not drawn.
const MOST: usize = 40;
/// Eighths of a block, from none to seven.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

pub(super) fn draw(chart: &Chart) -> String {
    let names = chart.position_names();
    let indent = names.iter().take(MOST).map(|name| name.width()).max().unwrap_or(0);
    let all = chart.series.iter().flat_map(|series| series.values.iter().copied().flatten());
    let (least, most) = all.fold((0f64, 0f64), |(least, most), value| (least.min(value), most.max(value)));
    // Bars stand on zero, or on the least value where some are below it.
    let share = |value: f64| if most > least { (value - least) / (most - least) } else { 0.0 };
    let mut lines = Vec::from_iter(chart.title.clone());
    for series in &chart.series {
        lines.extend(series.name.clone());
        for (name, value) in names.iter().zip(&series.values).take(MOST) {
            let padding = " ".repeat(indent - name.width());
            let drawn = value.map_or_else(String::new, |value| format!("{} {}", bar(share(value)), label(value)));
            lines.push(format!("{padding}{name} {drawn}").trim_end().to_owned());
        }
        if series.values.len() > MOST {
            lines.push(format!("... {} more values", series.values.len() - MOST));
        }
    }
    lines.join("\n")
}

fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (WIDTH * 8) as f64).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}
