//! LocalLLM and Agent with the bundled model. Texts that the model happens to give are compared with
//! each other, not with what they should be.

use std::time::Duration;

use crate::notebook::{Notebook, options};

#[tokio::test]
async fn the_bundled_model_answers_in_every_way() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("LocalLLM.generate('What is the capital of France?')").await;
    let text = ran.result().to_owned();
    assert!(!text.is_empty());
    notebook
        .run("local parts = {} for part in LocalLLM.stream('What is the capital of France?') do parts[#parts + 1] = part end return #parts > 1, table.concat(parts)")
        .await
        .expect_result(&format!("true\t{text}"));
    notebook
        .run("answer = LocalLLM.chat({{role = 'user', content = 'What is the capital of France?'}})")
        .await
        .expect_nothing();
    notebook.run("answer.text").await.expect_result(&text);
    notebook
        .run("answer.finish_reason, answer.model, math.type(answer.duration_ms), answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, #answer.tool_calls")
        .await
        .expect_result("stop\tlocal/moonlet@candle\tinteger\ttrue\t0");
    notebook.run("local short = LocalLLM.chat('Hello', {max_tokens = 2}) return short.finish_reason, short.usage.completion_tokens").await.expect_result("length\t2");
    notebook.run("#LocalLLM.generate('Once', {raw = true, max_tokens = 4}) > 0").await.expect_result("true");
}

