-- Prints the facts of a model: its shape, its size and what it can do.
--
--   perilune run scripts/model_info.lua [MODEL]

local info = LocalLLM.info(arg[1])

local facts = {
  "specifier", "name", "architecture", "parameters", "quantization", "layers", "hidden", "heads", "kv_heads", "vocabulary",
  "context_length", "context_size", "file_bytes", "memory_bytes", "kv_cache_type", "kv_bytes_per_token", "executor",
  "has_chat_template", "supports_tools",
}

for _, fact in ipairs(facts) do
  if info[fact] ~= nil then
    print(("%-18s %s"):format(fact, info[fact]))
  end
end
