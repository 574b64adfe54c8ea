//! A chart as an SVG document that needs nothing beside itself. Frontends show it as a picture, which
//! knows nothing of their theme: the background is clear, and every colour reads on white and on black.

use std::fmt::Write;

use super::scale::{Scale, label};
use super::{Chart, Kind, Positions};
use crate::display::html::escape;

/// Colours of series, told apart by those who see few colours too: the palette of Okabe and Ito,
/// <https://jfly.uni-koeln.de/color/>, without black and yellow, which vanish on one of the themes.
const COLOURS: [&str; 8] = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C8C", "#B8860B"];
/// Text and lines that read on both themes.
const INK: &str = "#808080";
/// Pixels of a letter of the labels, about.
const LETTER: f64 = 6.5;
/// Marks on an axis, about one per so many pixels.
const MARK_PIXELS: f64 = 55.0;

/// Where things stand, in pixels.
struct Frame<'a> {
    chart: &'a Chart,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    y: Scale,
    /// For positions that are numbers.
    x: Option<Scale>,
}

pub(super) fn draw(chart: &Chart) -> String {
    let frame = Frame::around(chart);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">"#,
        w = chart.width,
        h = chart.height
    );
    frame.titles(&mut svg);
    frame.grid(&mut svg);
    frame.position_labels(&mut svg);
    for index in 0..chart.series.len() {
        match chart.kind {
            Kind::Bar | Kind::Histogram => frame.bars(&mut svg, index),
            Kind::Line => frame.line(&mut svg, index),
            Kind::Scatter => frame.dots(&mut svg, index, 3.5),
        }
    }
    frame.legend(&mut svg);
    svg.push_str("</svg>");
    svg
}

fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{}</text>"#, escape(text));
}

