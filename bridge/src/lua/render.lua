-- The text of a value. A string alone is shown as it is, as print would; within a table it is
-- quoted. Tables are bounded in depth, in entries (each, and all of a value together) and in width, and show their cycles.
local host = ...
local getmetatable, next, rawget, rawlen, tostring, type = debug.getmetatable, next, rawget, rawlen, tostring, type
local mathtype, concat, sort = math.type, table.concat, table.sort
local find, format, gsub, rep, sub, byte = string.find, string.format, string.gsub, string.rep, string.sub, string.byte

local WIDTH, STRING = 76, 1000
-- What the text form and the tree of a value have in common: how deep its tables are shown, how many entries of each, and how many
-- of all together, of one value that stands alone and of one within something else.
host.bounds = { depth = 5, entries = 100, all = 2000, within = 200 }
local DEPTH, ENTRIES, ALL, WITHIN = host.bounds.depth, host.bounds.entries, host.bounds.all, host.bounds.within
-- How many of them are left.
local left = ALL

local keywords = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while"):gmatch("%a+") do
  keywords[word] = true
end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }
local function escape(character)
  return escapes[character] or format("\\x%02x", byte(character))
end

local function quote(text)
  local rest = ""
  if #text > STRING then
    -- Not within a character.
    local cut = STRING
    while cut > 0 and (byte(text, cut + 1) & 0xC0) == 0x80 do
      cut = cut - 1
    end
    rest = "... (" .. (#text - cut) .. " more bytes)"
    text = sub(text, 1, cut)
  end
  return '"' .. gsub(text, '[%c"\\\127]', escape) .. '"' .. rest
end

local order = { number = 1, string = 2, boolean = 3 }
local function before(left, right)
  local kind, other = type(left), type(right)
  if kind ~= other then
    local a, b = order[kind] or 9, order[other] or 9
    if a ~= b then
      return a < b
    end
    return kind < other
  end
  if kind == "number" or kind == "string" then
    return left < right
  end
  return false
end

local render

local function key_text(key, depth, path)
  if type(key) == "string" and find(key, "^[%a_][%w_]*$") and not keywords[key] then
    return key
  end
  return "[" .. render(key, depth, path) .. "]"
end

local function render_table(value, depth, path)
  if path[value] then
    return "<cycle>"
  end
  if next(value) == nil then
    return "{}"
  end
  if depth >= DEPTH then
    return "{...}"
  end
  path[value] = true
  local parts, width, shown, several = {}, 4, 0, false
  local function add(text)
    parts[#parts + 1] = text
    width = width + #text + 2
    several = several or find(text, "\n", 1, true) ~= nil
  end
  local length = rawlen(value)
  local listed = 0
  while listed < length and rawget(value, listed + 1) ~= nil and shown < ENTRIES and left > 0 do
    listed = listed + 1
    shown = shown + 1
    left = left - 1
    add(render(rawget(value, listed), depth + 1, path))
  end
  local keys, more = {}, 0
  for key in next, value do
    if not (mathtype(key) == "integer" and key >= 1 and key <= listed) then
      keys[#keys + 1] = key
    end
  end
  sort(keys, before)
  for index = 1, #keys do
    if shown >= ENTRIES or left <= 0 then
      more = #keys - index + 1
      break
    end
    shown = shown + 1
    left = left - 1
    add(key_text(keys[index], depth + 1, path) .. " = " .. render(rawget(value, keys[index]), depth + 1, path))
  end
  if more > 0 then
    add("... (" .. more .. " more)")
  end
  path[value] = nil
  if several or width + depth * 2 > WIDTH then
    local indent = rep("  ", depth + 1)
    return "{\n" .. indent .. concat(parts, ",\n" .. indent) .. "\n" .. rep("  ", depth) .. "}"
  end
  return "{" .. concat(parts, ", ") .. "}"
end

function render(value, depth, path)
  local kind = type(value)
  if kind == "string" then
    return quote(value)
  end
  if kind == "table" then
    local metatable = getmetatable(value)
    if not (type(metatable) == "table" and rawget(metatable, "__tostring") ~= nil) then
      return render_table(value, depth, path)
    end
  elseif kind == "function" or kind == "thread" then
    return "<" .. kind .. ">"
  end
  if value == host.null then
    return "json.null"
  end
  return tostring(value)
end

-- The text of a value that stands alone.
function host.text(value)
  local kind = type(value)
  if kind == "string" or kind == "function" or kind == "thread" then
    return tostring(value)
  end
  left = ALL
  return render(value, 0, {})
end

-- The text of a value within another, at this depth.
function host.nested_text(value, depth)
  left = WITHIN
  return render(value, depth or 0, {})
end

-- As a table constructor would write a key.
function host.key_text(key)
  return key_text(key, 1, {})
end

-- The order in which keys are shown.
host.before = before
