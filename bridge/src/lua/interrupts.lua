-- The count hook's Lua side: what stops a cell is an error that is raised here.
local host = ...
local setmetatable, running, error = setmetatable, coroutine.running, error
local tick, tighten_hook = host.tick, host.tighten_hook

-- Whose turn it is. `cell`: its coroutine. `stopped`: from the moment it is to stop until it has
-- ended. `sliced`: its turn is over, and it is on its way out of its coroutines. `attention`: one of
-- these two.
local signals = { stopped = false, sliced = false, attention = false }
host.signals = signals

-- What unwinds a cell.
local STOPPING = setmetatable({}, { __tostring = function() return "the cell is being stopped" end })

-- From now on the running coroutine cannot go on: no `pcall` holds it for more than an instruction.
function host.tighten()
  signals.stopped, signals.attention = true, true
  tighten_hook(running())
end

host.set_hook(function(can_be_suspended)
  local stop, suspend = tick(can_be_suspended)
  if stop then
    host.tighten()
    return error(STOPPING, 0)
  end
  return suspend
end)
