-- Top-level locals that outlive their cell. After each top-level `local` statement a call of `keep`
-- is compiled in, with a closure over the new variables; the upvalues of a later cell are joined to
-- the closure's, so that it reads and writes the very variables that earlier closures captured.
local host = ...
local getupvalue, upvaluejoin = debug.getupvalue, debug.upvaluejoin
local gmatch, select = string.gmatch, select

-- name -> { closure, index of the variable among its upvalues, whether it is constant }
local kept = {}
host.kept = kept

local function upvalue_index(closure, name)
  local index = 1
  while true do
    local found = getupvalue(closure, index)
    if found == name or not found then
      return found and index
    end
    index = index + 1
  end
end

-- `names`: the statement's names with their attributes, as in "a,b<const>". `closure` returns the variables.
function host.keep(names, closure)
  local position = 0
  for name, attribute in gmatch(names, "([%w_]+)([^,]*)") do
    position = position + 1
    local holder, index = closure, upvalue_index(closure, name)
    if not index then
      -- A constant that the compiler folded has no variable: it gets one.
      local value = select(position, closure())
      holder, index = function() return value end, 1
    end
    kept[name] = { holder, index, attribute ~= "" }
  end
end

-- Joins the upvalues of a freshly compiled cell to the variables of earlier ones.
function host.join(cell)
  local index = 1
  while true do
    local name = getupvalue(cell, index)
    if not name then
      return cell
    end
    local variable = kept[name]
    if variable then
      upvaluejoin(cell, index, variable[1], variable[2])
    end
    index = index + 1
  end
end

-- The value of a kept local, without running any code.
function host.kept_value(name)
  local variable = kept[name]
  if not variable then
    return nil
  end
  local _, value = getupvalue(variable[1], variable[2])
  return value
end

-- Where the methods of strings are found.
host.string_methods = string
