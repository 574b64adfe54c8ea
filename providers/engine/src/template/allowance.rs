//! How much a rendering may do: bytes that its operations read and make, all of them together. What it has in memory at once
//! is less. A value counts for what it would be written out: one list that is in another twice counts twice.

use std::cell::Cell;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Bytes for every rendering, and for each byte of the conversation and its tools, which templates go over many times.
const BASE: usize = 16 << 20;
const FOR_EACH_BYTE: usize = 512;
/// Bytes of a value beside its text or its elements.
const VALUE: usize = 32;
/// What most filters and methods may make of a byte of their inputs: an escaped character, a copy in another type.
const CALL: usize = 6;
/// How deep values may lie within each other; to write or to drop one takes stack for each level.
const MOST_DEPTH: usize = 64;
/// Numbers beyond this are no widths or counts of columns.
const MOST_WIDTH: i64 = 1000;

thread_local! {
    /// Of the rendering on this thread: what is left, and what it began with.
    static LEFT: Cell<usize> = const { Cell::new(0) };
    static WHOLE: Cell<usize> = const { Cell::new(0) };
}

/// What an operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// All of its inputs.
    Inputs,
    /// What the filter, test, function or method that the last of them names makes of the others.
    Call,
    /// The first, as often as the second says, or the other way round.
    Product,
    /// The first without what its elements are made of, and the others.
    Surface,
    /// All of its inputs, which become part of a value. Namespaces may not: one that is in itself is never freed.
    Stored,
}

/// Begins a rendering of a conversation of so many bytes.
pub(super) fn begin(conversation: usize) {
    let whole = conversation.saturating_mul(FOR_EACH_BYTE).saturating_add(BASE);
    WHOLE.set(whole);
    LEFT.set(whole);
}

/// Takes `bytes` from what is left.
fn spend(bytes: usize) -> Result<(), Error> {
    let Some(left) = LEFT.get().checked_sub(bytes) else {
        let whole = WHOLE.get();
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!(
                "it makes more of this conversation than the {whole} bytes that a rendering of it may work through"
            ),
        ));
    };
    LEFT.set(left);
    Ok(())
}

/// Charges an operation on `values` before it is done.
pub(super) fn charge(how: How, values: &[Value]) -> Result<(), Error> {
    match (how, values) {
        (How::Call, [values @ .., name]) => charge_call(name.as_str().unwrap_or_default(), values),
        (How::Product, [left, right]) => {
            let (left_bytes, right_bytes) = (weigh(left)?, weigh(right)?);
            let times = |number: &Value| number.as_i64().map_or(1, |times| times.clamp(1, 1 << 40) as usize);
            spend(left_bytes.saturating_mul(times(right)).max(right_bytes.saturating_mul(times(left))))
        }
        (How::Surface, [first, others @ ..]) => {
            weigh_surface(first)?;
            others.iter().try_for_each(|value| weigh(value).map(|_| ()))
        }
        (How::Stored, values) => values.iter().try_for_each(|value| weigh_at(value, 0, false).map(|_| ())),
        (_, values) => values.iter().try_for_each(|value| weigh(value).map(|_| ())),
    }
}

