-- One beginning, several ways on: an agent reads a text once, and forks of it answer questions about it side by side.
-- The agent is kept in a file, so that the next run goes on from there.
--
--   perilune run scripts/branches.lua [FILE]

local path = arg[1] or os.tmpname()
local agent = Agent.create { system_prompt = "You are helpful.", temperature = 0, max_tokens = 40 }
agent:complete("What is the capital of France?")

for _, question in ipairs { "And of Italy?", "And of Spain?" } do
  local turn = agent:fork():execute(question)
  print(question, turn.text)
  io.stderr:write(turn.usage.cached_tokens, " of ", turn.usage.prompt_tokens, " tokens were known\n")
end

-- A turn that led nowhere is taken back.
agent:complete("Hello!")
agent:rewind()

agent:save(path)
print(#Agent.load(path):messages() .. " messages kept")
if not arg[1] then
  os.remove(path)
end
