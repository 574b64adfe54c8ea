-- What the model that `--model` names can do, by one JSON object: "yes", or what came instead.

local function try(work)
  local ok, result = pcall(work)
  if ok then return result and "yes" or "no" end
  return result.kind
end

local france = "What is the capital of France?"
local told = {}

told.text = try(function() return LocalLLM.generate(france, { temperature = 0 }):find("Paris", 1, true) end)

told.stream = try(function()
  local pieces = {}
  for piece in LocalLLM.stream(france, { temperature = 0 }) do pieces[#pieces + 1] = piece end
  if not table.concat(pieces):find("Paris", 1, true) then return false end
  -- A short answer may come in one piece; of a long one, whose end is left to chance, the first comes before the last.
  for _ = 1, 10 do
    pieces = {}
    for piece in LocalLLM.stream("Tell me a long story", { temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 800 }) do
      pieces[#pieces + 1] = piece
    end
    if #pieces > 2 then return true end
  end
end)

local weather = {
  name = "weather",
  description = "Get the current weather of a city",
  parameters = { type = "object", properties = { city = { type = "string" } }, required = { "city" } },
}
told.tools = try(function()
  local answer = LocalLLM.chat("What is the weather in Paris?", { temperature = 0, max_tokens = 60, tools = { weather } })
  local call = answer.tool_calls[1]
  if not call and answer.text:find("weather", 1, true) then error({ kind = "text" }) end
  return call and call.name == "weather" and call.arguments.city == "Paris"
end)

local city = {
  type = "object",
  properties = { city = { type = "string", maxLength = 8 } },
  required = { "city" },
  additionalProperties = false,
}
told.schema = try(function()
  return json.decode(LocalLLM.generate(france, { temperature = 0, max_tokens = 60, schema = city })).city
end)

told.embed = try(function()
  local vectors = LocalLLM.embed({ "The moon", "The moon", "What is 2 + 3?" })
  local function likeness(one, other)
    local sum, left, right = 0, 0, 0
    for i = 1, #one do
      sum, left, right = sum + one[i] * other[i], left + one[i] ^ 2, right + other[i] ^ 2
    end
    return sum / math.sqrt(left * right)
  end
  return likeness(vectors[1], vectors[2]) > 0.999 and likeness(vectors[1], vectors[3]) < 0.99
end)

-- A stream that is left ends its generation: the next answer does not wait for the rest of it.
told.cancel = try(function()
  for piece in LocalLLM.stream("Tell me a long story", { temperature = 5, max_tokens = 1500 }) do break end
  return LocalLLM.generate(france, { temperature = 0, timeout_seconds = 20 }):find("Paris", 1, true)
end)

print(json.encode(told))
