-- require: modules that travelled with the script first, then the script's folder, then
-- package.path. Written in Lua so that a module's own code can wait for a model.
local host = ...
local type, tostring, load = type, tostring, load
local concat, loaded = table.concat, package.loaded
local preload, search_path = package.searchers[1], package.searchers[2]

-- The source and chunk name of a module, or nil and where it was looked for.
local function from(find)
  return function(name)
    local source, place = find(name)
    if not source then
      return place
    end
    local chunk, problem = load(source, "@" .. place, "t")
    if not chunk then
      return host.complain("error loading module '" .. name .. "':\n\t" .. problem)
    end
    return chunk, place
  end
end

package.searchers = { preload, from(host.travelled_module), from(host.folder_module), search_path }

function require(name)
  if type(name) ~= "string" and type(name) ~= "number" then
    return host.complain("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")")
  end
  name = tostring(name)
  if loaded[name] then
    return loaded[name]
  end
  local searchers = package.searchers
  if type(searchers) ~= "table" then
    return host.complain("'package.searchers' must be a table")
  end
  local places = {}
  for index = 1, #searchers do
    local loader, extra = searchers[index](name)
    if type(loader) == "function" then
      local value = loader(name, extra)
      if value ~= nil then
        loaded[name] = value
      elseif loaded[name] == nil then
        loaded[name] = true
      end
      return loaded[name], extra
    elseif type(loader) == "string" and loader ~= "" then
      places[#places + 1] = loader
    end
  end
  return host.complain("module '" .. name .. "' not found:\n\t" .. concat(places, "\n\t"))
end