impl Frame<'_> {
    fn around(chart: &Chart) -> Frame<'_> {
        let values = chart.series.iter().flat_map(|series| series.values.iter().copied().flatten());
        let from_zero = matches!(chart.kind, Kind::Bar | Kind::Histogram);
        let top = if chart.title.is_some() { 36.0 } else { 14.0 };
        let legend = if chart.series.iter().any(|series| series.name.is_some()) { 22.0 } else { 0.0 };
        let bottom = 26.0 + legend + if chart.x_label.is_some() { 20.0 } else { 0.0 };
        let height = (chart.height - top - bottom).max(20.0);
        let y = Scale::over(values, (height / MARK_PIXELS).round().max(2.0) as usize, from_zero);
        let widest = y.marks.iter().map(|mark| label(*mark).chars().count()).max().unwrap_or(0);
        let left = 14.0 + widest as f64 * LETTER + if chart.y_label.is_some() { 20.0 } else { 0.0 };
        let width = (chart.width - left - 16.0).max(20.0);
        let x = match &chart.positions {
            Positions::Numbers(numbers) => {
                Some(Scale::over(numbers.iter().copied(), (width / MARK_PIXELS / 1.5).round().max(2.0) as usize, false))
            }
            Positions::Names(_) | Positions::Edges(_) => None,
        };
        Frame { chart, left, top, width, height, y, x }
    }

    fn titles(&self, svg: &mut String) {
        let chart = self.chart;
        if let Some(title) = &chart.title {
            text(svg, (self.left, 20.0), r#"font-size="15" font-weight="600""#, title);
        }
        if let Some(name) = &chart.x_label {
            let middle = self.left + self.width / 2.0;
            text(svg, (middle, self.top + self.height + 38.0), r#"text-anchor="middle""#, name);
        }
        if let Some(name) = &chart.y_label {
            let middle = self.top + self.height / 2.0;
            let turned = format!(r#"text-anchor="middle" transform="rotate(-90 14 {middle:.1})""#);
            text(svg, (14.0, middle), &turned, name);
        }
    }

    fn grid(&self, svg: &mut String) {
        for mark in &self.y.marks {
            let y = self.y_of(*mark);
            let strength = if *mark == 0.0 { "0.9" } else { "0.25" };
            let _ = write!(
                svg,
                r#"<line x1="{:.1}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}" stroke="{INK}" stroke-opacity="{strength}"/>"#,
                self.left,
                self.left + self.width
            );
            text(svg, (self.left - 6.0, y + 4.0), r#"text-anchor="end""#, &label(*mark));
        }
    }

    /// The marks below; of many names as many as there is room for.
    fn position_labels(&self, svg: &mut String) {
        let below = self.top + self.height + 18.0;
        let centered = r#"text-anchor="middle""#;
        match (&self.chart.positions, &self.x) {
            (Positions::Numbers(_), Some(scale)) => {
                for mark in &scale.marks {
                    text(svg, (self.left + scale.share(*mark) * self.width, below), centered, &label(*mark));
                }
            }
            (Positions::Edges(edges), _) => {
                let labels: Vec<String> = edges.iter().map(|edge| label(*edge)).collect();
                let step = self.width / (edges.len() - 1) as f64;
                for (index, label) in every_fitting(&labels, step) {
                    text(svg, (self.left + step * index as f64, below), centered, &label);
                }
            }
            (Positions::Names(names), _) => {
                let step = self.width / names.len().max(1) as f64;
                for (index, name) in every_fitting(names, step) {
                    text(svg, (self.left + step * (index as f64 + 0.5), below), centered, &name);
                }
            }
            (Positions::Numbers(_), None) => {}
        }
    }

    fn bars(&self, svg: &mut String, series: usize) {
        let values = &self.chart.series[series].values;
        let step = self.width / values.len().max(1) as f64;
        let gap = if self.chart.kind == Kind::Histogram { 0.04 } else { 0.2 };
        let width = step * (1.0 - gap) / self.chart.series.len() as f64;
        let zero = self.y_of(0.0);
        for (index, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let (y, x) = (self.y_of(*value), self.left + step * (index as f64 + gap / 2.0) + width * series as f64);
            let _ = write!(
                svg,
                r#"<rect x="{x:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="1.5" fill="{}"><title>{}</title></rect>"#,
                y.min(zero),
                width.max(0.5),
                (y - zero).abs(),
                colour(series),
                label(*value)
            );
        }
    }

    fn line(&self, svg: &mut String, series: usize) {
        let mut path = String::new();
        let mut pen = 'M';
        for (index, value) in self.chart.series[series].values.iter().enumerate() {
            // A gap in the values is one in the line.
            let Some(value) = value else {
                pen = 'M';
                continue;
            };
            let _ = write!(path, "{pen}{:.1} {:.1} ", self.x_of(index), self.y_of(*value));
            pen = 'L';
        }
        let _ = write!(
            svg,
            r#"<path d="{}" fill="none" stroke="{}" stroke-width="2" stroke-linejoin="round"/>"#,
            path.trim_end(),
            colour(series)
        );
        if self.chart.series[series].values.len() <= 40 {
            self.dots(svg, series, 2.5);
        }
    }

    fn dots(&self, svg: &mut String, series: usize, radius: f64) {
        for (index, value) in self.chart.series[series].values.iter().enumerate() {
            let Some(value) = value else { continue };
            let _ = write!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="{radius}" fill="{}" fill-opacity="0.85"/>"#,
                self.x_of(index),
                self.y_of(*value),
                colour(series)
            );
        }
    }

    fn legend(&self, svg: &mut String) {
        let mut x = self.left;
        let y = self.chart.height - 8.0;
        for (index, series) in self.chart.series.iter().enumerate() {
            let Some(name) = &series.name else { continue };
            let _ = write!(
                svg,
                r#"<rect x="{x:.1}" y="{:.1}" width="10" height="10" rx="2" fill="{}"/>"#,
                y - 9.0,
                colour(index)
            );
            text(svg, (x + 14.0, y), "", name);
            x += 30.0 + name.chars().count() as f64 * LETTER;
        }
    }

    fn x_of(&self, index: usize) -> f64 {
        match (&self.chart.positions, &self.x) {
            (Positions::Numbers(numbers), Some(scale)) => self.left + scale.share(numbers[index]) * self.width,
            (Positions::Names(names), _) => self.left + self.width * (index as f64 + 0.5) / names.len() as f64,
            _ => self.left,
        }
    }

    fn y_of(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - self.y.share(value))
    }
}

fn colour(series: usize) -> &'static str {
    COLOURS[series % COLOURS.len()]
}

/// Those labels that do not run into each other at `step` pixels from one to the next, cut to fit.
fn every_fitting(labels: &[String], step: f64) -> Vec<(usize, String)> {
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(1).clamp(1, 16);
    let every = ((longest as f64 + 1.0) * LETTER / step).ceil().max(1.0) as usize;
    let cut = |label: &String| match label.chars().count() {
        0..=16 => label.clone(),
        _ => label.chars().take(15).chain(['…']).collect(),
    };
    labels.iter().enumerate().step_by(every).map(|(index, label)| (index, cut(label))).collect()
}
