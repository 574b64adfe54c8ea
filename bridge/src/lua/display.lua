-- The global `display`: shows values while a cell runs, and replaces them later.
local host = ...
local pairs, select, setmetatable, tostring, type = pairs, select, setmetatable, tostring, type
local concat, sort, mathtype = table.concat, table.sort, math.type
local described = host.described

-- What each handle shows: id, how a value becomes representations, the last of them, in which cell.
local states = setmetatable({}, { __mode = "k" })

local methods = {}
local Handle = { __name = "display", __index = methods }
host.class("handle", methods)

local function state_of(handle, method)
  return states[handle] or host.complain("handle:" .. method .. " needs its handle: call it with a colon")
end

-- The representations of a handle if the value is one, and whether this very cell has shown them.
function host.shown_value(value)
  if host.is_progress(value) then
    return nil, true
  end
  local state = states[value]
  if state then
    return state.last, state.cell == host.cell_number()
  end
end

-- Checks a table of options: every one is known and of its type.
local function read_options(name, options, known)
  if options == nil then
    return {}
  end
  if type(options) ~= "table" then
    return host.complain("the options of " .. name .. " are " .. described(options) .. "; expected a table")
  end
  for option, value in pairs(options) do
    local expected = known[option]
    if not expected then
      local names = {}
      for each in pairs(known) do
        names[#names + 1] = "`" .. each .. "`"
      end
      sort(names)
      return host.complain("unknown option `" .. tostring(option) .. "` of " .. name .. "; known: " .. concat(names, ", "))
    end
    local found = expected == "any" and expected or expected == "integer" and mathtype(value) or type(value)
    if found ~= expected or expected == "integer" and value < 1 then
      return host.complain("option `" .. option .. "` of " .. name .. " is " .. described(value) .. "; expected "
        .. (expected == "integer" and "a whole number from 1 on" or "a " .. expected))
    end
  end
  return options
end
host.read_options = read_options

-- Shows a value for the first time and returns the handle by which it is replaced.
local function present(make, value, options, id)
  local shown = make(value, options)
  local handle = setmetatable({}, Handle)
  states[handle] = { id = id or host.new_display_id(), make = make, options = options, last = shown, cell = host.cell_number() }
  host.show(shown, states[handle].id, false)
  return handle
end
host.present = present

-- Replaces what the handle shows, wherever it is shown, by a value of the same kind.
function methods.update(handle, value, options)
  local state = state_of(handle, "update")
  state.last = state.make(value, options or state.options)
  -- What is shown already is not shown again as what the cell returned.
  state.cell = host.cell_number()
  host.show(state.last, state.id, true)
  return handle
end

function Handle.__tostring(handle)
  return "display " .. state_of(handle, "tostring").id
end

display = setmetatable({}, { __name = "display" })

-- What `display` itself takes.
local SHOW = { id = "string", metadata = "table" }

local function make_any(value, options)
  options = read_options("display", options, SHOW)
  return host.bundle(value, options.metadata)
end

-- What display(value) does. A handle is shown once more, under its own name.
function host.display(value, options)
  local state = states[value]
  if state then
    read_options("display", options, {})
    if state.cell ~= host.cell_number() then
      state.cell = host.cell_number()
      host.show(state.last, state.id, false)
    end
    return value
  end
  return present(make_any, value, options, read_options("display", options, SHOW).id)
end

debug.getmetatable(display).__call = function(_, ...)
  if select("#", ...) == 0 then
    return host.complain("display needs a value: display(value)")
  end
  return host.display(...)
end

-- Takes away what the cell has shown; with `wait`, once something else is shown.
function display.clear(wait)
  if wait ~= nil and type(wait) ~= "boolean" then
    return host.complain("display.clear got " .. described(wait) .. "; expected true, false or nothing")
  end
  host.clear_output(wait or false)
end

-- Whether model calls that take a while show how far they are.
function display.live(on)
  if type(on) ~= "boolean" then
    return host.complain("display.live got " .. described(on) .. "; expected true or false")
  end
  host.set_live(on)
end
