-- A conversation with a model: every line you type is answered, until the input ends or you type /quit.
-- The model remembers what was said; /new makes it forget.
--
--   perilune run scripts/chat.lua [MODEL]
--   printf 'Hello!\nWhat is 2 + 3?\n' | perilune run --seed 7 scripts/chat.lua

local agent = Agent.create { model = arg[1], temperature = 0.2, max_tokens = 400 }

while true do
  -- On stderr, so that the answers alone are on stdout.
  io.stderr:write("> ")
  local line = io.read("l")
  if not line or line == "/quit" then
    break
  end
  if line == "/new" then
    agent:reset()
  elseif line:find("%S") then
    local ok, problem = pcall(function()
      for piece in agent:stream(line) do
        io.write(piece)
      end
    end)
    if ok then
      print()
    elseif problem.kind == "context_overflow" then
      print("This conversation is longer than the model can remember; /new starts another.")
    else
      error(problem, 0)
    end
  end
end
