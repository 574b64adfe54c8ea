-- A nested table as HTML that unfolds. Bounded as the text form is: in depth, entries and length of
-- strings; cycles are shown. Everything a script wrote is escaped.
local host = ...
local getmetatable, next, rawget, rawlen, type = debug.getmetatable, next, rawget, rawlen, type
local concat, sort, gsub, mathtype = table.concat, table.sort, string.gsub, math.type
local before, key_text, nested_text = host.before, host.key_text, host.nested_text

local DEPTH, ENTRIES, ALL, WITHIN = host.bounds.depth, host.bounds.entries, host.bounds.all, host.bounds.within
-- How many of them are left.
local left = ALL
-- Tables this deep are shown unfolded.
local OPEN = 1

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }
local function escape(text)
  return (gsub(text, "[&<>\"']", entities))
end
host.escape = escape

-- Whether a value is a table that is shown by its fields.
local function is_plain(value)
  if type(value) ~= "table" then
    return false
  end
  local metatable = getmetatable(value)
  return not (type(metatable) == "table" and rawget(metatable, "__tostring") ~= nil)
end
host.is_plain = is_plain

local function code(text)
  return "<code>" .. escape(text) .. "</code>"
end

local function sorted_keys(value, listed)
  local keys = {}
  for key in next, value do
    if not (mathtype(key) == "integer" and key >= 1 and key <= listed) then
      keys[#keys + 1] = key
    end
  end
  sort(keys, before)
  return keys
end

local branch

-- What stands behind a name, which may be empty. A table that unfolds has the name in the line to click on.
local function leaf(name, value, depth, path)
  if not is_plain(value) or next(value) == nil then
    return name .. code(nested_text(value))
  end
  if path[value] then
    return name .. "<code>&lt;cycle&gt;</code>"
  end
  if depth >= DEPTH then
    return name .. "<code>{...}</code>"
  end
  return branch(name, value, depth, path)
end

function branch(name, value, depth, path)
  path[value] = true
  local items = {}
  local length, listed, more = rawlen(value), 0, 0
  local function add(key, child)
    left = left - 1
    items[#items + 1] = "<li>" .. leaf(key, child, depth + 1, path) .. "</li>"
  end
  while listed < length and rawget(value, listed + 1) ~= nil and #items < ENTRIES and left > 0 do
    listed = listed + 1
    add("", rawget(value, listed))
  end
  local keys = sorted_keys(value, listed)
  for index = 1, #keys do
    if #items >= ENTRIES or left <= 0 then
      more = #keys - index + 1
      break
    end
    add(code(key_text(keys[index])) .. " = ", rawget(value, keys[index]))
  end
  path[value] = nil
  local count = #items + more
  if more > 0 then
    items[#items + 1] = "<li>... (" .. more .. " more)</li>"
  end
  local start = listed > 0 and 1 or 0
  local list = start == 1 and #keys == 0 and "ol" or "ul"
  local style = list == "ul" and "list-style-type: none; " or ""
  return "<details" .. (depth < OPEN and " open" or "") .. "><summary>" .. name .. count
    .. (count == 1 and " entry" or " entries") .. "</summary><" .. list .. ' style="' .. style
    .. 'margin: 0; padding-left: 2em">' .. concat(items) .. "</" .. list .. "></details>"
end

-- The HTML of a table.
function host.tree(value)
  left = ALL
  return '<div style="text-align: left">' .. branch("", value, 0, {}) .. "</div>"
end

-- The HTML of a value within something else, folded.
function host.nested_html(value)
  left = WITHIN
  return leaf("", value, OPEN, {})
end

-- Whether a table has others in it, so that there is something to unfold.
function host.is_nested(value)
  for _, child in next, value do
    if is_plain(child) and next(child) ~= nil then
      return true
    end
  end
  return false
end
