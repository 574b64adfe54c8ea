-- What inspection and completion need of Lua itself. Nothing here calls a function of the script.
local host = ...
local getinfo, getlocal, concat = debug.getinfo, debug.getlocal, table.concat

-- A value's metatable, whatever its `__metatable` says.
host.metatable = debug.getmetatable

-- The parameters of a function of a script as it names them: "a, b, ...".
function host.parameters(body)
  local info = getinfo(body, "uS")
  if info.what == "C" then
    return nil
  end
  local names = {}
  for index = 1, info.nparams do
    names[index] = getlocal(body, index)
  end
  if info.isvararg then
    names[#names + 1] = "..."
  end
  return concat(names, ", ")
end
