-- print, io, warn and input: what they write and read belongs to the client that sent the cell. Files
-- that `io.open` opens behave as always.
local host = ...
local tostring, type, select, pairs, setmetatable = tostring, type, select, pairs, setmetatable
local getmetatable = debug.getmetatable
local concat, pack, unpack = table.concat, table.pack, table.unpack
local tointeger = math.tointeger
local write_stdout, write_stderr = host.write_stdout, host.write_stderr
local raw = {}
for name, value in pairs(io) do
  raw[name] = value
end

function print(...)
  local count = select("#", ...)
  if count == 1 then
    return write_stdout(tostring((...)) .. "\n")
  end
  local texts = { ... }
  for index = 1, count do
    texts[index] = tostring(texts[index])
  end
  write_stdout(concat(texts, "\t", 1, count) .. "\n")
end

-- warn("@on") and warn("@off") are Lua's control messages.
local warnings = true
function warn(...)
  local texts = pack(...)
  for index = 1, texts.n do
    if type(texts[index]) ~= "string" and type(texts[index]) ~= "number" then
      return host.complain("bad argument #" .. index .. " to 'warn' (string expected, got " .. type(texts[index]) .. ")")
    end
  end
  if texts.n == 0 then
    return host.complain("bad argument #1 to 'warn' (string expected, got no value)")
  end
  local message = concat(texts, "", 1, texts.n)
  if texts.n == 1 and (message == "@on" or message == "@off") then
    warnings = message == "@on"
  elseif warnings then
    write_stderr("Lua warning: " .. message .. "\n")
  end
end

local Console = { __name = "FILE*" }
host.class("file", Console)
host.class("file", getmetatable(raw.stdout).__index)
Console.__index = Console
function Console.__tostring(file)
  return "file (" .. file.name .. ")"
end

local function console(name, write, read)
  return setmetatable({ name = name, put = write, get = read }, Console)
end

local function is_console(file)
  return type(file) == "table" and getmetatable(file) == Console
end

-- Whether a value is one of the files that `write` returns so that calls can be chained.
function host.is_file(value)
  return is_console(value) or raw.type(value) ~= nil
end

local function refuse()
  return nil, "Bad file descriptor", 9
end

local stdin = console("stdin", nil, host.waiting(host.read))
local stdout = console("stdout", write_stdout)
local stderr = console("stderr", write_stderr)

function Console:write(...)
  if not self.put then
    return refuse()
  end
  local count = select("#", ...)
  for index = 1, count do
    local value = select(index, ...)
    if type(value) ~= "string" and type(value) ~= "number" then
      return host.complain("bad argument #" .. index .. " to 'write' (string expected, got "
        .. type(value) .. ")")
    end
  end
  if count == 1 then
    self.put(tostring((...)))
  elseif count > 1 then
    self.put(concat({ ... }))
  end
  return self
end

local function check_formats(name, ...)
  for index = 1, select("#", ...) do
    local format = select(index, ...)
    local known = false
    if type(format) == "number" then
      known = tointeger(format) ~= nil and format >= 0
    elseif type(format) == "string" then
      local letter = format:match("^%*?(.?)")
      known = letter == "l" or letter == "L" or letter == "n" or letter == "a"
    end
    if not known then
      return host.complain("bad argument #" .. index .. " to '" .. name
        .. "' (invalid format `" .. tostring(format) .. "`; use \"l\", \"L\", \"n\", \"a\" or a number of bytes)")
    end
  end
end

function Console:read(...)
  if not self.get then
    return refuse()
  end
  check_formats("read", ...)
  return self.get(...)
end

function Console:lines(...)
  check_formats("lines", ...)
  local formats = pack(...)
  return function()
    return self:read(unpack(formats, 1, formats.n))
  end
end

function Console:flush()
  return self
end

function Console:setvbuf()
  return true
end

function Console:seek()
  return nil, "Illegal seek", 29
end

function Console:close()
  return nil, "cannot close standard file", -1
end

local current_input, output = stdin, stdout
io.stdin, io.stdout, io.stderr = stdin, stdout, stderr

function io.type(value)
  if is_console(value) then
    return "file"
  end
  return raw.type(value)
end

function io.write(...)
  return output:write(...)
end

function io.read(...)
  return current_input:read(...)
end

function io.flush()
  return output:flush()
end

-- Shows a prompt and returns the line that is typed; nil at the input's end.
local ask = host.waiting(host.ask)
function input(prompt, options)
  local password = false
  if prompt == nil then
    prompt = ""
  elseif type(prompt) ~= "string" and type(prompt) ~= "number" then
    return host.complain("bad argument #1 to 'input' (string expected, got " .. type(prompt) .. ")")
  end
  if options ~= nil and type(options) ~= "table" then
    return host.complain("bad argument #2 to 'input' (table expected, got " .. type(options) .. ")")
  end
  for name, value in pairs(options or {}) do
    if name ~= "password" then
      return host.complain("unknown option `" .. tostring(name) .. "` of input; known: `password`")
    elseif type(value) ~= "boolean" then
      return host.complain("option `password` of input is a " .. type(value) .. "; expected true or false")
    end
    password = value
  end
  return ask(tostring(prompt), password)
end

local function redirect(name, current, mode, file)
  if file == nil then
    return current
  end
  if type(file) == "string" then
    local opened, problem = raw.open(file, mode)
    if not opened then
      return host.complain("cannot open file '" .. file .. "' (" .. problem .. ")")
    end
    return opened
  end
  if is_console(file) or raw.type(file) then
    return file
  end
  return host.complain("bad argument #1 to '" .. name .. "' (FILE* expected, got " .. type(file) .. ")")
end

function io.input(file)
  current_input = redirect("input", current_input, "r", file)
  return current_input
end

function io.output(file)
  output = redirect("output", output, "w", file)
  return output
end

function io.close(file)
  return (file or output):close()
end

function io.lines(name, ...)
  if name == nil then
    return current_input:lines(...)
  end
  return raw.lines(name, ...)
end