#[tokio::test]
async fn generation_works_wherever_lua_runs() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("expected = LocalLLM.generate('What is 2 + 3?') return expected").await;
    let text = ran.result().to_owned();
    for code in [
        "local all = '' for t in coroutine.wrap(function() for t in Agent.create{}:stream('What is 2 + 3?') do coroutine.yield(t) end end) do all = all .. t end return all",
        "local text table.sort({2, 1}, function() text = LocalLLM.generate('What is 2 + 3?') return false end) return text",
        "return (('x'):gsub('x', function() return LocalLLM.generate('What is 2 + 3?') end))",
        "return setmetatable({}, {__index = function() return LocalLLM.generate('What is 2 + 3?') end}).x",
        "return tostring(setmetatable({}, {__tostring = function() return LocalLLM.generate('What is 2 + 3?') end}))",
        "return select(2, pcall(LocalLLM.generate, 'What is 2 + 3?'))",
        "return select(2, coroutine.resume(coroutine.create(function() return select(2, pcall(function() return LocalLLM.generate('What is 2 + 3?') end)) end)))",
        "local text table.sort({2, 1}, function() text = coroutine.wrap(function() return LocalLLM.generate('What is 2 + 3?') end)() return false end) return text",
        "local co = coroutine.wrap(function() local c <close> = setmetatable({}, {__close = function() last = LocalLLM.generate('What is 2 + 3?') end}) end) co() return last",
        "local text for t in (function() local done return function() if not done then done = true return LocalLLM.generate('What is 2 + 3?') end end end)() do text = t end return text",
        "package.preload.asking = function() return LocalLLM.generate('What is 2 + 3?') end return (require 'asking')",
    ] {
        notebook.run(code).await.expect_result(&text);
    }
    // Two generators side by side: each gets its own pieces.
    notebook
        .run("local function answers() return coroutine.wrap(function() for t in LocalLLM.stream('What is 2 + 3?') do coroutine.yield(t) end end) end
              local a, b, x, y = answers(), answers(), '', ''
              repeat local p, q = a(), b() x, y = x .. (p or ''), y .. (q or '') until not p and not q
              return x == y, x")
        .await
        .expect_result(&format!("true\t{text}"));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_run() {
    let code = "local texts = {} for i = 1, 3 do texts[i] = LocalLLM.generate('Tell me something', {raw = true, temperature = 3, top_k = 0, top_p = 1, min_p = 0, max_tokens = 12}) end return table.concat(texts, '|')";
    let first = Notebook::start().run(code).await.result().to_owned();
    assert_eq!(Notebook::start().run(code).await.result(), first);
    let mut options = options();
    options.seed = Some(8);
    assert_ne!(Notebook::with(options).run(code).await.result(), first);
    // The nth generation has seed + n, so an explicit seed repeats one of them.
    let explicit = "LocalLLM.generate('Tell me something', {raw = true, temperature = 3, top_k = 0, top_p = 1, min_p = 0, max_tokens = 12, seed = 8})";
    assert_eq!(Notebook::start().run(explicit).await.result(), first.split('|').nth(1).expect("three texts"));
}

#[tokio::test]
async fn an_agent_keeps_its_conversation() {
    let mut notebook = Notebook::start();
    notebook
        .run("local agent = Agent.create{system_prompt = 'You are helpful.', max_tokens = 30}")
        .await
        .expect_nothing();
    notebook
        .run("text = agent:complete('What is 1 + 2?') return #agent:messages(), agent:messages()[3].content == text")
        .await
        .expect_result("3\ttrue");
    notebook.run("local answer = agent:execute{prompt = 'And 2 + 2?', max_tokens = 1} return answer.finish_reason, #agent:messages()").await.expect_result("length\t5");
    notebook
        .run("for piece in agent:stream('Hello') do end return #agent:messages(), tostring(agent)")
        .await
        .expect_result("7\tAgent(local/moonlet@candle, 7 messages)");
    // A turn that is not whole leaves no trace.
    notebook.run("for piece in agent:stream('Hello') do break end return #agent:messages()").await.expect_result("7");
    notebook
        .run("pcall(agent.execute, agent, {prompt = 'x', model = 'nope'}) return #agent:messages()")
        .await
        .expect_result("7");
    notebook.run("pcall(agent.complete, agent, 'Hello', {}) return #agent:reset():messages()").await.expect_result("1");
    notebook
        .run("local built = Agent.builder():model('local/moonlet@candle'):system_prompt('You are helpful.'):temperature(0):max_tokens(30):build() return built:complete('What is 1 + 2?') == text")
        .await
        .expect_result("true");
    notebook
        .run("agent.complete('x')")
        .await
        .expect_error("cell 9:1: agent:complete needs its agent: call it with a colon");
}

#[tokio::test]
async fn mistakes_are_told_with_name_value_and_expectation() {
    let mut notebook = Notebook::start();
    for (code, words) in [
        (
            "LocalLLM.generate('x', {temprature = 1})",
            "unknown option `temprature` of LocalLLM.generate; did you mean `temperature`?",
        ),
        (
            "LocalLLM.generate('x', {temperature = 'hot'})",
            "option `temperature` of LocalLLM.generate is \"hot\"; expected a number",
        ),
        ("LocalLLM.generate('x', {temperature = 0/0})", "expected a number"),
        ("LocalLLM.generate('x', {temperature = -1})", "temperature"),
        (
            "LocalLLM.generate('x', {max_tokens = 1.5})",
            "option `max_tokens` of LocalLLM.generate is 1.5; expected a whole number from 1",
        ),
        ("LocalLLM.generate('x', {max_tokens = 0})", "expected a whole number from 1"),
        ("LocalLLM.generate('x', {stop = {'a', 2}})", "expected a string or a list of strings"),
        ("LocalLLM.generate('x', 5)", "the options of LocalLLM.generate are 5; expected a table"),
        ("LocalLLM.generate('x', {'a'})", "have the key 1; expected names of options"),
        ("LocalLLM.generate()", "the prompt of LocalLLM.generate is nil; expected a string"),
        ("LocalLLM.generate('\\xff')", "no UTF-8 text"),
        ("LocalLLM.generate('x', {model = 'm@'})", "m@"),
        (
            "LocalLLM.chat('x', {tools = {{name = 5}}})",
            "a list of {name, description, parameters} (invalid type: integer `5`",
        ),
        ("LocalLLM.chat('x', {logit_bias = {[1.5] = 2}})", "a table from texts or token numbers to numbers"),
        ("LocalLLM.chat({})", "are no list of messages"),
        (
            "LocalLLM.chat({{role = 'usr', content = 'x'}})",
            "messages[1].role is \"usr\"; expected \"system\", \"user\"",
        ),
        ("LocalLLM.chat({{role = 'user'}})", "messages[1] has no `content`"),
        ("LocalLLM.chat({{rol = 'user'}})", "messages[1] has the unknown field `rol`; did you mean `role`?"),
        (
            "LocalLLM.chat({{role = 'system', content = 'a'}, {role = 'user', content = 'b'}}, {system = 'c'})",
            "give one of them",
        ),
        ("LocalLLM.stream('x', {raw = true, system = 'y'})", "exclude each other"),
        ("LocalLLM.info(5)", "the model of LocalLLM.info is 5; expected a name"),
        ("LocalLLM.status('nope')", "unknown backend `nope`; configured: `candle`"),
        ("Agent.create{system_promt = 'x'}", "did you mean `system_prompt`?"),
        ("Agent.builder():tempreature(1)", "did you mean `temperature`?"),
        ("Agent.create{}:execute{promt = 'x'}", "did you mean `prompt`?"),
        ("Agent.create{}:execute{}", "agent:execute got no `prompt`"),
        ("Agent.create{}:complete(5)", "the agent's prompt is 5"),
    ] {
        let ran = notebook.run(code).await;
        let failure = ran.failure();
        assert!(failure.message.contains(words), "{code}: {failure:?}");
        assert!(failure.message.starts_with("cell "), "{code}: {failure:?}");
        assert_eq!(failure.name, "ModelError", "{code}");
        assert!(failure.kind.is_some(), "{code}: {failure:?}");
    }
    notebook
        .run("local ok, err = pcall(LocalLLM.generate, 'x', {model = 'nope'}) return ok, err.kind, err.message, 'oops: ' .. err == 'oops: ' .. tostring(err)")
        .await
        .expect_result("false\tmodel_not_found\tno model `nope` on `candle`\ttrue");
    let long = notebook.run("LocalLLM.generate(('word '):rep(5000))").await;
    assert_eq!(long.failure().kind.as_deref(), Some("context_overflow"));
    notebook
        .run("LocalLLM.chat(('word '):rep(5000), {truncate = true, max_tokens = 1}).usage.truncated_tokens > 0")
        .await
        .expect_result("true");
}

#[tokio::test]
async fn the_registry_is_shown() {
    let mut notebook = Notebook::start();
    notebook
        .run("local s = LocalLLM.status('candle') return s.backend, s.type, s.status, #LocalLLM.status()")
        .await
        .expect_result("candle\tcandle\tready\t1");
    notebook
        .run("local m = LocalLLM.list()[1] return m.name, m.backend, m.specifier, m.location")
        .await
        .expect_result("moonlet\tcandle\tlocal/moonlet@candle\tbundled");
    notebook
        .run("local i = LocalLLM.info('moonlet') return i.architecture, i.specifier, i.parameters > 1e6")
        .await
        .expect_result("llama\tlocal/moonlet@candle\ttrue");
    notebook.run("LocalLLM.load('moonlet').name, #LocalLLM.status('candle').loaded").await.expect_result("moonlet\t1");
    notebook.run("LocalLLM.unload('moonlet'), #LocalLLM.status('candle').loaded").await.expect_result("true\t0");
}

/// Says how many requests hold the model, once `wanted` do.
const ACTIVE: &str = "local loaded = LocalLLM.status('candle').loaded[1] return loaded and loaded.active_requests or 0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_or_a_break_ends_the_generation() {
    let mut notebook = Notebook::start();
    notebook
        .run("local agent = Agent.create{} count = 0 endless = {temperature = 2, max_tokens = 900, repeat_penalty = 2}")
        .await;
    for code in [
        "print 'on' while true do LocalLLM.generate('Tell me', endless) end",
        "while true do pcall(function() for piece in LocalLLM.stream('Tell me', endless) do print 'on' end end) end",
        "coroutine.wrap(function() while true do for piece in agent:stream('Tell me') do print 'on' end agent:reset() end end)()",
        "table.sort({2, 1}, function() print 'on' while true do LocalLLM.generate('Tell me', endless) end end)",
    ] {
        let (ran, took) = notebook.interrupt_after(code, "on").await;
        ran.expect_interrupted();
        assert!(took < Duration::from_millis(200), "{code}: {took:?}");
        notebook.run("type(agent), count").await.expect_result("table\t0");
    }
    notebook.run("agent:reset() for piece in LocalLLM.stream('Tell me', endless) do break end").await.expect_nothing();
    notebook.run(ACTIVE).await.expect_result("0");
    notebook.run("local pieces = LocalLLM.stream('Hello') pieces()").await;
    let ran = notebook.run("pieces()").await;
    assert_eq!(ran.failure().kind.as_deref(), Some("cancelled"), "{:?}", ran.failure());
}

