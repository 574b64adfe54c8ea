//! Eight columns in 256-bit registers: plain AVX2, or with AVX-VNNI's byte products.

use std::arch::x86_64::*;

use super::Lanes;

pub(in super::super) struct Avx2;
pub(in super::super) struct AvxVnni;

/// What both share; `$dot` and its like differ.
macro_rules! eight_columns {
    ($name:ident, $($products:item)*) => {
        // SAFETY, for every block below: the processor has AVX2, FMA and F16C (and AVX-VNNI for that type), and pointers are
        // good for what is read or written, as `Lanes` asks of its callers.
        impl Lanes for $name {
            const COLUMNS: usize = 8;
            type Bytes = __m256i;
            type Ints = __m256i;
            type Floats = __m256;
            $(#[inline(always)] $products)*
            #[inline(always)]
            unsafe fn load(at: *const u8) -> __m256i {
                unsafe { _mm256_loadu_si256(at.cast()) }
            }
            #[inline(always)]
            unsafe fn splat_byte(value: u8) -> __m256i {
                unsafe { _mm256_set1_epi8(value as i8) }
            }
            #[inline(always)]
            unsafe fn splat_four(at: *const i8) -> __m256i {
                unsafe { _mm256_set1_epi32(at.cast::<i32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_and_si256(a, b) }
            }
            #[inline(always)]
            unsafe fn or(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_or_si256(a, b) }
            }
            #[inline(always)]
            unsafe fn shift_left<const BITS: u32>(a: __m256i) -> __m256i {
                unsafe { _mm256_sll_epi16(a, _mm_cvtsi32_si128(BITS as i32)) }
            }
            #[inline(always)]
            unsafe fn shift_right<const BITS: u32>(a: __m256i) -> __m256i {
                unsafe { _mm256_srl_epi16(a, _mm_cvtsi32_si128(BITS as i32)) }
            }
            #[inline(always)]
            unsafe fn load_pairs(at: *const u8) -> __m256i {
                unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(at.cast())) }
            }
            #[inline(always)]
            unsafe fn splat_int(value: i32) -> __m256i {
                unsafe { _mm256_set1_epi32(value) }
            }
            #[inline(always)]
            unsafe fn add_ints(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_add_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn to_floats(a: __m256i) -> __m256 {
                unsafe { _mm256_cvtepi32_ps(a) }
            }
            #[inline(always)]
            unsafe fn to_ints(a: __m256) -> __m256i {
                unsafe { _mm256_cvtps_epi32(a) }
            }
            #[inline(always)]
            unsafe fn splat(value: f32) -> __m256 {
                unsafe { _mm256_set1_ps(value) }
            }
            #[inline(always)]
            unsafe fn load_halves(at: *const u8) -> __m256 {
                unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
            }
            #[inline(always)]
            unsafe fn load_short_floats(at: *const u8) -> __m256 {
                unsafe {
                    let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
                }
            }
            #[inline(always)]
            unsafe fn load_unsigned(at: *const u8) -> __m256 {
                unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast()))) }
            }
            #[inline(always)]
            unsafe fn load_signed(at: *const u8) -> __m256 {
                unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))) }
            }
            #[inline(always)]
            unsafe fn load_floats(at: *const f32) -> __m256 {
                unsafe { _mm256_loadu_ps(at) }
            }

            #[inline(always)]
            unsafe fn store(at: *mut f32, a: __m256) {
                unsafe { _mm256_storeu_ps(at, a) };
            }
            #[inline(always)]
            unsafe fn multiply(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_mul_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
                unsafe { _mm256_fmadd_ps(a, b, c) }
            }
            #[inline(always)]
            unsafe fn multiply_subtract(a: __m256, b: __m256, c: __m256) -> __m256 {
                unsafe { _mm256_fnmadd_ps(a, b, c) }
            }
            #[inline(always)]
            unsafe fn prefetch_far(at: *const u8) {
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
            }

            #[inline(always)]
            unsafe fn prefetch_near(at: *const u8) {
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
            }
        }
    };
}

eight_columns! { Avx2,
    unsafe fn dot(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        unsafe { add_pairs(sum, _mm256_maddubs_epi16(unsigned, signed)) }
    }

    unsafe fn begin_biased(_: i32) -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }

    // Two products of 128 and 127 fit 16 bits, so the weights' magnitudes meet the activations with the weights' signs.
    unsafe fn dot_biased(sum: __m256i, biased: __m256i, signed: __m256i) -> __m256i {
        unsafe {
            let weights = _mm256_xor_si256(biased, _mm256_set1_epi8(-128));
            add_pairs(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(signed, weights)))
        }
    }

    unsafe fn dot_pairs(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
    }
}

eight_columns! { AvxVnni,
    unsafe fn dot(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, unsigned, signed) }
    }

    unsafe fn begin_biased(sum_of_signed: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(-128 * sum_of_signed) }
    }

    unsafe fn dot_biased(sum: __m256i, biased: __m256i, signed: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, biased, signed) }
    }

    unsafe fn dot_pairs(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_dpwssd_avx_epi32(sum, a, b) }
    }
}

/// Adds pairs of 16-bit numbers.
#[inline(always)]
unsafe fn add_pairs(sum: __m256i, pairs: __m256i) -> __m256i {
    // SAFETY: the processor has AVX2.
    unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))) }
}
