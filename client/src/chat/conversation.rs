//! What was said so far, what it took, and how it is written down.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use perilune_protocol::{
    ChatMessage, FinishReason, GenerateOptions, GenerateReply, ModelChatRequest, ModelRequest, Role, Usage,
};
use serde_json::json;

use crate::arguments;

/// A conversation with a model.
pub struct Conversation {
    /// The specifier; none is the kernel's default model.
    pub model: Option<String>,
    system: Option<String>,
    seed: Option<u64>,
    /// Question and answer by turns, without the system's.
    messages: Vec<ChatMessage>,
    asked: u64,
    /// What every answer took together.
    pub spent: Spent,
}

/// What answers took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// How many there were.
    pub answers: u32,
    /// Their tokens.
    pub usage: Usage,
    /// Those of them whose tokens the backend did not tell: only their pieces are counted.
    pub untold: u32,
    /// Their time, in milliseconds.
    pub duration_ms: f64,
}

impl Conversation {
    /// Nothing was said yet.
    pub fn new(chat: arguments::Chat) -> Conversation {
        let arguments::Chat { model, system, seed } = chat;
        Conversation { model, system, seed, messages: Vec::new(), asked: 0, spent: Spent::default() }
    }

    /// Asks; the question stays only if [`Conversation::answered`] follows.
    pub fn ask(&mut self, question: &str) -> ModelRequest {
        self.withdraw();
        self.messages.push(message(Role::User, question));
        let seed = self.seed.map(|seed| seed.wrapping_add(self.asked));
        self.asked += 1;
        ModelRequest::Chat(ModelChatRequest {
            model: self.model.clone(),
            messages: self.all(),
            options: GenerateOptions { seed, ..GenerateOptions::default() },
            ..ModelChatRequest::default()
        })
    }

    /// Keeps an answer, and counts what it took. One that was stopped before its first word is none: then false.
    pub fn answered(&mut self, reply: &GenerateReply) -> bool {
        self.spent.answers += 1;
        self.spent.untold += u32::from(reply.usage.untold);
        self.spent.duration_ms += reply.duration_ms;
        let usage = &mut self.spent.usage;
        usage.prompt_tokens += reply.usage.prompt_tokens;
        usage.completion_tokens += reply.usage.completion_tokens;
        usage.cached_tokens += reply.usage.cached_tokens;
        if reply.text.is_empty() && reply.finish_reason == FinishReason::Cancelled {
            self.withdraw();
            return false;
        }
        self.messages.push(message(Role::Assistant, &reply.text));
        true
    }

    /// Takes back a question that was not answered.
    pub fn withdraw(&mut self) {
        self.messages.pop_if(|last| last.role == Role::User);
    }

    /// Forgets what was said; the system's part stays.
    pub fn reset(&mut self) {
        self.messages.clear();
    }

    /// Tells the model another part, from the next question on; an empty text tells it none.
    pub fn set_system(&mut self, text: &str) {
        self.system = (!text.is_empty()).then(|| text.to_owned());
    }

    /// What the model is told about its part.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Whether nothing was said yet.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Writes it to a file that is not there yet: as JSON if its name ends so, else as Markdown.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let text = if is_json {
            let mut text = serde_json::to_string_pretty(&json!({ "model": self.model, "messages": self.all() }))?;
            text.push('\n');
            text
        } else {
            self.all().iter().map(paragraph).collect()
        };
        File::create_new(path)?.write_all(text.as_bytes())
    }

    fn all(&self) -> Vec<ChatMessage> {
        let system = self.system.as_deref().map(|text| message(Role::System, text));
        system.into_iter().chain(self.messages.iter().cloned()).collect()
    }
}

fn message(role: Role, content: &str) -> ChatMessage {
    let (images, tool_calls) = (Vec::new(), Vec::new());
    ChatMessage { role, content: content.to_owned(), images, tool_calls, tool_call_id: None, name: None }
}

fn paragraph(message: &ChatMessage) -> String {
    let speaker = match message.role {
        Role::System => "System",
        Role::User => "You",
        Role::Assistant => "Model",
        Role::Tool => "Tool",
    };
    format!("## {speaker}\n\n{}\n\n", message.content.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Conversation {
        Conversation::new(arguments::Chat { model: None, system: Some("Be brief.".into()), seed: Some(7) })
    }

    fn reply(text: &str, finish_reason: FinishReason) -> GenerateReply {
        GenerateReply {
            text: text.into(),
            thinking: None,
            tool_calls: Vec::new(),
            logprobs: Vec::new(),
            usage: Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() },
            finish_reason,
            model: "local/m@b".into(),
            duration_ms: 1.0,
            route: Vec::new(),
        }
    }

    fn said(request: ModelRequest) -> Vec<(Role, String)> {
        let ModelRequest::Chat(chat) = request else { panic!("not a chat") };
        chat.messages.into_iter().map(|message| (message.role, message.content)).collect()
    }

    #[test]
    fn a_question_carries_what_was_said_and_one_without_answer_goes() {
        let mut conversation = conversation();
        conversation.ask("one");
        assert!(conversation.answered(&reply("1", FinishReason::Stop)));
        conversation.ask("lost");
        assert!(!conversation.answered(&reply("", FinishReason::Cancelled)));
        conversation.ask("refused");
        let roles_and_texts =
            [(Role::System, "Be brief."), (Role::User, "one"), (Role::Assistant, "1"), (Role::User, "two")];
        assert_eq!(said(conversation.ask("two")), roles_and_texts.map(|(role, text)| (role, text.to_owned())));
        assert_eq!((conversation.spent.answers, conversation.spent.usage.prompt_tokens), (2, 6));
    }

    #[test]
    fn it_is_saved_as_its_name_says_and_over_nothing() {
        let mut conversation = conversation();
        conversation.ask("one");
        conversation.answered(&reply("1\n", FinishReason::Stop));
        let folder = tempfile::tempdir().unwrap();
        let (text, json) = (folder.path().join("a.md"), folder.path().join("a.json"));
        conversation.save(&text).unwrap();
        conversation.save(&json).unwrap();
        let markdown = "## System\n\nBe brief.\n\n## You\n\none\n\n## Model\n\n1\n\n";
        assert_eq!(std::fs::read_to_string(&text).unwrap(), markdown);
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(json["messages"][2]["content"], "1\n");
        assert_eq!(conversation.save(&text).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