/// Whatever Lua still holds of it, and however the cell ended: nothing waits for a garbage collection.
#[tokio::test]
async fn a_cell_that_has_ended_holds_no_model() {
    let mut notebook = Notebook::start();
    let endless =
        "endless = {temperature = 2, max_tokens = 900, repeat_penalty = 2} kept = {} agent = Agent.create(endless)";
    notebook.run(endless).await.expect_nothing();
    notebook.run("collectgarbage('stop')").await;
    for code in [
        "local pieces = LocalLLM.stream('Tell me', endless) pieces() kept[#kept + 1] = pieces",
        "for piece in agent:stream('Tell me') do error('enough') end",
        "co = coroutine.wrap(function() for piece in LocalLLM.stream('Tell me', endless) do coroutine.yield(piece) end end) co()",
    ] {
        notebook.run(code).await;
        notebook.run(ACTIVE).await.expect_result("0");
    }
    let ran = notebook.run("kept[1]()").await;
    assert_eq!(ran.failure().kind.as_deref(), Some("cancelled"), "{:?}", ran.failure());
    for round in 0..200 {
        let code = match round % 3 {
            0 => "print 'on' while true do LocalLLM.generate('Tell me', endless) end",
            1 => "print 'on' while true do for piece in LocalLLM.stream('Tell me', endless) do end end",
            _ => "print 'on' kept[#kept + 1] = LocalLLM.stream('Tell me', endless) while true do kept[#kept]() end",
        };
        let (ran, _) = notebook.interrupt_after(code, "on").await;
        ran.expect_interrupted();
        notebook.run(ACTIVE).await.expect_result("0");
    }
}

