//! A model's chat template, rendered the way Hugging Face's `apply_chat_template` renders it. It comes with the model, so it is
//! not trusted: how much it computes and how much memory that takes is bounded.

mod allowance;
mod json;
mod metered;
#[cfg(test)]
mod oracle;
mod python;
mod strftime;

use std::time::SystemTime;

use minijinja::machinery::{eval, make_string_output};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, ErrorKind, Value, context};
use serde_json::json;

use crate::answer::{Format, Opening};
use crate::chat::{ChatMessage, Role, Tool};
use crate::error::Error;

const NAME: &str = "chat_template";
/// Instructions one rendering may take: thousands of messages, and an end for a template that loops.
const FUEL: u64 = 20_000_000;
/// Bytes of an error that come from the template.
const MOST_TOLD: usize = 1000;

/// A chat template and the texts it may use.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    /// As [`metered::prepare`] made it; known to compile.
    source: String,
    bos: String,
    eos: String,
    format: Format,
}

impl ChatTemplate {
    /// Bytes a template may have; those of known models have up to 30,000.
    pub(crate) const MOST_SOURCE: usize = 256 << 10;

    /// Compiles a template; fails with [`Error::Template`].
    pub(crate) fn new(source: String, bos: &str, eos: &str) -> Result<ChatTemplate, Error> {
        ChatTemplate::at(source, bos, eos, SystemTime::now)
    }

    /// As [`ChatTemplate::new`], with another clock than the system's.
    fn at(
        source: String,
        bos: &str,
        eos: &str,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Result<ChatTemplate, Error> {
        let environment = environment(clock);
        let prepared = metered::prepare(&without_generation_tags(&source), &syntax()).map_err(problem)?;
        metered::compile(NAME, &prepared, syntax()).map_err(problem)?;
        let mut template = ChatTemplate {
            environment,
            source: prepared,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            format: Format::default(),
        };
        template.format = Format::of(&source, template.shows_tools());
        Ok(template)
    }

    /// Whether a conversation with tools shows them to the model.
    pub(crate) fn knows_tools(&self) -> bool {
        self.format.calls.is_some()
    }

    /// How the model writes its thinking and its calls.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// How the answer to a rendered prompt begins.
    pub(crate) fn opening(&self, rendered: &str) -> Opening {
        let thinks = |open: &str| rendered.trim_end().ends_with(open);
        match self.format.thinking {
            Some(thinking) if thinks(thinking.open) => Opening::Thinking,
            _ => Opening::Open,
        }
    }

    fn shows_tools(&self) -> bool {
        let probe = "perilune_probe";
        let tool = Tool {
            name: probe.to_owned(),
            description: String::new(),
            parameters: json!({"type": "object", "properties": {}}),
        };
        let rendered = self.render_unchecked(&[ChatMessage::user("hello")], &[tool]);
        rendered.is_ok_and(|text| text.contains(probe))
    }

    /// The text the model sees for a conversation, ready for it to answer.
    pub(crate) fn render(&self, messages: &[ChatMessage], tools: &[Tool]) -> Result<String, Error> {
        if !tools.is_empty() && !self.knows_tools() {
            let problem = "this model cannot be given tools (its template does not show them); ask without tools";
            return Err(Error::Template { problem: problem.to_owned() });
        }
        self.render_unchecked(messages, tools)
    }

    fn render_unchecked(&self, messages: &[ChatMessage], tools: &[Tool]) -> Result<String, Error> {
        let messages: Vec<serde_json::Value> = messages.iter().map(message).collect();
        let tools: Vec<serde_json::Value> = tools.iter().map(tool).collect();
        allowance::begin(messages.iter().chain(&tools).map(json_bytes).sum());
        let tools = if tools.is_empty() { Value::from(()) } else { Value::from(Serde(&tools)) };
        let context = context! {
            messages => Value::from(Serde(&messages)),
            tools => tools,
            documents => Value::from(()),
            bos_token => self.bos.clone(),
            eos_token => self.eos.clone(),
            add_generation_prompt => true,
        };
        // Compiling takes less time than rendering; what it makes refers to the source, so it cannot be kept beside it.
        let program = metered::compile(NAME, &self.source, syntax()).map_err(problem)?;
        let mut rendered = String::new();
        let mut output = make_string_output(&mut rendered);
        eval(&self.environment, &program.instructions, context, &program.blocks, &mut output, AutoEscape::None)
            .map_err(problem)?;
        Ok(rendered)
    }
}

/// About as many bytes as a value has as JSON.
fn json_bytes(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len() + 2,
        serde_json::Value::Array(items) => items.iter().map(json_bytes).sum::<usize>() + 2,
        serde_json::Value::Object(items) => items.iter().map(|(key, item)| key.len() + 4 + json_bytes(item)).sum(),
        _ => 4,
    }
}

