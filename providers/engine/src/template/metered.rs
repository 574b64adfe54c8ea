//! Templates with a meter: the program that minijinja makes of a source gets an instruction before each one that may use much
//! memory or time, which charges its inputs to the [`allowance`]. Fuel alone counts instructions, and one may double a text.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::machinery::{CompiledTemplate, Instruction, Instructions, TemplateConfig, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Object;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};

use super::ChatTemplate;
use super::allowance::{self, How};

/// Tokens within one pair of brackets, and `elif`s: minijinja's compiler goes as deep as these chains are long.
const MOST_TOKENS: usize = 1000;
const MOST_ELIFS: usize = 200;

/// The functions by which the program charges. Their names are no identifiers, so that no template can use or change them.
const INPUTS: &str = "charge-inputs";
const CALL: &str = "charge-call";
const PRODUCT: &str = "charge-product";
const SURFACE: &str = "charge-surface";
const STORED: &str = "charge-stored";
/// Bytes that a macro keeps of each name around it until the rendering ends, and of itself, every time it is declared.
const MACRO_BYTES: usize = 256;

/// A constant that no multiplication can be folded with, so that texts are not multiplied before anything is charged.
const ONE: &str = "perilune_one";

/// A program that charges for what it does.
pub(super) struct Metered<'a> {
    pub(super) instructions: Instructions<'a>,
    pub(super) blocks: BTreeMap<&'a str, Instructions<'a>>,
}

/// What a template's source becomes before it is compiled; fails for one that would hurt the compiler.
pub(super) fn prepare(source: &str, syntax: &SyntaxConfig) -> Result<String, Error> {
    let refused = |problem: String| Error::new(ErrorKind::SyntaxError, problem);
    let most = ChatTemplate::MOST_SOURCE;
    if source.len() > most {
        return Err(refused(format!("it has {} bytes, expected at most {most}", source.len())));
    }
    let (mut tokens, mut elifs, mut copied) = (0, 0, 0);
    let mut prepared = String::with_capacity(source.len());
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token?;
        match token {
            Token::BlockStart | Token::VariableStart => tokens = 0,
            Token::Ident("elif") => elifs += 1,
            Token::Mul => {
                let end = span.end_offset as usize;
                prepared.push_str(&source[copied..end]);
                prepared.push_str(&format!(" {ONE} *"));
                copied = end;
            }
            _ => {}
        }
        tokens += 1;
        if tokens > MOST_TOKENS {
            let line = span.start_line;
            return Err(refused(format!("line {line} has more than {MOST_TOKENS} words within one pair of brackets")));
        }
        if elifs > MOST_ELIFS {
            return Err(refused(format!("it has more than {MOST_ELIFS} `elif`s")));
        }
    }
    prepared.push_str(&source[copied..]);
    Ok(prepared)
}

/// The program of a source that [`prepare`] made.
pub(super) fn compile<'a>(name: &'a str, source: &'a str, syntax: SyntaxConfig) -> Result<Metered<'a>, Error> {
    let config = TemplateConfig { syntax_config: syntax, default_auto_escape: Arc::new(|_| AutoEscape::None) };
    let CompiledTemplate { instructions, blocks, .. } = CompiledTemplate::new(name, source, &config)?;
    let blocks = blocks.iter().map(|(name, block)| Ok((*name, meter(block)?))).collect::<Result<_, Error>>()?;
    Ok(Metered { instructions: meter(&instructions)?, blocks })
}

/// What the program needs of its environment.
pub(super) fn add_meters(environment: &mut Environment<'_>) {
    environment.add_global(ONE, 1);
    for (name, how) in [
        (INPUTS, How::Inputs),
        (CALL, How::Call),
        (PRODUCT, How::Product),
        (SURFACE, How::Surface),
        (STORED, How::Stored),
    ] {
        environment.add_global(name, Value::from_object(Meter(how)));
    }
}

/// Charges its arguments and gives them back, without the last one where that is a name.
#[derive(Debug)]
struct Meter(How);