#[tokio::test]
async fn tools_probabilities_and_biases_reach_the_script() {
    let mut notebook = Notebook::start();
    notebook
        .run("tools = {{name = 'weather', description = 'Get the current weather of a city', parameters = {type = 'object', properties = {city = {type = 'string'}}, required = {'city'}}}}
              local answer = LocalLLM.chat('What is the weather in Paris?', {tools = tools})
              local call = answer.tool_calls[1] return answer.finish_reason, call.name, call.arguments.city")
        .await
        .expect_result("tool_calls\tweather\tParis");
    notebook
        .run("first = LocalLLM.chat('What is 2 + 3?', {logprobs = 2, max_tokens = 1}).logprobs[1] return #first.top, first.top[1].id == first.id, first.logprob <= 0")
        .await
        .expect_result("2\ttrue\ttrue");
    notebook
        .run("local function other(bias) return LocalLLM.chat('What is 2 + 3?', {logprobs = 0, max_tokens = 1, logit_bias = bias}).logprobs[1].id ~= first.id end
              return other{[first.id] = -100}, other{[first.token] = -100}, other{[first.token] = 1}")
        .await
        .expect_result("true\ttrue\tfalse");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_an_error() {
    let mut notebook = Notebook::start();
    notebook.run("LocalLLM.load('local/moonlet@candle') options = {temperature = 5, top_k = 0, top_p = 1, min_p = 0, timeout_seconds = 0.02}").await;
    notebook
        .run("local ok, problem repeat ok, problem = pcall(LocalLLM.generate, 'a', options) until not ok return problem.kind")
        .await
        .expect_result("timeout");
    for wrong in ["0", "-1", "'x'", "0/0"] {
        let ran = notebook.run(&format!("LocalLLM.generate('a', {{timeout_seconds = {wrong}}})")).await;
        let message = &ran.failure().message;
        assert!(message.contains("expected a number of seconds above 0"), "{message}");
    }
}
