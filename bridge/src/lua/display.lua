-- The global `display`: shows values while a cell runs, and replaces them later.
local host = ...
local ipairs, pairs, select, setmetatable, tostring, type = ipairs, pairs, select, setmetatable, tostring, type
local concat, find, format, match, sub, byte = table.concat, string.find, string.format, string.match, string.sub, string.byte
local sort, mathtype, open = table.sort, math.type, io.open
local checked, described, rich = host.checked, host.described, host.rich

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
  local state = states[value]
  if state then
    return state.last, state.cell == host.begun
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
  states[handle] = { id = id or host.new_display_id(), make = make, options = options, last = shown, cell = host.begun }
  host.show(shown, states[handle].id, false)
  return handle
end
host.present = present

-- Replaces what the handle shows, wherever it is shown, by a value of the same kind.
function methods.update(handle, value, options)
  local state = state_of(handle, "update")
  state.last = state.make(value, options or state.options)
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
    if state.cell ~= host.begun then
      state.cell = host.begun
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

local function need_string(name, value)
  if type(value) ~= "string" then
    return host.complain(name .. " got " .. described(value) .. "; expected a string")
  end
  return value
end

-- Adds display.NAME for a kind of value. `known`: its options; `make(value, options)`: its
-- representations and their metadata.
local function define(name, known, make)
  local full = "display." .. name
  local function made(value, options)
    local data, metadata = make(value, read_options(full, options, known), full)
    return (checked(rich(data, metadata)))
  end
  display[name] = function(value, options)
    return present(made, value, options)
  end
end
host.define_display = define

define("html", {}, function(html, _, name)
  return { ["text/html"] = html, ["text/plain"] = host.html_text(need_string(name, html)) }
end)

define("markdown", {}, function(markdown, _, name)
  return { ["text/markdown"] = need_string(name, markdown), ["text/plain"] = markdown }
end)

-- Frontends look for formulas between dollar signs or in environments.
define("latex", {}, function(latex, _, name)
  need_string(name, latex)
  local marked = find(latex, "$", 1, true) or find(latex, "\\[", 1, true) or find(latex, "\\(", 1, true)
    or find(latex, "\\begin{", 1, true)
  return { ["text/latex"] = marked and latex or "$\\displaystyle " .. latex .. "$", ["text/plain"] = latex }
end)

-- A value that JSON can hold, or JSON text.
define("json", { expanded = "boolean" }, function(value, options)
  if type(value) == "string" then
    value = json.decode(value)
  end
  local data = { ["application/json"] = value, ["text/plain"] = json.encode(value, { indent = true }) }
  return data, { ["application/json"] = { expanded = options.expanded or false } }
end)

define("svg", {}, function(svg, _, name)
  return { ["image/svg+xml"] = svg, ["text/plain"] = checked(host.describe_svg(need_string(name, svg))) }
end)

local PNG = "\137PNG\r\n\26\n"

-- The bytes of an image, or the name of a file that holds it.
define("png", { width = "integer", height = "integer" }, function(image, options, name)
  need_string(name, image)
  local bytes = image
  if sub(image, 1, #PNG) ~= PNG then
    local file, problem = nil, "it is no PNG image, and too long for the name of a file"
    if #image < 4096 and not find(image, "\0", 1, true) then
      file, problem = open(image, "rb")
    end
    bytes = file and file:read("a")
    if file then
      file:close()
    end
    if not bytes or sub(bytes, 1, #PNG) ~= PNG then
      return host.complain(name .. " got " .. format("%q", sub(image, 1, 60)) .. ": " .. (problem or "no PNG file")
        .. "; expected the bytes of a PNG image, or the name of such a file")
    end
  end
  local metadata = (options.width or options.height)
    and { ["image/png"] = { width = options.width, height = options.height } } or nil
  return { ["image/png"] = bytes, ["text/plain"] = checked(host.describe_png(bytes)) }, metadata
end)

-- A Vega-Lite 5 specification, which JupyterLab draws without a network.
define("vegalite", {}, function(spec, _, name)
  if type(spec) == "string" then
    spec = json.decode(spec)
  end
  if type(spec) ~= "table" then
    return host.complain(name .. " got " .. described(spec) .. "; expected a table like {mark = \"bar\", ...}")
  end
  local mark = type(spec.mark) == "table" and spec.mark.type or spec.mark
  local about = {}
  about[#about + 1] = type(mark) == "string" and mark or nil
  about[#about + 1] = type(spec.title) == "string" and spec.title or nil
  local plain = "Vega-Lite chart" .. (#about > 0 and " (" .. concat(about, ": ") .. ")" or "")
  return { ["application/vnd.vegalite.v5+json"] = spec, ["text/plain"] = plain }
end)

local TABLE = { columns = "table", caption = "string", max_rows = "integer", max_columns = "integer" }

define("table", TABLE, function(list, options, name)
  if type(list) ~= "table" then
    return host.complain(name .. " got " .. described(list) .. "; expected a list of records or of lists")
  end
  for _, column in ipairs(options.columns or {}) do
    if type(column) ~= "string" and mathtype(column) ~= "integer" then
      return host.complain("option `columns` of " .. name .. " has " .. described(column)
        .. "; expected the names of fields, or the numbers of items")
    end
  end
  local data = {}
  host.add_table(data, list, options)
  return data
end)

local CHART = {
  kind = "string", title = "string", data = "table", x = "any", y = "any", bins = "integer", x_label = "string",
  y_label = "string", width = "integer", height = "integer",
}

-- A chart is one table; what its fields hold is checked where it is drawn.
local function make_chart(spec)
  if type(spec) ~= "table" then
    return host.complain("display.chart got " .. described(spec) .. "; expected a table like {kind = \"bar\", y = {1, 2}}")
  end
  local svg, plain = checked(host.chart(read_options("display.chart", spec, CHART)))
  return (checked(rich { ["image/svg+xml"] = svg, ["text/plain"] = plain }))
end

function display.chart(spec)
  return present(make_chart, spec)
end

local bars = setmetatable({}, { __mode = "k" })
local steps = {}
local Progress = { __name = "progress", __index = steps }

local function bar_of(progress, method)
  return bars[progress] or host.complain("progress:" .. method .. " needs its progress: call it with a colon")
end

local function amount(name, value)
  if type(value) ~= "number" or value ~= value or value < 0 or value == math.huge then
    return host.complain(name .. " got " .. (type(value) == "number" and tostring(value) or described(value))
      .. "; expected a number from 0 on")
  end
  return value
end

-- Shows how far something is, in one line.
function display.progress(total, options)
  options = read_options("display.progress", options, { label = "string" })
  local progress = setmetatable({}, Progress)
  bars[progress] = host.open_progress(total ~= nil and amount("display.progress", total) or nil, options.label)
  return progress
end

-- So much is done.
function steps.update(progress, done)
  host.set_progress(bar_of(progress, "update"), amount("progress:update", done), false)
  return progress
end

-- So much more is done: one, unless told otherwise.
function steps.advance(progress, more)
  local bar = bar_of(progress, "advance")
  host.set_progress(bar, host.progress_of(bar) + amount("progress:advance", more == nil and 1 or more), false)
  return progress
end

-- Nothing more will be done.
function steps.finish(progress)
  local bar = bar_of(progress, "finish")
  local done, total = host.progress_of(bar)
  host.set_progress(bar, total or done, true)
  return progress
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
