-- The count hook's Lua side. It is `debug.sethook`'s kind and not mlua's, because an error from one
-- of mlua's hooks overwrites the locals of the function that was interrupted (seen with 0.12.2: the
-- error is put at index 1 of a frame that is that function's).
local host = ...
local sethook, setmetatable, running, error = debug.sethook, setmetatable, coroutine.running, error
local tick = host.tick

-- Instructions between two hooks: a fraction of a millisecond.
local EVERY = 10000

-- `stopped` is true from the moment a cell is to stop until it has ended.
local signals = { stopped = false }
host.signals = signals

-- What unwinds a cell.
local STOPPING = setmetatable({}, { __tostring = function() return "the cell is being stopped" end })

-- The coroutines whose hook fires at every instruction.
local tightened = setmetatable({}, { __mode = "k" })

local function hook()
  if tick() then
    host.tighten()
    return error(STOPPING, 0)
  end
  if tightened[running()] then
    tightened[running()] = nil
    sethook(hook, "", EVERY)
  end
end

-- From now on the running coroutine cannot go on: no `pcall` holds it for more than an instruction.
function host.tighten()
  signals.stopped = true
  tightened[running()] = true
  sethook(hook, "", 1)
end

-- Gives a new coroutine its hook.
function host.arm(co)
  sethook(co, hook, "", EVERY)
  return co
end
