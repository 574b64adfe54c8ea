//! Displays where nothing can be rewritten, as in a pipe or a report. One that will soon be another is not shown until it stays as it is; one
//! that is replaced after it was shown is shown once more, at the end.

use perilune_protocol::{DisplayData, MimeBundle};
use serde_json::Value;

/// The displays that wait.
#[derive(Debug, Default)]
pub struct Held(Vec<Display>);

#[derive(Debug)]
struct Display {
    id: String,
    data: MimeBundle,
    /// Nothing of it was shown yet.
    unseen: bool,
}

impl Held {
    /// A display that is new, or with `update` another than before; gives back what is to be shown now.
    pub fn display(&mut self, display: DisplayData, update: bool) -> Option<MimeBundle> {
        let DisplayData { data, transient, .. } = display;
        let Some(id) = transient.get("display_id").and_then(Value::as_str) else {
            return (!update).then_some(data);
        };
        let before = self.0.iter().position(|held| held.id == id).map(|place| self.0.remove(place));
        let unseen = before.map_or(!update, |before| before.unseen);
        let is_live = transient.get("perilune_live").is_some_and(|live| live == true);
        if unseen && !is_live {
            return Some(data);
        }
        self.0.push(Display { id: id.to_owned(), data, unseen });
        None
    }

    /// The output is cleared; what was shown cannot be taken back.
    pub fn clear(&mut self) {
        self.0.retain(|held| !held.unseen);
    }

    /// What is left to be shown, oldest change first.
    pub fn take(&mut self) -> Vec<MimeBundle> {
        self.0.drain(..).map(|held| held.data).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn display(text: &str, live: bool) -> DisplayData {
        let transient =
            if live { json!({"display_id": "p", "perilune_live": true}) } else { json!({"display_id": "p"}) };
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        DisplayData {
            data: object(json!({ "text/plain": text })),
            transient: object(transient),
            ..DisplayData::default()
        }
    }

    fn texts(shown: impl IntoIterator<Item = MimeBundle>) -> Vec<Value> {
        shown.into_iter().filter_map(|mut data| data.remove("text/plain")).collect()
    }

    #[test]
    fn what_will_soon_be_another_is_shown_once_it_stays() {
        let mut held = Held::default();
        assert_eq!(texts(held.display(display("0 %", true), false)), [""; 0]);
        assert_eq!(texts(held.display(display("50 %", true), true)), [""; 0]);
        assert_eq!(texts(held.display(display("100 %", false), true)), ["100 %"]);
        assert_eq!(texts(held.take()), [""; 0]);
        held.display(display("1 %", true), false);
        assert_eq!(texts(held.take()), ["1 %"]);
        held.display(display("gone", true), false);
        held.clear();
        assert_eq!(texts(held.take()), [""; 0]);
    }

    #[test]
    fn what_was_shown_is_shown_as_it_was_last() {
        let mut held = Held::default();
        assert_eq!(texts(held.display(display("first", false), false)), ["first"]);
        assert_eq!(texts(held.display(display("second", false), true)), [""; 0]);
        assert_eq!(texts(held.display(display("third", true), true)), [""; 0]);
        held.clear();
        assert_eq!(texts(held.take()), ["third"]);
    }
}
