//! Lines that begin with a slash: they are for this program, and not for the model.

use std::path::PathBuf;

/// What `/help` prints.
pub const HELP: &str = "\
/model [NAME]   say which model answers, or change it
/system [TEXT]  say what the model is told about its part, or change it;
                `/system none` tells it nothing
/reset          forget what was said
/usage          say what the answers took
/save FILE      write it all down: as JSON if FILE ends in .json, else Markdown
/help           say this
/exit           leave, like Ctrl-D

Alt-Enter starts another line, and so does a pasted line end. Ctrl-C stops an
answer; what was said of it stays. Two slashes make a message that begins with
one: //etc/hosts
";

/// A line as it is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'line> {
    /// Words for the model.
    Message(&'line str),
    /// A wish.
    Command(Command<'line>),
    /// A slash and something that is no command, or one that lacks something.
    Wrong(String),
}

/// A wish.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'line> {
    /// Say what there is.
    Help,
    /// Forget what was said.
    Reset,
    /// Say the model, or change it.
    Model(Option<&'line str>),
    /// Say the model's part, or change it.
    System(Option<&'line str>),
    /// Say what was spent.
    Usage,
    /// Write the conversation down.
    Save(PathBuf),
    /// Leave.
    Exit,
}

/// Reads a line.
pub fn read(line: &str) -> Line<'_> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else { return Line::Message(line) };
    if command.starts_with('/') {
        return Line::Message(command);
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
    Line::Command(match (name, rest) {
        ("help", _) => Command::Help,
        ("reset", _) => Command::Reset,
        ("model", name) => Command::Model(name),
        ("system", text) => Command::System(text),
        ("usage", _) => Command::Usage,
        ("save", Some(file)) => Command::Save(PathBuf::from(file)),
        ("save", None) => return Line::Wrong("`/save` needs the name of a file".to_owned()),
        ("exit" | "quit", _) => Command::Exit,
        _ => return Line::Wrong(format!("unknown command `/{name}`; `/help` lists them")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_command_and_two_make_a_message() {
        assert_eq!(read(" hi /there\nyou "), Line::Message("hi /there\nyou"));
        assert_eq!(read("//etc/hosts"), Line::Message("/etc/hosts"));
        assert_eq!(read("/model  local/m@b "), Line::Command(Command::Model(Some("local/m@b"))));
        assert_eq!(read("/system be kind\nand brief"), Line::Command(Command::System(Some("be kind\nand brief"))));
        assert_eq!(read("/save a b.md"), Line::Command(Command::Save("a b.md".into())));
        assert!(matches!(read("/save"), Line::Wrong(_)));
        assert!(matches!(read("/rest"), Line::Wrong(problem) if problem.contains("`/rest`")));
    }
}
