-- The representations of a value, by MIME type: what its metatable's `__mimebundle` and `__repr_html`
-- say, else a table for records and a tree for nested tables; always with a text form. An error in
-- one of them is the error of the cell, or of the call of `display`, as one in `__tostring` is.
local host = ...
local getmetatable, next, pairs, rawget, rawlen = debug.getmetatable, next, pairs, rawget, rawlen
local select, type, tostring = select, type, tostring
local concat, sort, mathtype, min = table.concat, table.sort, math.type, math.min
local is_plain, readable = host.is_plain, host.readable

-- Bytes that are no text are shown as such.
local function text(value)
  return readable(host.text(value))
end

-- Records looked at to tell whether a list is one of them.
local EXAMINED = 1000
-- What a table shows unless it is told otherwise.
local ROWS, COLUMNS = 50, 20

local function checked(value, problem, ...)
  if value == nil then
    return host.complain(problem)
  end
  return value, problem, ...
end
host.checked = checked

local function described(value)
  return type(value) == "string" and "a string" or value == nil and "nil" or "a " .. type(value)
end
host.described = described

-- "record" for a table with string keys alone, "row" for a list, nil for anything else.
local function shape(value)
  if not is_plain(value) or next(value) == nil then
    return nil
  end
  local metatable = getmetatable(value)
  if type(metatable) == "table" and (rawget(metatable, "__mimebundle") or rawget(metatable, "__repr_html")) then
    return nil
  end
  local length, count = rawlen(value), 0
  local strings = true
  for key in next, value do
    if type(key) ~= "string" then
      strings = false
      if not (mathtype(key) == "integer" and key >= 1 and key <= length) then
        return nil
      end
    elseif not strings then
      return nil
    end
    count = count + 1
  end
  if strings then
    return "record"
  end
  return count == length and "row" or nil
end

-- Whether a row is one of a table: as long as the others, with nothing to unfold.
local function is_flat(row, length)
  return rawlen(row) == length and not host.is_nested(row)
end

-- What the items of a list are, if all of them are records or all are rows of one length.
local function records(list)
  local length = rawlen(list)
  if length == 0 then
    return nil
  end
  local first = rawget(list, 1)
  local kind = shape(first)
  if not kind or kind == "row" and length == 1 then
    return nil
  end
  for index = 1, min(length, EXAMINED) do
    local item = rawget(list, index)
    if shape(item) ~= kind or kind == "row" and not is_flat(item, rawlen(first)) then
      return nil
    end
  end
  for key in next, list do
    if not (mathtype(key) == "integer" and key >= 1 and key <= length) then
      return nil
    end
  end
  return kind
end

-- The names of the columns of these rows.
local function columns_of(list, kind, rows)
  local names, widest = {}, 0
  if kind == "row" then
    for index = 1, rows do
      local row = rawget(list, index)
      widest = is_plain(row) and rawlen(row) > widest and rawlen(row) or widest
    end
    for column = 1, widest do
      names[column] = column
    end
    return names
  end
  local seen = {}
  for index = 1, rows do
    local row = rawget(list, index)
    if is_plain(row) then
      for name in next, row do
        if not seen[name] then
          seen[name] = true
          names[#names + 1] = name
        end
      end
    end
  end
  sort(names, host.before)
  return names
end

local function entry(value)
  if value == nil then
    return ""
  end
  if is_plain(value) and next(value) ~= nil then
    return { host.nested_text(value, 1), host.nested_html(value) }
  end
  return { text(value), nil, type(value) == "number" }
end

-- The grid that `host.grid` draws. `options`: columns, caption, max_rows, max_columns.
local function grid(list, kind, options)
  local length = rawlen(list)
  local rows = min(length, options.max_rows or ROWS)
  local names = options.columns or columns_of(list, kind, rows)
  local width = min(#names, options.max_columns or (options.columns and #names) or COLUMNS)
  local drawn = { caption = options.caption, columns = {}, rows = {}, more_rows = length - rows }
  drawn.more_columns = #names - width
  for column = 1, width do
    drawn.columns[column] = tostring(names[column])
  end
  for index = 1, rows do
    local row, cells = rawget(list, index), {}
    for column = 1, width do
      local value
      if is_plain(row) then
        value = rawget(row, names[column])
      elseif column == 1 then
        value = row
      end
      cells[column] = entry(value)
    end
    drawn.rows[index] = cells
  end
  return drawn
end

-- Adds a list of records as a table.
function host.add_table(data, list, options)
  local html, plain = host.grid(grid(list, records(list) or shape(rawget(list, 1)), options))
  data["text/html"], data["text/plain"] = html, plain
end

-- What a method of the value's metatable says, or of its class: xeus-lua's `mime_bundle_repr`.
local function own(value)
  local metatable = getmetatable(value)
  local inherited = type(metatable) == "table" and rawget(metatable, "__index")
  local foreign = type(value) == "table" and rawget(value, "mime_bundle_repr")
    or type(inherited) == "table" and rawget(inherited, "mime_bundle_repr")
  local method = type(metatable) == "table" and rawget(metatable, "__mimebundle") or foreign
  local data, metadata = {}, nil
  if method then
    local made
    made, metadata = method(value)
    if method == foreign and type(made) == "string" then
      made = host.json.decode(made)
    end
    if made ~= nil and type(made) ~= "table" or metadata ~= nil and type(metadata) ~= "table" then
      return host.complain("`__mimebundle` returned " .. described(made) .. " and " .. described(metadata)
        .. "; expected a table from MIME types to data, and a table of metadata or nothing")
    end
    for mime, representation in pairs(made or {}) do
      data[mime] = representation
    end
  end
  local to_html = type(metatable) == "table" and rawget(metatable, "__repr_html")
  if to_html and data["text/html"] == nil then
    local html = to_html(value)
    if html ~= nil and type(html) ~= "string" then
      return host.complain("`__repr_html` returned " .. described(html) .. "; expected a string or nil")
    end
    data["text/html"] = html
  end
  return data, metadata
end

-- The value in all its representations. `about`: more metadata.
local function bundle(value, about)
  local data, metadata = own(value)
  if next(data) == nil and is_plain(value) then
    if records(value) then
      host.add_table(data, value, {})
    elseif host.is_nested(value) then
      data["text/html"] = readable(host.tree(value))
    end
  end
  if data["text/plain"] == nil then
    data["text/plain"] = text(value)
  end
  if about then
    local merged = {}
    for mime, more in pairs(metadata or {}) do
      merged[mime] = more
    end
    for mime, more in pairs(about) do
      merged[mime] = more
    end
    metadata = merged
  end
  return (checked(host.rich(data, metadata)))
end
host.bundle = bundle

-- What a cell returned, in its representations; nil for nothing, for a single nil, for what the
-- cell has shown already, and for the file that `io.write("text")` returns.
function host.result(...)
  local count = select("#", ...)
  if count == 0 or count == 1 and ((...) == nil or host.is_file((...))) then
    return nil
  end
  if count == 1 then
    local shown, fresh = host.shown_value(...)
    if fresh then
      return nil
    end
    return shown or bundle((...))
  end
  local texts = { ... }
  for index = 1, count do
    texts[index] = text(texts[index])
  end
  return (checked(host.rich({ ["text/plain"] = concat(texts, "\t", 1, count) })))
end