/// A message in the form Hugging Face templates expect; arguments are a mapping, not a JSON text.
fn message(message: &ChatMessage) -> serde_json::Value {
    let mut value = json!({"role": message.role.as_str(), "content": message.content});
    if !message.tool_calls.is_empty() {
        let call = |call: &crate::chat::ToolCall| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
        value["tool_calls"] = message.tool_calls.iter().map(call).collect();
    }
    if let (Role::Tool, Some(id)) = (message.role, &message.tool_call_id) {
        value["tool_call_id"] = json!(id);
    }
    if let Some(name) = &message.name {
        value["name"] = json!(name);
    }
    value
}

fn tool(tool: &Tool) -> serde_json::Value {
    json!({"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters}})
}

/// Jinja as `transformers` sets it up (`_compile_jinja_template`).
fn environment(clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Environment<'static> {
    let mut environment = Environment::new();
    metered::add_meters(&mut environment);
    // It writes out all variables, however much that is.
    environment.remove_global("debug");
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|output, _, value| {
        allowance::weigh(value)?;
        match value.as_str() {
            Some(text) => Ok(output.write_str(text)?),
            None => Ok(output.write_str(&python::text(value))?),
        }
    });
    environment.add_filter("string", |value: &Value| python::text(value));
    // Python cannot iterate over `None`, and templates ask before they do.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_filter("tojson", |value: Value, options: Kwargs| -> Result<String, minijinja::Error> {
        let style = json::Style {
            indent: options.get("indent")?,
            ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
            sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
            separators: match options.get::<Option<Vec<String>>>("separators")?.as_deref() {
                Some([items, keys]) => Some((items.clone(), keys.clone())),
                _ => None,
            },
        };
        options.assert_all_used()?;
        json::dumps(&value, style)
            .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: &str| strftime::utc(format, clock()));
    environment
}

/// Line breaks after tags go, as do spaces before them.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("the brackets are those that minijinja has by itself")
}

/// The template with `{% generation %}` blocks, which mark what the model wrote and show in nothing, as plain scopes.
fn without_generation_tags(source: &str) -> String {
    let mut rest = source;
    let mut plain = String::with_capacity(source.len());
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        plain.push_str(before);
        let end = tag.find("%}").unwrap_or(tag.len());
        let (tag, after) = tag.split_at(end);
        match tag.trim_matches(['-', '+']).trim() {
            "generation" => plain.push_str(&tag.replace("generation", "with")),
            "endgeneration" => plain.push_str(&tag.replace("generation", "with")),
            _ => plain.push_str(tag),
        }
        rest = after;
    }
    plain + rest
}