impl Object for Meter {
    fn call(self: &Arc<Meter>, _: &mut State<'_, '_>, values: &[Value]) -> Result<Value, Error> {
        allowance::charge(self.0, values)?;
        let values = if self.0 == How::Call { &values[..values.len() - 1] } else { values };
        Ok(match values {
            [value] => value.clone(),
            // Unpacking puts the first one on top.
            values => values.iter().rev().cloned().collect(),
        })
    }
}

/// The same program with charges in it.
fn meter<'a>(program: &Instructions<'a>) -> Result<Instructions<'a>, Error> {
    let mut metered = Instructions::new(program.name(), program.source());
    // Where each instruction begins now, and where the next one will.
    let mut places = Vec::new();
    let mut length = 0;
    for index in 0.. {
        places.push(length);
        let Some(instruction) = program.get(index) else { break };
        let line = program.get_line(index).unwrap_or_default() as u16;
        for instruction in with_charge(instruction)? {
            length = metered.add_with_line(instruction, line) + 1;
        }
    }
    for index in 0..length {
        if let Some(
            Instruction::Iterate(target)
            | Instruction::Jump(target)
            | Instruction::JumpIfFalse(target)
            | Instruction::JumpIfFalseOrPop(target)
            | Instruction::JumpIfTrueOrPop(target)
            | Instruction::BuildMacro(_, target, _),
        ) = metered.get_mut(index)
        {
            *target = places[*target as usize];
        }
    }
    Ok(metered)
}

fn with_charge<'a>(instruction: &Instruction<'a>) -> Result<Vec<Instruction<'a>>, Error> {
    let charge = |how, count: usize| {
        let mut charge = vec![Instruction::CallFunction(how, Some(count as u16))];
        let left = if how == CALL { count - 1 } else { count };
        if left != 1 {
            charge.push(Instruction::UnpackList(left));
        }
        charge
    };
    let mut program = match instruction {
        // Written like a value, so that it is charged like one.
        Instruction::EmitRaw(text) => {
            return Ok(vec![Instruction::LoadConst(Value::from(*text)), Instruction::Emit]);
        }
        Instruction::Add
        | Instruction::StringConcat
        | Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::In
        | Instruction::CompareAndPreserve(_) => charge(INPUTS, 2),
        Instruction::Mul => charge(PRODUCT, 2),
        Instruction::GetItem => charge(SURFACE, 2),
        Instruction::Slice => charge(SURFACE, 4),
        Instruction::UnpackList(_) => charge(INPUTS, 1),
        Instruction::BuildList(Some(count)) | Instruction::BuildTuple(Some(count)) if *count > 0 => {
            charge(STORED, *count)
        }
        Instruction::BuildMap(pairs) if *pairs > 0 => charge(STORED, pairs * 2),
        // The namespace is on top.
        Instruction::SetAttr(_) => {
            let mut program = vec![Instruction::Swap];
            program.extend(charge(STORED, 1));
            program.push(Instruction::Swap);
            program
        }
        Instruction::Enclose(_) | Instruction::BuildMacro(..) => {
            let mut program = vec![Instruction::LoadConst(Value::from(" ".repeat(MACRO_BYTES)))];
            program.extend(charge(INPUTS, 1));
            program.push(Instruction::DiscardTop);
            program
        }
        Instruction::ApplyFilter(name, Some(count), _)
        | Instruction::PerformTest(name, Some(count), _)
        | Instruction::CallFunction(name, Some(count))
        | Instruction::CallMethod(name, Some(count))
            if *count > 0 =>
        {
            let mut program = vec![Instruction::LoadConst(Value::from(*name))];
            program.extend(charge(CALL, usize::from(*count) + 1));
            program
        }
        Instruction::CallObject(Some(count)) => charge(INPUTS, usize::from(*count)),
        // As many values as a list has: known only when it runs. (A loop with a condition builds such a list too, but takes a
        // step for each element.)
        Instruction::UnpackLists(_) | Instruction::MergeKwargs(_) => {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                "it spreads a list over a call (`*` or `**`), which does not run",
            ));
        }
        _ => Vec::new(),
    };
    program.push(instruction.clone());
    Ok(program)
}
