//! Numbers on an axis: where the marks stand, what they say, and into which bins values fall.

/// An axis from `low` to `high`, with marks at round numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) marks: Vec<f64>,
}

/// Values beyond this are refused: sums of them would not be numbers.
pub(super) const LARGEST: f64 = 1e300;

/// Round steps: one, two or five times a power of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

impl Scale {
    /// An axis on which all `values` lie, with about `wanted` marks. With `zero` it reaches 0.
    pub(super) fn over(values: impl Iterator<Item = f64>, wanted: usize, zero: bool) -> Scale {
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if low == high {
            let margin = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = if zero { (low.min(0.0), high.max(0.0) + margin) } else { (low - margin, high + margin) };
        }
        let step = round_step((high - low) / wanted as f64);
        let first = (low / step).floor();
        let last = (high / step).ceil();
        // Where steps are lost in the values' size there are no marks between the ends.
        let marks = match last - first {
            count if count.is_finite() && count <= 100.0 => {
                (0..=count as usize).map(|index| (first + index as f64) * step).collect()
            }
            _ => vec![low, high],
        };
        Scale { low: marks[0], high: marks[marks.len() - 1], marks }
    }

    /// Where a value stands: 0 at the low end, 1 at the high one.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        if share.is_finite() { share } else { 0.0 }
    }
}

/// The least round step that is no smaller than `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let steps = STEPS.into_iter().map(|step| step * power);
    steps.into_iter().find(|step| *step >= least * 0.999_999).unwrap_or(10.0 * power)
}

/// What a mark says, without the noise of binary fractions.
pub(super) fn label(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&number.abs()) {
        return format!("{number:.2e}");
    }
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The edges of `count` bins of one width, and how many of `values` fall into each.
pub(super) fn bins(values: &[f64], count: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut low, mut high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    if low >= high {
        (low, high) = if low == high { (low - 0.5, high + 0.5) } else { (0.0, 1.0) };
    }
    let width = (high - low) / count as f64;
    let edges = (0..=count).map(|index| low + width * index as f64).collect();
    let mut counts = vec![0.0; count];
    for value in values {
        let bin = ((value - low) / width).floor() as usize;
        counts[bin.min(count - 1)] += 1.0;
    }
    (edges, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_hold_the_values() {
        for (values, zero, marks) in [
            (vec![3.0, 97.0], true, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (vec![0.12, 0.43], false, vec![0.1, 0.2, 0.3, 0.4, 0.5]),
            (vec![-5.0, 5.0], true, vec![-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]),
            (vec![7.0], true, vec![0.0, 2.0, 4.0, 6.0, 8.0]),
        ] {
            let scale = Scale::over(values.into_iter(), 5, zero);
            let labels = |marks: &[f64]| marks.iter().copied().map(label).collect::<Vec<_>>();
            assert_eq!(labels(&scale.marks), labels(&marks));
        }
    }

    #[test]
    fn no_values_are_too_odd_for_an_axis() {
        for values in [
            vec![],
            vec![0.0],
            vec![LARGEST, -LARGEST],
            vec![f64::MIN_POSITIVE, 0.0],
            vec![1e300, 1e300],
            vec![1.0, 1.0 + f64::EPSILON],
        ] {
            for zero in [false, true] {
                let scale = Scale::over(values.iter().copied(), 5, zero);
                assert!(scale.marks.len() >= 2 && scale.marks.len() <= 101, "{values:?}: {scale:?}");
                assert!(
                    values.iter().all(|value| (-0.1..=1.1).contains(&scale.share(*value))),
                    "{values:?}: {scale:?}"
                );
            }
            let (edges, counts) = bins(&values, 3);
            assert_eq!((edges.len(), counts.iter().sum::<f64>() as usize), (4, values.len()), "{values:?}");
        }
        assert_eq!(bins(&[1.0, 2.0, 2.5, 4.0], 3).1, [1.0, 2.0, 1.0]);
    }
}