fn problem(error: minijinja::Error) -> Error {
    let place = error.line().map_or(String::new(), |line| format!(" (line {line} of the template)"));
    let mut detail = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it takes more than the {FUEL} steps that a rendering may take"),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    };
    if detail.len() > MOST_TOLD {
        detail.truncate(detail.floor_char_boundary(MOST_TOLD));
        detail.push('…');
    }
    Error::Template { problem: format!("{detail}{place}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ToolCall;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source.to_owned(), "<s>", "</s>").expect("the template compiles")
    }

    fn render(source: &str) -> String {
        let messages = [ChatMessage::system("be brief"), ChatMessage::user(" Hi <b> ")];
        template(source).render(&messages, &[]).expect("the template renders")
    }

    #[test]
    fn whitespace_is_that_of_transformers() {
        let source = "{{ bos_token }}\n{% for message in messages %}\n    {% if loop.last %}\n{{ message.role }}: {{ message['content'] | trim }}\n    {% endif %}\n{% endfor %}\n{{- eos_token }}\n";
        assert_eq!(render(source), "<s>\nuser: Hi <b>\n</s>");
    }

    #[test]
    fn python_methods_and_loop_controls_work() {
        let source = "{% for m in messages %}{% if m.role.startswith('sys') %}{% continue %}{% endif %}{{ m.content.strip().upper() }}{% break %}{% endfor %}";
        assert_eq!(render(source), "HI <B>");
        assert_eq!(render("{{ messages[0].get('name', 'nobody') }} {{ true }} {{ none }}"), "nobody True None");
        assert_eq!(
            render("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}"),
            "role=system;content=be brief;"
        );
    }

    #[test]
    fn what_a_template_raises_reaches_the_caller() {
        let template = template("{{ raise_exception('roles must alternate') }}");
        let error = template.render(&[], &[]).expect_err("it raises").to_string();
        assert_eq!(error, "chat template: roles must alternate (line 1 of the template)");
        assert!(ChatTemplate::new("{% if %}".into(), "", "").is_err());
    }

    fn refusal(source: &str) -> String {
        let template = match ChatTemplate::new(source.to_owned(), "<s>", "</s>") {
            Ok(template) => template,
            Err(error) => return error.to_string(),
        };
        match template.render(&[ChatMessage::user("more")], &[]) {
            Ok(text) => panic!("{source} made {} bytes", text.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_template_that_loops_ends() {
        let source = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
        assert_eq!(
            refusal(source),
            "chat template: it takes more than the 20000000 steps that a rendering may take (line 1 of the template)"
        );
    }

    /// Each of these fills memory, the stack or an hour in minijinja as it is.
    #[test]
    fn a_template_that_grows_without_end_is_stopped() {
        let often = |step: &str| {
            format!("{{% set n = namespace(a='ab', l=['ab']) %}}{{% for i in range(99) %}}{step}{{% endfor %}}")
        };
        let grown = "that a rendering of it may work through";
        for step in [
            "{% set n.a = n.a ~ n.a %}",
            "{% set n.a = n.a + n.a %}",
            "{% set n.a = n.a * 99999 %}",
            "{% set n.a %}{{ n.a }}{{ n.a }}{% endset %}",
            "{% set n.a = n.a | replace('', n.a) %}",
            "{% set n.a = n.a.replace('a', n.a) %}",
            "{% set n.a = n.a | list | join(n.a) %}",
            "{% set n.a = n.a.join(n.a) %}",
            "{% set n.a = (n.a ~ '\n' ~ n.a) | indent(999) %}",
            "{% set n.a = [n.a, n.a] | tojson %}",
            "{% set n.a = (['%999s' | format(n.a)] * 99) | join %}",
            "{% set n.a = ['', ''] | map('replace', '', n.a ~ n.a) | join %}",
            "{% set n.l = n.l + n.l %}{% if 1 in n.l %}{% endif %}",
            "{% set n.l = [n.l, n.l] %}",
            "{% set n.l = {'a': n.l, 'b': n.l} %}",
            "{% set n.l = (n.l, n.l) %}",
        ] {
            assert!(refusal(&often(step)).contains(grown), "{step}: {}", refusal(&often(step)));
        }
        let text = "x".repeat(1000);
        for source in [
            format!("{{% set a %}}{{% for i in range(99999) %}}{text}{{% endfor %}}{{% endset %}}"),
            format!("{{% for i in range(99999) %}}{text}{{% endfor %}}"),
            "{% for a in range(9999) %}{% for b in range(90) %}{{ messages[0].content * 999 }}{% endfor %}{% endfor %}".to_owned(),
            "{{ ('a' * 99999999) ~ ('a' * 99999999) }}".to_owned(),
            "{{ ['a'] * 99999999 }}".to_owned(),
            "{% for a in range(9999) %}{% for b in range(99) %}{% macro f(x) %}{{ b }}{% endmacro %}{% endfor %}{% endfor %}".to_owned(),
            "{% set l = range(99999) | list %}{{ l | select('in', l) | list }}".to_owned(),
            "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}{{ f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f('ab'))))))))))))))))))))))) }}".to_owned(),
        ] {
            assert!(refusal(&source).contains(grown), "{source}: {}", refusal(&source));
        }
        for call in [
            "'a' | indent(99999999)",
            "'a' | indent(width=99999999)",
            "'%99999s' | format('a')",
            "[1] | batch(99999999)",
        ] {
            assert!(refusal(&format!("{{{{ {call} }}}}")).contains("1000"), "{call}");
        }
        let limit = refusal(&often("{% set n.a = n.a ~ n.a %}"));
        assert!(limit.starts_with("chat template: it makes more of this conversation than the 167"), "{limit}");
        assert!(limit.ends_with("(line 1 of the template)"), "{limit}");
    }

    #[test]
    fn a_template_that_goes_too_deep_is_stopped() {
        let often = |step: &str| {
            format!("{{% set n = namespace(a='ab') %}}{{% for i in range(9999) %}}{step}{{% endfor %}}{{{{ n.a }}}}")
        };
        assert!(refusal(&often("{% set n.a = [n.a] %}")).contains("more than 64 deep"));
        assert!(refusal(&often("{% set n.a = {'a': n.a} %}")).contains("more than 64 deep"));
        for step in [
            "{% set n.a = n %}",
            "{% set n.a = [n] %}",
            "{% set n.a = {'n': n} %}",
            "{% set m = namespace(n=n) %}",
            "{% set n.a = [none] | map('default', n, true) | list %}",
        ] {
            assert!(refusal(&often(step)).contains("puts a namespace into another value"), "{step}");
        }
        assert!(refusal(&often("{% set n.a = n.a | batch(1) | list %}")).contains("more than 64 deep"));
        assert!(refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").contains("recursion limit"));
        assert!(refusal(&format!("{{{{ {}1 }}}}", "1 + ".repeat(30_000))).contains("more than 1000 words"));
        assert!(refusal(&format!("{{{{ a{} }}}}", ".b".repeat(30_000))).contains("more than 1000 words"));
        assert!(refusal(&format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(9999))).contains("`elif`s"));
        assert!(refusal(&"{% if a %}".repeat(9999)).contains("recursion limits"));
        assert!(refusal(&"a".repeat(300_000)).contains("300000 bytes, expected at most 262144"));
        assert!(refusal("{{ dict(**messages[0]) }}").contains("does not run"));
        assert!(refusal("{{ debug() }}").contains("debug is unknown"));
        assert!(refusal("{{ raise_exception('a' * 99999) }}").len() < 1100);
    }

    #[test]
    fn a_long_conversation_has_room() {
        let source = "{% for m in messages %}{% if loop.index == messages | length or m == messages[-1] %}{% endif %}\
            {% set text = m.content.split('</think>')[-1].lstrip('\n') | trim %}{{ '<' ~ m.role + '>' + text | replace('a', 'b') }}{% endfor %}";
        let messages = vec![ChatMessage::user("a".repeat(1000)); 1000];
        let rendered = template(source).render(&messages, &[]).expect("it renders");
        assert_eq!(rendered.len(), 1000 * 1006);
    }

    #[test]
    fn blocks_that_mark_the_answer_leave_no_trace() {
        let source = "{% for m in messages %}\n{%- generation %}\n{{ m.role }}\n{% endgeneration -%}\n {% endfor %}.";
        assert_eq!(render(source), "system\nuser\n.");
        assert!(ChatTemplate::new("{% generation %}".into(), "", "").is_err());
    }

    #[test]
    fn lists_and_values_are_pythons() {
        assert_eq!(
            render("{{ messages[::-1][0].role }} {{ [1.0, 1e20, none, 'a'] }} {{ 1e20 }}"),
            "user [1.0, 1e+20, None, 'a'] 1e+20"
        );
        assert_eq!(
            render("{{ tools is iterable }} {{ messages is iterable }} {{ 'é'|tojson(ensure_ascii=True) }}"),
            r#"False True "\u00e9""#
        );
        assert_eq!(
            render(
                "{{ ('a' ~ none ~ true) }} {{ none|string }} {{ {'b': 1, 'a': [2]}|tojson(separators=(',', ':'), sort_keys=true) }}"
            ),
            r#"aNoneTrue None {"a":[2],"b":1}"#
        );
    }

    #[test]
    fn tools_and_calls_are_mappings() {
        let source = "{% for t in tools %}<tool_call>{{ t | tojson }}{% endfor %}{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.name }}({{ c.function.arguments.city }}){% endfor %}{% endfor %}";
        let tool =
            Tool { name: "weather".into(), description: "it's <hot>".into(), parameters: json!({"a": [1, 2.5, null]}) };
        let mut call = ChatMessage::assistant("");
        call.tool_calls =
            vec![ToolCall { id: "call_0".into(), name: "weather".into(), arguments: json!({"city": "Oslo"}) }];
        let rendered = template(source).render(&[call], &[tool]).expect("it renders");
        assert_eq!(
            rendered,
            r#"<tool_call>{"type": "function", "function": {"name": "weather", "description": "it's <hot>", "parameters": {"a": [1, 2.5, null]}}}weather(Oslo)"#
        );
    }

    #[test]
    fn tools_a_template_would_drop_are_refused() {
        let template = template("{% for m in messages %}{{ m.content }}{% endfor %}");
        assert!(!template.knows_tools());
        let tool = Tool { name: "weather".into(), description: String::new(), parameters: json!({}) };
        assert!(template.render(&[ChatMessage::user("hi")], &[tool]).is_err());
    }
}
