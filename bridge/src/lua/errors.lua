-- Error objects and tracebacks. `host` is the table that the prelude's files share.
local host = ...
local getinfo, setmetatable, tostring, type = debug.getinfo, setmetatable, tostring, type
local error, ipairs, next, pcall, rawequal, rawget = error, ipairs, next, pcall, rawequal, rawget
local getmetatable, sub = debug.getmetatable, string.sub

local PRELUDE = "=[perilune]"
-- A deeper stack is shown by its innermost and outermost levels alone, the prelude's among them.
local MOST, FIRST, LAST = 60, 14, 14

-- What a failed model call raises: fields `kind` and `message`, `location` where a script made it, and what else is known of it.
local Error = { __name = "perilune.Error" }
Error.__index = Error
function Error.__tostring(object)
  local message = tostring(object.message)
  if object.location then
    return object.location .. ": " .. message
  end
  return message
end
function Error.__concat(left, right)
  return tostring(left) .. tostring(right)
end
host.Error = Error

-- The tables in which the methods of objects are found, with the object's name in the documentation.
local classes = {}
host.classes = classes
function host.class(name, methods)
  classes[#classes + 1] = { name = name, methods = methods }
end
host.class("perilune.Error", Error)

local function is_script(info)
  return info.what ~= "C" and info.source ~= PRELUDE
end

-- The line of the innermost script frame.
local function location()
  local level = 2
  while true do
    local info = getinfo(level, "Sl")
    if not info then
      return nil
    end
    if is_script(info) and info.currentline > 0 then
      return info.short_src .. ":" .. info.currentline
    end
    level = level + 1
  end
end

-- What is known of an error beside its kind, by the error object, whose fields are the script's.
local details_of = setmetatable({}, { __mode = "k" })

function host.fail(kind, message, details)
  local object = setmetatable({ kind = kind, message = message, location = location() }, Error)
  for name, value in next, details or {} do
    object[name] = value
  end
  details_of[object] = details
  return error(object, 0)
end

-- An error as Lua's own library raises it: a string with the script's line in front.
function host.complain(message)
  local place = location()
  return error(place and (place .. ": " .. message) or message, 0)
end

-- The main functions of cells, which their compilation may have made ordinary ones.
local chunks = setmetatable({}, { __mode = "k" })
host.chunks = chunks

local function describe(info)
  local place = info.short_src .. ":"
  if info.currentline > 0 then
    place = place .. info.currentline .. ":"
  end
  if info.what == "main" or chunks[info.func] then
    return place .. " in main chunk"
  end
  if info.namewhat == "global" then
    return place .. " in function '" .. info.name .. "'"
  end
  if info.namewhat ~= "" and info.name then
    return place .. " in " .. info.namewhat .. " '" .. info.name .. "'"
  end
  return place .. " in function <" .. info.short_src .. ":" .. info.linedefined .. ">"
end

-- What is at a level of this coroutine, counted from the caller's caller, or of `co`.
local function at(level, what, co)
  local info
  if co then
    info = getinfo(co, level, what)
  else
    info = getinfo(level + 2, what)
  end
  return info
end

-- How many levels there are. Finding one costs time in proportion to its number, and a stack may be
-- 200,000 levels deep: so by halves.
local function depth(co)
  local low, high = 0, 1
  while at(high, "l", co) do
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = (low + high) // 2
    if at(middle, "l", co) then
      low = middle
    else
      high = middle
    end
  end
  return high
end

-- The script frames of this coroutine or of `co`, innermost first.
local function frames(co)
  local lines = {}
  local function add(first, last)
    for level = first, last do
      local info = at(level, "Slnf", co)
      if info and is_script(info) then
        lines[#lines + 1] = describe(info)
      end
    end
  end
  local levels = depth(co)
  if levels <= MOST then
    add(0, levels)
  else
    add(0, FIRST)
    lines[#lines + 1] = "... (" .. levels - FIRST - LAST .. " more)"
    add(levels - LAST, levels)
  end
  return lines
end
host.frames = frames

-- A coroutine's frames are gone once its error reaches the one that resumed it: they are noted here,
-- for each cell by itself, since others may run before they are asked for.
local signals = host.signals
local notes = setmetatable({}, { __mode = "k" })
function host.note_coroutine(co, object)
  local note = notes[signals.cell]
  if not (note and rawequal(note.object, object)) then
    notes[signals.cell] = { object = object, frames = frames(co) }
  end
end

local function noted(object)
  local note = notes[signals.cell]
  if not note then
    return nil
  end
  notes[signals.cell] = nil
  local first = note.object
  local same = rawequal(first, object)
    or type(object) == "string" and type(first) == "string" and sub(object, -#first) == first
  return same and note.frames or nil
end

local function text_of(object)
  local kind = type(object)
  if kind == "string" then
    return object
  end
  if kind == "userdata" then
    local described = host.describe_userdata(object)
    if described then
      return described
    end
  end
  local metatable = getmetatable(object)
  if kind == "number" or metatable and (metatable.__tostring or metatable.__name) then
    local ok, text = pcall(tostring, object)
    if ok then
      return text
    end
  end
  return "(error object is a " .. kind .. " value)"
end

-- Once a cell is being stopped no message handler of the script runs: within one that is called by
-- the hook's own error there are no hooks, so nothing could stop it.
local raw_xpcall = xpcall
host.xpcall = raw_xpcall
function xpcall(body, handler, ...)
  if type(handler) ~= "function" then
    local got = handler == nil and "no value" or type(handler)
    return host.complain("bad argument #2 to 'xpcall' (function expected, got " .. got .. ")")
  end
  return raw_xpcall(body, function(object)
    if signals.stopped then
      return object
    end
    return handler(object)
  end, ...)
end

-- What a failure is called whose error has this kind; any other is a model's.
local NAMES = { input = "InputError", input_not_allowed = "StdinNotAllowed" }

-- The message handler of a cell: gathers what a failure says while the frames still stand.
function host.handler(object)
  if signals.stopped then
    return object
  end
  local failure = { message = text_of(object), name = "LuaError", frames = noted(object) or {} }
  for _, line in ipairs(frames()) do
    failure.frames[#failure.frames + 1] = line
  end
  if getmetatable(object) == Error then
    failure.name = NAMES[object.kind] or "ModelError"
    failure.details = details_of[object]
  end
  if type(object) == "table" then
    local kind = rawget(object, "kind")
    if type(kind) == "string" then
      failure.kind = kind
    end
  end
  return failure
end
