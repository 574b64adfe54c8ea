-- What the functions and tables that a script is given are called in the documentation, for as long
-- as the script has them: `names[print]` is "print", `names` of an agent's methods is "agent".
local host = ...
local next, rawget, sort, sub, type = next, rawget, table.sort, string.sub, type
local getmetatable = debug.getmetatable

local names = setmetatable({}, { __mode = "k" })
host.names = names
names[_G] = "_G"
for _, inner in next, { package.loaded, package.preload, package.searchers } do
  names[inner] = "package"
end

local function is_object(value)
  local metatable = getmetatable(value)
  return metatable and names[metatable.__index]
end

-- Of two names for one thing the first counts, so that they are taken in order.
local function walk(prefix, owner)
  local keys = {}
  for key in next, owner do
    if type(key) == "string" and sub(key, 1, 2) ~= "__" then
      keys[#keys + 1] = key
    end
  end
  sort(keys)
  for index = 1, #keys do
    local value = rawget(owner, keys[index])
    local kind = type(value)
    if (kind == "function" or kind == "table") and not names[value] and not is_object(value) then
      names[value] = prefix .. keys[index]
      if kind == "table" then
        walk(prefix .. keys[index] .. ".", value)
      end
    end
  end
end

for _, class in next, host.classes do
  names[class.methods] = class.name
  walk(class.name .. ":", class.methods)
end
walk("", _G)
