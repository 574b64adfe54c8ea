-- The global `ilua`: the names by which notebooks of the xeus-lua kernel show things (its versions
-- 0.4 to 0.8, where `ilua.display.html` shows at once or returns a value that is shown as a result).
-- What Perilune lacks of it says so.
local host = ...
local select, setmetatable, tostring, type = select, setmetatable, tostring, type
local checked, display = host.checked, display

local function missing(name, instead)
  return function(_, key)
    return host.complain("`" .. name .. "." .. tostring(key) .. "` is not available in Perilune; " .. instead)
  end
end

local shows = {}

local function define(name, mime)
  local function make(data)
    local plain = type(data) == "string" and (mime == "text/html" and host.html_text(data) or data)
    local bundle = { [mime] = data }
    if mime == "application/json" then
      -- In xeus-lua a string is a JSON string here, not JSON text.
      bundle[mime] = host.json.encode(data)
      plain = host.json.encode(data, { indent = true })
    end
    bundle["text/plain"] = plain or host.text(data)
    return (checked(host.rich(bundle)))
  end
  shows[name] = function(data)
    return host.present(make, data)
  end
end

define("plain_text", "text/plain")
define("latex", "text/latex")
define("html", "text/html")
define("markdown", "text/markdown")
define("json", "application/json")

function shows.display(...)
  for index = 1, select("#", ...) do
    local value = select(index, ...)
    if type(value) == "table" and type(value.display) == "function" then
      value:display()
    else
      host.display(value)
    end
  end
end

local function named(transient)
  local id = type(transient) == "table" and transient.display_id or nil
  return type(id) == "string" and id or nil
end

function shows.display_data(value, metadata, transient)
  host.show(host.bundle(value, metadata), named(transient), false)
end

function shows.update_display_data(value, metadata, transient)
  local id = named(transient)
  if not id then
    return host.complain("ilua.display.update_display_data got no display_id; expected a third argument like "
      .. '{display_id = "plot"}')
  end
  host.show(host.bundle(value, metadata), id, true)
end

function shows.clear_output(wait)
  host.clear_output(wait and true or false)
end

function shows.table(list)
  return display.table(list)
end

setmetatable(shows, { __index = missing("ilua.display", "known: plain_text, latex, html, markdown, json, table, display, "
  .. "display_data, update_display_data, clear_output; see also the global `display`") })

local absent = missing("ilua", "only `ilua.display` and `ilua.json` are; there are no widgets: show progress with "
  .. "display.progress and replace what a handle shows with handle:update")

ilua = setmetatable({ display = shows }, {
  __index = function(table, key)
    if key == "json" then
      return host.json
    end
    return absent(table, key)
  end,
  __newindex = absent,
})
