//! `%help`: documentation, in the frontend's pager.

use std::fmt::Write as _;

use perilune_bridge::{Failure, MimeBundle, Output, Rich, documentation};

use super::{Place, failure, summaries};

pub(super) async fn run(place: &Place<'_>, name: &str) -> Result<(), Failure> {
    let page = match name.trim_end_matches("()") {
        "" => overview(),
        name => match documentation().find(name) {
            Some(entry) => entry.page(),
            None => return Err(unknown(name)),
        },
    };
    place.io.show(Output::Page(page)).await;
    Ok(())
}

fn unknown(name: &str) -> Failure {
    let near: Vec<String> = documentation().near(name).iter().map(|near| format!("`{near}`")).collect();
    let near = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
    failure("not_found", format!("there is no documentation of `{name}`{near}; `%help` lists what there is"))
}

/// Every magic, and the names of everything else.
fn overview() -> Rich {
    let (mut plain, mut markdown) = ("Magics\n".to_owned(), "## Magics\n\n".to_owned());
    for (form, summary) in summaries() {
        let _ = write!(plain, "\n  {form}\n      {summary}\n");
        let _ = writeln!(markdown, "- `{form}`: {summary}");
    }
    let hint = "Write %help NAME for one of these, or NAME? in a cell.";
    let _ = write!(plain, "\n{hint}\n");
    let _ = write!(markdown, "\n{}\n", hint.replace("%help NAME", "`%help NAME`").replace("NAME?", "`NAME?`"));
    for area in documentation().areas() {
        let names: Vec<&str> = documentation().entries_of(area).iter().map(|entry| entry.name.as_str()).collect();
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(plain, "\n{}\n  {}\n", area.title, names.join(", "));
        let _ = write!(markdown, "\n## {}\n\n{}\n", area.title, quoted.join(", "));
    }
    let data =
        MimeBundle::from_iter([("text/plain".to_owned(), plain.into()), ("text/markdown".to_owned(), markdown.into())]);
    Rich { data, metadata: MimeBundle::new() }
}
