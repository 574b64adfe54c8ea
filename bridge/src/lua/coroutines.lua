-- The coroutine library, with two additions: a cell that has to wait, or whose turn is over, passes
-- outward through its resumers, and once a cell is being stopped no resumer goes on.
local host = ...
local raw = {}
for name, value in pairs(coroutine) do
  raw[name] = value
end
local create, resume, yield, close = raw.create, raw.resume, raw.yield, raw.close
local running, isyieldable, status = raw.running, raw.isyieldable, raw.status
local error, type = error, type
local PENDING, signals = host.PENDING, host.signals

-- The coroutines that are cells, with their numbers: to a script they are the main one.
local cells = setmetatable({}, { __mode = "k" })
host.cells = cells

-- The coroutines within a cell that waits or whose turn is over, and that cell: none but it may
-- resume them before it has ended.
local held = setmetatable({}, { __mode = "k" })

local function is_held(co)
  return held[co] and status(held[co]) ~= "dead"
end

local continue

-- What came out of a resume is not the script's: `co` waits, or the cell's turn is over, or the
-- cell is being stopped.
local function attend(co, ok, first, ...)
  if signals.sliced or first == PENDING and ok then
    held[co] = signals.cell
    if isyieldable() then
      yield(PENDING)
    else
      host.park()
    end
    held[co] = nil
    return continue(co, resume(co))
  end
  if signals.stopped then
    host.check()
  end
  return ok, first, ...
end

function continue(co, ok, first, ...)
  if signals.attention or first == PENDING then
    return attend(co, ok, first, ...)
  end
  return ok, first, ...
end

local BUSY = "cannot resume non-suspended coroutine"

function coroutine.resume(co, ...)
  if held[co] and is_held(co) then
    return false, BUSY
  end
  return continue(co, resume(co, ...))
end

function coroutine.status(co)
  if is_held(co) then
    return "normal"
  end
  return status(co)
end

function coroutine.close(co)
  if is_held(co) then
    return host.complain("cannot close a normal coroutine")
  end
  return close(co)
end

local function deliver(co, ok, first, ...)
  if ok then
    return first, ...
  end
  local object = first
  local state = status(co)
  if state == "dead" then
    host.note_coroutine(co, object)
    local closed, problem = close(co)
    if not closed then
      object = problem
    end
  end
  -- As Lua's own `wrap`: a message gets the resumer's line in front.
  return error(object, type(object) == "string" and 2 or 0)
end

function coroutine.wrap(body)
  if type(body) ~= "function" then
    return host.complain("bad argument #1 to 'wrap' (function expected)")
  end
  local co = create(body)
  return function(...)
    if held[co] and is_held(co) then
      return error(BUSY, 2)
    end
    return deliver(co, continue(co, resume(co, ...)))
  end
end

function coroutine.yield(...)
  if cells[running()] then
    return host.complain("attempt to yield from outside a coroutine")
  end
  return yield(...)
end

function coroutine.running()
  local co, main = running()
  return co, main or cells[co] ~= nil
end

function coroutine.isyieldable(co)
  if co ~= nil then
    return isyieldable(co) and not cells[co]
  end
  return isyieldable() and not cells[running()]
end
