//! What `io.read` reads: lines that the client sends when asked, in the formats of Lua's `read`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{IntoLua, Lua, Value};

use crate::cell::{CellIo, InputError};
use crate::script_error::ScriptError;

/// Lua reads no numeral longer than this.
const LONGEST_NUMERAL: usize = 200;

/// Input that came and has not been read yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    ended: bool,
}

/// One format of `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `l` and `L`: a line, without or with its newline.
    Line { newline: bool },
    /// `n`: a numeral.
    Number,
    /// `a`: everything.
    All,
    /// At most so many bytes.
    Bytes(usize),
}

/// What one format yielded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Text(Vec<u8>),
    Numeral(String),
    Nothing,
}

impl Format {
    /// The format a script wrote, which the prelude has checked.
    pub(crate) fn parse(value: &Value) -> Option<Format> {
        match value {
            Value::Integer(count) => usize::try_from(*count).ok().map(Format::Bytes),
            Value::Number(count) => Some(Format::Bytes(*count as usize)),
            Value::String(text) => {
                let bytes = text.as_bytes();
                let letter = match &bytes[..] {
                    [b'*', letter, ..] | [letter, ..] => *letter,
                    [] => return None,
                };
                match letter {
                    b'l' => Some(Format::Line { newline: false }),
                    b'L' => Some(Format::Line { newline: true }),
                    b'n' => Some(Format::Number),
                    b'a' => Some(Format::All),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Reads the formats in turn, up to the first that yields nothing.
pub(crate) async fn read(
    io: Arc<dyn CellIo>,
    input: Rc<RefCell<Input>>,
    formats: Vec<Format>,
) -> Result<Vec<Item>, ScriptError> {
    let mut reader = Reader { io, input };
    let mut items = Vec::with_capacity(formats.len());
    for format in formats {
        let item = match format {
            Format::Line { newline } => reader.line(newline).await?,
            Format::Number => reader.number().await?,
            Format::All => reader.all().await?,
            Format::Bytes(count) => reader.bytes(count).await?,
        };
        let nothing = item == Item::Nothing;
        items.push(item);
        if nothing {
            break;
        }
    }
    Ok(items)
}

/// Asks for one line beside what was read so far; `None` is the end of the input.
pub(crate) async fn ask(io: Arc<dyn CellIo>, prompt: String, password: bool) -> Result<Option<String>, ScriptError> {
    io.read_line(prompt, password).await.map_err(|error| failed(&error))
}

fn failed(error: &InputError) -> ScriptError {
    let kind = match error {
        InputError::Interrupted => return ScriptError::interrupted(),
        InputError::NotAllowed => "input_not_allowed",
        InputError::Failed(_) => "input",
    };
    ScriptError::new(kind, error.to_string())
}

struct Reader {
    io: Arc<dyn CellIo>,
    input: Rc<RefCell<Input>>,
}

impl Reader {
    /// Asks for one more line; says whether there was one.
    async fn fill(&mut self) -> Result<bool, ScriptError> {
        if self.input.borrow().ended {
            return Ok(false);
        }
        match self.io.read_line(String::new(), false).await {
            Ok(Some(line)) => {
                let mut input = self.input.borrow_mut();
                input.bytes.extend_from_slice(line.as_bytes());
                input.bytes.push(b'\n');
                Ok(true)
            }
            Ok(None) => {
                self.input.borrow_mut().ended = true;
                Ok(false)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn take(&self, count: usize) -> Vec<u8> {
        self.input.borrow_mut().bytes.drain(..count).collect()
    }

    async fn line(&mut self, newline: bool) -> Result<Item, ScriptError> {
        loop {
            let end = self.input.borrow().bytes.iter().position(|&byte| byte == b'\n');
            if let Some(end) = end {
                let mut line = self.take(end + 1);
                if !newline {
                    line.pop();
                }
                return Ok(Item::Text(line));
            }
            if !self.fill().await? {
                let length = self.input.borrow().bytes.len();
                return Ok(match length {
                    0 => Item::Nothing,
                    _ => Item::Text(self.take(length)),
                });
            }
        }
    }

    async fn all(&mut self) -> Result<Item, ScriptError> {
        while self.fill().await? {}
        let length = self.input.borrow().bytes.len();
        Ok(Item::Text(self.take(length)))
    }

    async fn bytes(&mut self, count: usize) -> Result<Item, ScriptError> {
        while self.input.borrow().bytes.len() < count.max(1) {
            if !self.fill().await? {
                break;
            }
        }
        let length = self.input.borrow().bytes.len();
        Ok(match length {
            0 => Item::Nothing,
            _ => Item::Text(self.take(count.min(length))),
        })
    }

    /// The byte at `position` of what is left to read.
    async fn peek(&mut self, position: usize) -> Result<Option<u8>, ScriptError> {
        while self.input.borrow().bytes.len() <= position {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        Ok(self.input.borrow().bytes.get(position).copied())
    }

    /// Reads as much as could be a numeral, as `read_number` of Lua's `liolib.c` does.
    async fn number(&mut self) -> Result<Item, ScriptError> {
        let mut start = 0;
        while self.peek(start).await?.is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0x0b) {
            start += 1;
        }
        self.take(start);
        let mut length = 0;
        if matches!(self.peek(length).await?, Some(b'+' | b'-')) {
            length += 1;
        }
        let mut hexadecimal = false;
        let zero = self.peek(length).await? == Some(b'0');
        if zero {
            length += 1;
            if matches!(self.peek(length).await?, Some(b'x' | b'X')) {
                hexadecimal = true;
                length += 1;
            }
        }
        let mut digits = usize::from(zero && !hexadecimal);
        let integral = self.digits(length, hexadecimal).await?;
        digits += integral - length;
        length = integral;
        if self.peek(length).await? == Some(b'.') {
            let fraction = self.digits(length + 1, hexadecimal).await?;
            digits += fraction - length - 1;
            length = fraction;
        }
        let exponent = match self.peek(length).await? {
            Some(b'p' | b'P') => hexadecimal,
            Some(b'e' | b'E') => !hexadecimal,
            _ => false,
        };
        if exponent {
            length += 1;
            if matches!(self.peek(length).await?, Some(b'+' | b'-')) {
                length += 1;
            }
            let power = self.digits(length, false).await?;
            digits = if power == length { 0 } else { digits };
            length = power;
        }
        let text = self.take(length);
        if digits == 0 {
            return Ok(Item::Nothing);
        }
        Ok(Item::Numeral(String::from_utf8_lossy(&text).into_owned()))
    }

    async fn digits(&mut self, mut position: usize, hexadecimal: bool) -> Result<usize, ScriptError> {
        while position < LONGEST_NUMERAL
            && self.peek(position).await?.is_some_and(|byte| match hexadecimal {
                true => byte.is_ascii_hexdigit(),
                false => byte.is_ascii_digit(),
            })
        {
            position += 1;
        }
        Ok(position)
    }
}

impl IntoLua for Item {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Item::Text(bytes) => lua.create_string(bytes).map(Value::String),
            Item::Nothing => Ok(Value::Nil),
            Item::Numeral(text) => {
                let hexadecimal = text.contains(['x', 'X']);
                let float =
                    text.contains('.') || text.contains(['p', 'P']) || !hexadecimal && text.contains(['e', 'E']);
                let value = Value::String(lua.create_string(&text)?);
                let integer = if float { None } else { lua.coerce_integer(value.clone())? };
                Ok(match integer {
                    Some(integer) => Value::Integer(integer),
                    None => lua.coerce_number(value)?.map_or(Value::Nil, Value::Number),
                })
            }
        }
    }
}
