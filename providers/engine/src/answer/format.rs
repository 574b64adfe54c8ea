//! The ways in which models write what is not text: where their thinking is, and how they call tools. Which ways a model
//! has is read off its chat template.

/// What stands around a model's thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thinking {
    pub(crate) open: &'static str,
    pub(crate) close: &'static str,
}

/// Every pair that is known: DeepSeek-R1, Qwen3 and most others; Magistral; Command A; Seed-OSS; and models that were trained to
/// write either word out.
const THINKING: [Thinking; 6] = [
    Thinking { open: "<think>", close: "</think>" },
    Thinking { open: "[THINK]", close: "[/THINK]" },
    Thinking { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
    Thinking { open: "<seed:think>", close: "</seed:think>" },
    Thinking { open: "<thinking>", close: "</thinking>" },
    Thinking { open: "<reasoning>", close: "</reasoning>" },
];

/// How a model writes that it calls a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallForm {
    /// Hermes, Qwen: `<tool_call>{"name": .., "arguments": ..}</tool_call>`.
    Tagged,
    /// Llama 3.1 to 3.3: `{"name": .., "parameters": ..}` and nothing else, or the same after `<|python_tag|>`.
    Llama,
    /// Mistral: `[TOOL_CALLS] [{"name": .., "arguments": ..}, ..]`, since 2025 `[TOOL_CALLS]name[ARGS]{..}`.
    Mistral,
    /// Any other that shows its tools: an object or a list of them for an answer, with or without a fence.
    Json,
}

/// Every marker of tool calls, by the form it belongs to.
const CALL_MARKERS: [(&str, CallForm); 3] =
    [("<tool_call>", CallForm::Tagged), ("[TOOL_CALLS]", CallForm::Mistral), ("<|python_tag|>", CallForm::Llama)];

/// Tokens that stand for themselves in an answer although they are control tokens in some vocabularies.
const MARKERS: [&str; 6] = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>"];

/// How one model writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) thinking: Option<Thinking>,
    /// None where its template does not show tools.
    pub(crate) calls: Option<CallForm>,
}

impl Format {
    /// What most models write.
    pub(crate) const COMMON: Format = Format { thinking: Some(THINKING[0]), calls: Some(CallForm::Tagged) };

    /// What the source of a chat template says; `shows_tools` is whether tools come out of it.
    pub(crate) fn of(template: &str, shows_tools: bool) -> Format {
        let thinks = |kind: &Thinking| template.contains(kind.open) || template.contains(kind.close);
        let marked = CALL_MARKERS.iter().find(|(marker, _)| template.contains(marker)).map(|(_, form)| *form);
        // Llama 3.2's template names no marker, but the role that tools answer in.
        let llama = (template.contains("ipython") && template.contains("\"parameters\"")).then_some(CallForm::Llama);
        Format {
            thinking: THINKING.into_iter().find(thinks),
            calls: shows_tools.then(|| marked.or(llama).unwrap_or(CallForm::Json)),
        }
    }

    /// Whether a control token of this name means something in an answer.
    pub(crate) fn reads(self, control_token: &str) -> bool {
        let thinks = |kind: Thinking| control_token == kind.open || control_token == kind.close;
        self.thinking.is_some_and(thinks) || (self.calls.is_some() && MARKERS.contains(&control_token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_tell_how_their_models_write() {
        let calls = |template: &str| Format::of(template, true).calls;
        assert_eq!(calls("return a json object within <tool_call></tool_call> tags"), Some(CallForm::Tagged));
        assert_eq!(calls("{{ '[TOOL_CALLS] ' }}"), Some(CallForm::Mistral));
        assert_eq!(calls("{{- '<|python_tag|>' }}"), Some(CallForm::Llama));
        assert_eq!(calls("ipython {\"name\": function name, \"parameters\": dictionary}"), Some(CallForm::Llama));
        assert_eq!(calls("{{ tools }}"), Some(CallForm::Json));
        assert_eq!(Format::of("<tool_call>", false).calls, None);
        let close = |template: &str| Format::of(template, false).thinking.map(|thinking| thinking.close);
        assert_eq!(close("content.split('</think>')[-1]"), Some("</think>"));
        assert_eq!(close("[THINK]"), Some("[/THINK]"));
        assert_eq!(close("plain"), None);
        assert!(Format::of("[THINK]", false).reads("[/THINK]") && !Format::of("[THINK]", false).reads("[TOOL_CALLS]"));
    }
}
