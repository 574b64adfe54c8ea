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

local models = { table.unpack(arg) }
if #models == 0 then
  for _, backend in ipairs(LocalLLM.status()) do
    if backend.healthy then
      for _, model in ipairs(LocalLLM.list(backend.backend)) do
        models[#models + 1] = ("local/%s@%s"):format(model.name, backend.backend)
      end
    else
      io.stderr:write(("left out: backend %s does not work: %s\n"):format(backend.backend, backend.message or "no reason given"))
    end
  end
end

local row = "%-32s %-30s %8s %7s %9s  %s"
print(row:format("MODEL", "QUESTION", "MS", "TOKENS", "TOKENS/S", "ANSWER"))

for _, model in ipairs(models) do
  -- Loading is not part of the comparison.
  local loaded, problem = pcall(LocalLLM.load, model)
  if not loaded then
    io.stderr:write(("left out: %s: %s\n"):format(model, tostring(problem)))
  else
    for _, question in ipairs(questions) do
      local agent = Agent.create { model = model, temperature = 0, max_tokens = 100 }
      local answer = agent:execute { prompt = question }
      local tokens = answer.usage.completion_tokens
      local rate = ("%.1f"):format(tokens / (answer.duration_ms / 1000))
      local text = answer.text:gsub("%s+", " ")
      print(row:format(model, question, ("%.1f"):format(answer.duration_ms), tokens, rate, text))
    end
  end
end
