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
  getlocal = raw.getlocal,
  upvalueid = raw.upvalueid,
}

local function lua_function(name, value)
  if type(value) ~= "function" or raw.getinfo(value, "S").what == "C" then
    return host.complain("bad argument #1 to '" .. name .. "' (a Lua function expected)")
  end
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
