//! The small arithmetic between the products: norm, rotation, gate. Plain Rust; the same bits on every machine.

use crate::description::{Rope, RopePairing, Yarn};
use crate::kernels::vectorized;

vectorized! {
    /// RMSNorm (Zhang and Sennrich, 2019) of each row of `input`, `[rows, weights.len()]`.
    pub(super) fn rms_norm(input: &[f32], weights: &[f32], epsilon: f32, output: &mut [f32]) {
        const LANES: usize = 16;
        let width = weights.len();
        for (input, output) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
            let mut sums = [0.0f32; LANES];
            for chunk in input.chunks(LANES) {
                for (sum, value) in sums.iter_mut().zip(chunk) {
                    *sum = value.mul_add(*value, *sum);
                }
            }
            let scale = 1.0 / (sums.iter().sum::<f32>() / width as f32 + epsilon).sqrt();
            for ((output, input), weight) in output.iter_mut().zip(input).zip(weights) {
                *output = input * scale * weight;
            }
        }
    }
}

vectorized! {
    /// `gate` becomes SiLU(gate) times `up` (Shazeer, "GLU Variants Improve Transformer", 2020).
    pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}

/// e to the power of `x`, to about one unit in the last place: a power of two times a polynomial over half an octave to
/// each side (coefficients as in Cephes' `expf`). Beyond what 32 bits hold it stays at the bounds.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding it leaves no room for fractions: what is added is rounded to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few bits, so that its product is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let octaves = rounded - ROUND;
    let rest = octaves.mul_add(-LN_2_LOW, octaves.mul_add(-LN_2_HIGH, x));
    let mut sum = 1.987_569_1e-4f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum.mul_add(rest, coefficient);
    }
    let fraction = sum.mul_add(rest * rest, rest) + 1.0;
    // The lowest bits of `rounded` are the whole number, which is added to the exponent.
    f32::from_bits(fraction.to_bits().wrapping_add(rounded.to_bits() << 23))
}

vectorized! {
    /// `output += input`.
    pub(super) fn add(output: &mut [f32], input: &[f32]) {
        for (output, input) in output.iter_mut().zip(input) {
            *output += input;
        }
    }
}

/// Cosine and sine of every angle at one position; `factors` divide the frequencies (Llama 3's `rope_freqs`).
pub(super) fn rotation(rope: &Rope, factors: Option<&[f32]>, position: usize, angles: &mut Vec<(f32, f32)>) {
    // As ggml: the angle shrinks by a constant ratio from pair to pair.
    let ratio = rope.freq_base.powf(-2.0 / rope.dimensions as f32);
    let mut angle = position as f32;
    for pair in 0..rope.dimensions / 2 {
        let full = angle / factors.map_or(1.0, |factors| factors[pair]);
        let scaled = rope.position_scale * full;
        let (angle_here, magnitude) = match &rope.yarn {
            None => (scaled, 1.0),
            Some(Yarn { ramp: [first, last], magnitude }) => {
                let shrunk = ((pair as f32 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
                (scaled * shrunk + full * (1.0 - shrunk), *magnitude)
            }
        };
        let (sine, cosine) = angle_here.sin_cos();
        angles.push((cosine * magnitude, sine * magnitude));
        angle *= ratio;
    }
}

/// Turns each head of one row by the angles of its position; dimensions beyond the angles stay.
pub(super) fn rotate(heads: &mut [f32], head_size: usize, pairing: RopePairing, angles: &[(f32, f32)]) {
    let turn = |first: &mut f32, second: &mut f32, (cosine, sine): &(f32, f32)| {
        (*first, *second) = (*first * cosine - *second * sine, *first * sine + *second * cosine);
    };
    for head in heads.chunks_exact_mut(head_size) {
        match pairing {
            RopePairing::Interleaved => {
                let (pairs, _) = head.as_chunks_mut::<2>();
                for ([first, second], angle) in pairs.iter_mut().zip(angles) {
                    turn(first, second, angle);
                }
            }
            RopePairing::Halves => {
                let (firsts, seconds) = head.split_at_mut(angles.len());
                for ((first, second), angle) in firsts.iter_mut().zip(seconds).zip(angles) {
                    turn(first, second, angle);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm_gives_unit_mean_square() {
        let mut output = [0.0; 4];
        rms_norm(&[3.0, -3.0, 3.0, 3.0], &[1.0, 1.0, 2.0, 1.0], 0.0, &mut output);
        assert_eq!(output, [1.0, -1.0, 2.0, 1.0]);
    }

    #[test]
    fn rotation_keeps_length_and_depends_on_distance_only() {
        let rope = |pairing| Rope { dimensions: 4, freq_base: 100.0, position_scale: 1.0, yarn: None, pairing };
        let turned = |pairing, position: usize, head: [f32; 4]| {
            let (mut head, mut angles) = (head, Vec::new());
            rotation(&rope(pairing), None, position, &mut angles);
            rotate(&mut head, 4, pairing, &angles);
            head
        };
        let (query, key) = ([0.3, -0.7, 0.2, 0.9], [-0.5, 0.1, 0.8, 0.4]);
        let product = |a: [f32; 4], b: [f32; 4]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for pairing in [RopePairing::Interleaved, RopePairing::Halves] {
            let turned = |position, head| turned(pairing, position, head);
            assert_eq!(turned(0, query), query);
            let near = product(turned(5, query), turned(3, key));
            let far = product(turned(105, query), turned(103, key));
            assert!((near - far).abs() < 1e-4, "{near} {far}");
            assert!((product(turned(7, query), turned(7, query)) - product(query, query)).abs() < 1e-5);
        }
    }

    #[test]
    fn the_exponential_is_near_the_librarys() {
        for step in -870_000..880_000 {
            let x = step as f32 * 1e-4;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 2e-7, "exp({x}) is {expected}, found {found}");
        }
        assert!(exp(-1e9) < 1e-37 && exp(1e9).is_finite());
    }

    #[test]
    fn the_gate_is_silu() {
        let mut gate = [0.0, 1.0, -20.0];
        swiglu(&mut gate, &[5.0, 2.0, 1.0]);
        assert_eq!(gate[0], 0.0);
        assert!((gate[1] - 1.462_117).abs() < 1e-5);
        assert!(gate[2].abs() < 1e-6);
    }
}
