-- The coroutine library, with two additions: PENDING passes outward through a resume, and once the
-- cell is being stopped no resumer goes on.
local host = ...
local raw = {}
for name, value in pairs(coroutine) do
  raw[name] = value
end
local create, resume, yield, close = raw.create, raw.resume, raw.yield, raw.close
local running, isyieldable, status = raw.running, raw.isyieldable, raw.status
local error, type = error, type
local PENDING, signals, arm = host.PENDING, host.signals, host.arm

-- The coroutines that are cells: to a script they are the main one.
local cells = setmetatable({}, { __mode = "k" })
host.cells = cells

local function continue(co, ok, first, ...)
  if first == PENDING and ok then
    if isyieldable() then
      yield(PENDING)
    else
      host.park()
    end
    return continue(co, resume(co))
  end
  if signals.stopped then
    host.check()
  end
  return ok, first, ...
end

function coroutine.create(body)
  return arm(create(body))
end

function coroutine.resume(co, ...)
  return continue(co, resume(co, ...))
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
  local co = arm(create(body))
  return function(...)
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
  return co, main or cells[co] or false
end

function coroutine.isyieldable(co)
  if co ~= nil then
    return isyieldable(co) and not cells[co]
  end
  return isyieldable() and not cells[running()]
end
