-- Asks every model of every backend that works the same questions, and prints how long each answer took.
--
--   perilune run scripts/compare.lua [MODEL...]
--
-- With arguments, only those models are asked.

local questions = {
  "Hello!",
  "What is the capital of Japan?",
  "What is 17 + 25?",
}

local function leave_out(what, why)
  io.stderr:write(("left out: %s: %s\n"):format(what, why))
end

local models = { table.unpack(arg) }
if #models == 0 then
  for _, backend in ipairs(LocalLLM.status()) do
    if backend.status == "unavailable" then
      leave_out(backend.backend, backend.detail)
    end
  end
  for _, model in ipairs(LocalLLM.list()) do
    if model.problem then
      leave_out(model.name, model.problem)
    else
      models[#models + 1] = model.specifier
    end
  end
end

local row = "%-24s %-30s %8s %7s %9s  %s"
print(row:format("MODEL", "QUESTION", "MS", "TOKENS", "TOKENS/S", "ANSWER"))

local function ask(model, question)
  local agent = Agent.create { model = model, temperature = 0, max_tokens = 100 }
  local answer = agent:execute { prompt = question }
  local tokens = answer.usage.completion_tokens
  local rate = ("%.1f"):format(tokens / (answer.duration_ms / 1000))
  local text = answer.text:gsub("%s+", " ")
  print(row:format(model, question, ("%.1f"):format(answer.duration_ms), tokens, rate, text))
end

local was_loaded = {}
for _, model in ipairs(LocalLLM.list()) do
  if model.specifier then
    was_loaded[model.specifier] = model.loaded
  end
end

for _, model in ipairs(models) do
  -- Loading is not part of the comparison.
  local works, result = pcall(LocalLLM.load, model)
  local loaded = works and result.specifier
  for _, question in ipairs(questions) do
    if works then
      works, result = pcall(ask, model, question)
    end
  end
  if not works then
    leave_out(model, result.message or result)
  end
  if loaded and not was_loaded[loaded] then
    -- One that somebody else uses by now stays.
    pcall(LocalLLM.unload, loaded)
  end
end
