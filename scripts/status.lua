-- Says which backends work, what they hold in memory and which models they could serve.
--
--   perilune run scripts/status.lua [BACKEND]

local function mib(bytes)
  return ("%.1f MiB"):format(bytes / 1024 / 1024)
end

local words = { ready = "works", degraded = "works in part", unavailable = "does not work" }
local name = arg[1]
local backends = name and { LocalLLM.status(name) } or LocalLLM.status()

for _, backend in ipairs(backends) do
  print(("%s (%s): %s, %s"):format(backend.backend, backend.type, words[backend.status], backend.detail))
  for _, model in ipairs(backend.loaded) do
    print(("  in memory: %s, %s"):format(model.name, mib(model.memory_bytes)))
  end
  if backend.status ~= "unavailable" then
    for _, model in ipairs(LocalLLM.list(backend.backend)) do
      print(("  model: %s, %s%s"):format(model.name, mib(model.size_bytes), model.problem and (": " .. model.problem) or ""))
    end
  end
end
