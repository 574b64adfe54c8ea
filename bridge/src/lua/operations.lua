-- Waiting for Rust futures. A pending operation yields PENDING up to the interpreter's loop, through
-- every coroutine of the script; where a C function stands between, the thread itself waits.
local host = ...
local isyieldable, yield = coroutine.isyieldable, coroutine.yield
local poll, block = host.poll, host.block

-- A value no script can get hold of.
local function PENDING() end
host.PENDING = PENDING

local settle

local function wait(operation)
  if isyieldable() then
    yield(PENDING)
    return settle(poll(operation))
  end
  return settle(block(operation))
end

-- true, results... when done; false, kind, message, details when failed; nil, operation while pending.
function settle(state, first, ...)
  if state then
    return first, ...
  end
  if state == nil then
    return wait(first)
  end
  return host.fail(first, ...)
end
host.settle = settle

-- The script's side of a Rust function that may take a while.
function host.waiting(start)
  return function(...)
    return settle(start(...))
  end
end
