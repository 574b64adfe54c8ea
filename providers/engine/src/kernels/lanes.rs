//! The registers of one instruction set, as the products see them: a register holds four bytes, one whole number or one
//! fraction for each of some columns.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod portable;

/// Columns of a tile, whatever the register's width.
pub(super) const TILE_COLUMNS: usize = 16;

/// One instruction set's registers. Every operation gives the same bits on each of them.
///
/// # Safety
/// Callers have made sure that the processor has the instructions, and pointers are good for what is read or written:
/// [`Lanes::COLUMNS`] elements, or four bytes a column.
pub(super) trait Lanes {
    /// Columns of one register: 8 or 16.
    const COLUMNS: usize;
    /// Four bytes a column.
    type Bytes: Copy;
    /// A 32-bit whole number a column.
    type Ints: Copy;
    /// A 32-bit fraction a column.
    type Floats: Copy;

    unsafe fn load(at: *const u8) -> Self::Bytes;
    /// The same byte everywhere.
    unsafe fn splat_byte(value: u8) -> Self::Bytes;
    /// The same four bytes in every column.
    unsafe fn splat_four(at: *const i8) -> Self::Bytes;
    unsafe fn and(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    unsafe fn or(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Shifts each pair of bytes as one 16-bit number.
    unsafe fn shift_left<const BITS: u32>(a: Self::Bytes) -> Self::Bytes;
    /// Shifts each pair of bytes as one 16-bit number.
    unsafe fn shift_right<const BITS: u32>(a: Self::Bytes) -> Self::Bytes;

    /// Adds the products of four bytes: `unsigned` at most 63, `signed` at least -127.
    unsafe fn dot(sum: Self::Ints, unsigned: Self::Bytes, signed: Self::Bytes) -> Self::Ints;
    /// Where a sum of [`Lanes::dot_biased`] begins, given the sum of all bytes that its `signed` will have.
    unsafe fn begin_biased(sum_of_signed: i32) -> Self::Ints;
    /// Adds the products of four bytes, `biased` less 128 and `signed`, which is at least -127.
    unsafe fn dot_biased(sum: Self::Ints, biased: Self::Bytes, signed: Self::Bytes) -> Self::Ints;
    /// Adds the products of two pairs of 16-bit numbers.
    unsafe fn dot_pairs(sum: Self::Ints, a: Self::Bytes, b: Self::Bytes) -> Self::Ints;
    /// Two bytes a column as two 16-bit numbers.
    unsafe fn load_pairs(at: *const u8) -> Self::Bytes;

    unsafe fn splat_int(value: i32) -> Self::Ints;
    unsafe fn add_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Rounds to nearest, ties to even.
    unsafe fn to_floats(a: Self::Ints) -> Self::Floats;
    /// Of whole numbers.
    unsafe fn to_ints(a: Self::Floats) -> Self::Ints;

    unsafe fn splat(value: f32) -> Self::Floats;
    /// A half-precision number a column.
    unsafe fn load_halves(at: *const u8) -> Self::Floats;
    /// The upper half of a 32-bit fraction a column, as in BF16.
    unsafe fn load_short_floats(at: *const u8) -> Self::Floats;
    /// A byte a column, as a fraction.
    unsafe fn load_unsigned(at: *const u8) -> Self::Floats;
    /// A signed byte a column, as a fraction.
    unsafe fn load_signed(at: *const u8) -> Self::Floats;
    unsafe fn load_floats(at: *const f32) -> Self::Floats;
    unsafe fn store(at: *mut f32, a: Self::Floats);
    unsafe fn multiply(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    unsafe fn multiply_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// `c - a * b`, rounded once.
    unsafe fn multiply_subtract(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Asks for the line at `at`, which need not exist, to come to the second cache.
    unsafe fn prefetch_far(at: *const u8);
    /// Asks for the line at `at`, which need not exist, to come to the first cache.
    unsafe fn prefetch_near(at: *const u8);
}
