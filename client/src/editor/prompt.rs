//! What stands before the text that is edited.

use std::borrow::Cow;

use reedline::{Color, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus};

/// A prompt for the first line, and its likeness for those that follow.
#[derive(Clone, Debug)]
pub struct Prompt {
    first: String,
    following: String,
}

impl Prompt {
    /// `[3]> `, and as wide for the following lines.
    pub fn numbered(number: u32) -> Prompt {
        let first = format!("[{number}]> ");
        let following = format!("{:>1$} ", "|", first.len() - 1);
        Prompt { first, following }
    }

    /// A sign of its own, and dots for the following lines.
    pub fn sign(first: &str, following: &str) -> Prompt {
        Prompt { first: first.to_owned(), following: following.to_owned() }
    }
}

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.first)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.following)
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let found = match search.status {
            PromptHistorySearchStatus::Passing => "search",
            PromptHistorySearchStatus::Failing => "nothing found",
        };
        Cow::Owned(format!("({found}: {}) ", search.term))
    }

    fn get_prompt_color(&self) -> Color {
        Color::Cyan
    }

    fn get_prompt_multiline_color(&self) -> Color {
        Color::DarkGray
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_following_lines_stand_below_the_first() {
        let prompt = Prompt::numbered(12);
        assert_eq!((prompt.first.as_str(), prompt.following.as_str()), ("[12]> ", "    | "));
    }
}