/// Charges a call of a filter, test, function or method.
fn charge_call(name: &str, values: &[Value]) -> Result<(), Error> {
    if looks_at_the_surface(name) {
        return values.iter().try_for_each(weigh_surface);
    }
    let mut bytes = 0;
    for value in values {
        bytes += weigh_at(value, 0, !matches!(name, "namespace" | "dict"))?;
    }
    let (first, others) = match values {
        [] => return Ok(()),
        [first, others @ ..] => (first, others),
    };
    let argument = |index: usize| others.get(index).map_or("", |value| value.as_str().unwrap_or_default());
    let found = |part: &str| match first.as_str() {
        Some(text) if part.is_empty() => text.len() + 1,
        Some(text) => text.matches(part).count(),
        None => 0,
    };
    match name {
        "replace" => spend(found(argument(0)).saturating_mul(argument(1).len()))?,
        "split" | "splitlines" | "lines" => spend((found(argument(0)) + 1) * 2 * VALUE)?,
        "join" => {
            let pairs = others.iter().flat_map(|other| [(first, other), (other, first)]);
            for (list, text) in pairs {
                spend(count(list).saturating_mul(text_bytes(text)))?;
            }
        }
        "indent" | "batch" | "slice" | "center" | "ljust" | "rjust" | "zfill" | "expandtabs" | "round" => {
            let width = values.iter().map(largest_number).max().unwrap_or_default();
            if width > MOST_WIDTH {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("`{name}` is given {width}, expected at most {MOST_WIDTH}"),
                ));
            }
            spend(bytes.saturating_mul(width.max(1) as usize))?;
        }
        "format" => {
            let text = first.as_str().unwrap_or_default();
            if text.split(|character: char| !character.is_ascii_digit()).any(|digits| digits.len() > 3)
                || values.iter().map(largest_number).any(|number| text.contains('*') && number > MOST_WIDTH)
            {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("`format` is given a width beyond {MOST_WIDTH}, which does not run"),
                ));
            }
            spend(text.matches(['%', '{']).count().saturating_mul(bytes + MOST_WIDTH as usize))?;
        }
        // They go through the rest of their arguments for every element.
        "select" | "reject" | "selectattr" | "rejectattr" | "map" => {
            let rest = others.iter().map(|value| weigh(value).unwrap_or(usize::MAX)).fold(0, usize::saturating_add);
            spend(count(first).saturating_mul(rest))?;
            if name == "map" && !argument(0).is_empty() {
                for item in first.try_iter().into_iter().flatten() {
                    let inner: Vec<Value> = std::iter::once(item).chain(others[1..].iter().cloned()).collect();
                    charge_call(argument(0), &inner)?;
                }
            }
        }
        _ => {}
    }
    // A text that is taken apart becomes a value for every character.
    if first.kind() == ValueKind::String && takes_apart(name) {
        spend(text_bytes(first).saturating_mul(2 * VALUE))?;
    }
    spend(bytes.saturating_mul(CALL))
}

/// Whether a call leaves alone what its arguments are made of. Templates ask for the length of a conversation again and again.
fn looks_at_the_surface(name: &str) -> bool {
    matches!(
        name,
        "length"
            | "count"
            | "first"
            | "last"
            | "get"
            | "default"
            | "d"
            | "defined"
            | "undefined"
            | "none"
            | "number"
            | "boolean"
            | "integer"
            | "float"
            | "mapping"
            | "iterable"
            | "sequence"
            | "true"
            | "false"
            | "startswith"
            | "endswith"
    )
}

/// Whether a filter goes through a text's characters one by one.
fn takes_apart(name: &str) -> bool {
    matches!(
        name,
        "list"
            | "batch"
            | "slice"
            | "map"
            | "select"
            | "reject"
            | "selectattr"
            | "rejectattr"
            | "sort"
            | "unique"
            | "reverse"
            | "join"
            | "groupby"
            | "zip"
            | "chain"
            | "dictsort"
            | "items"
            | "sum"
            | "min"
            | "max"
    )
}

/// Charges a value without what its elements are made of.
fn weigh_surface(value: &Value) -> Result<(), Error> {
    spend(VALUE + text_bytes(value))?;
    match value.len() {
        _ if value.kind() == ValueKind::String => Ok(()),
        Some(count) => spend(count.saturating_mul(VALUE)),
        // Its length is known only to whoever goes through it.
        None => value.try_iter().into_iter().flatten().try_for_each(|_| spend(VALUE)),
    }
}

/// Charges a value's size, and says it.
pub(super) fn weigh(value: &Value) -> Result<usize, Error> {
    weigh_at(value, 0, true)
}

fn weigh_at(value: &Value, depth: usize, namespaces: bool) -> Result<usize, Error> {
    let mut bytes = VALUE + text_bytes(value);
    spend(bytes)?;
    let is_made_of_others = matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable);
    if !is_made_of_others {
        return Ok(bytes);
    }
    if depth == MOST_DEPTH {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("its values lie within each other more than {MOST_DEPTH} deep"),
        ));
    }
    if !namespaces && is_namespace(value) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "it puts a namespace into another value, which does not run; put what the namespace holds there",
        ));
    }
    for item in value.try_iter()? {
        bytes = bytes.saturating_add(weigh_at(&item, depth + 1, namespaces)?);
        if value.kind() == ValueKind::Map {
            bytes = bytes.saturating_add(weigh_at(&value.get_item(&item)?, depth + 1, namespaces)?);
        }
    }
    Ok(bytes)
}

/// minijinja tells a namespace from another mapping by its type alone, which is its own.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

fn text_bytes(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

/// Characters of a text, elements of anything else.
fn count(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.len(),
        None => value.try_iter().map_or(0, Iterator::count),
    }
}

/// The largest number among a value's elements, or itself.
fn largest_number(value: &Value) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    match value.kind() {
        ValueKind::Map => {
            let items = value.try_iter().into_iter().flatten();
            items.filter_map(|key| value.get_item(&key).ok()?.as_i64()).max().unwrap_or_default()
        }
        _ => 0,
    }
}
