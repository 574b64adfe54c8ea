-- Says which backends work, what they hold in memory and which models they could serve.
--
--   perilune run scripts/status.lua [BACKEND]

local mib = 1024 * 1024

for _, backend in ipairs(LocalLLM.status(arg[1])) do
  print(("%s (%s): %s"):format(backend.backend, backend.provider_type, backend.healthy and "works" or "does not work"))
  if backend.message then
    print("  " .. backend.message)
  end
  for _, model in ipairs(backend.loaded) do
    print(("  in memory: %s, %.1f MiB"):format(model.name, model.memory_bytes / mib))
  end
  if backend.healthy then
    for _, model in ipairs(LocalLLM.list(backend.backend)) do
      local size = model.size_bytes and (", %.1f MiB"):format(model.size_bytes / mib) or ""
      print(("  model: %s%s"):format(model.name, size))
    end
  end
end
