-- os.execute, os.exit and the parts of debug and os that reach beyond the script.
local host = ...
local type, tostring, getmetatable = type, tostring, getmetatable
local tointeger = math.tointeger
local raw = {}
for name, value in pairs(debug) do
  raw[name] = value
end

local execute = host.waiting(host.execute)
function os.execute(command)
  if command == nil then
    return true
  end
  if type(command) ~= "string" and type(command) ~= "number" then
    return host.complain("bad argument #1 to 'execute' (string expected, got " .. type(command) .. ")")
  end
  return execute(tostring(command))
end

function os.exit(code)
  if code == nil or code == true then
    code = 0
  elseif code == false then
    code = 1
  elseif type(code) ~= "number" or not tointeger(code) then
    return host.complain("bad argument #1 to 'exit' (an integer or a boolean expected, got " .. type(code) .. ")")
  end
  return host.exit(tointeger(code))
end

-- The locale is the whole process's.
local setlocale = os.setlocale
function os.setlocale(locale, category)
  if locale == nil or locale == "C" or locale == "POSIX" then
    return setlocale(nil, category)
  end
  return nil
end

package.loadlib = nil
package.cpath = ""

-- `debug` without what could break the interpreter's own functions and values.
debug = {
  traceback = raw.traceback,
  getinfo = raw.getinfo,
  upvalueid = raw.upvalueid,
}

-- Whether something is the script's own, and neither C's nor the prelude's.
local function is_script(info)
  return info.what ~= "C" and info.source ~= "=[perilune]"
end

local function lua_function(name, value)
  if type(value) ~= "function" or not is_script(raw.getinfo(value, "S")) then
    return host.complain("bad argument #1 to '" .. name .. "' (a function of the script expected)")
  end
end

-- As Lua's: an optional coroutine, a level or a function, and the local's number.
function debug.getlocal(co, level, index)
  local other = type(co) == "thread"
  if not other then
    level, index = co, level
  end
  if type(level) == "function" then
    return raw.getlocal(level, index)
  end
  local info
  if other then
    info = raw.getinfo(co, level, "S")
  else
    level = level + 1
    info = raw.getinfo(level, "S")
  end
  if not info then
    return host.complain("bad argument #1 to 'getlocal' (level out of range)")
  elseif not is_script(info) then
    return nil
  end
  if other then
    return raw.getlocal(co, level, index)
  end
  local name, value = raw.getlocal(level, index)
  return name, value
end

function debug.getupvalue(body, index)
  lua_function("getupvalue", body)
  return raw.getupvalue(body, index)
end

function debug.setupvalue(body, index, value)
  lua_function("setupvalue", body)
  return raw.setupvalue(body, index, value)
end

function debug.getmetatable(value)
  if type(value) == "userdata" then
    return getmetatable(value)
  end
  return raw.getmetatable(value)
end

function debug.setmetatable(value, metatable)
  if type(value) ~= "table" then
    return host.complain("bad argument #1 to 'setmetatable' (table expected, got " .. type(value) .. ")")
  end
  return raw.setmetatable(value, metatable)
end

function debug.gethook()
  return nil
end

function debug.sethook()
  return host.complain("debug.sethook is not available: the interpreter's own hook carries interrupts")
end

package.loaded.debug = debug
