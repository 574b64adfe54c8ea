-- require: modules that travelled with the script first, then the script's folder, then
-- package.path. Written in Lua so that a module's own code can wait for a model.
local host = ...
local type, tostring, load, loadfile = type, tostring, load, loadfile
local setmetatable = setmetatable
local concat, loaded, searchpath = table.concat, package.loaded, package.searchpath
local preload = package.searchers[1]

local function checked(name, chunk, problem, place)
  if not chunk then
    return host.complain("error loading module '" .. name .. "':\n\t" .. problem)
  end
  return chunk, place
end

-- A searcher over what `find` finds: source and chunk name, or nil and where it looked.
local function from(find)
  return function(name)
    local source, place = find(name)
    if not source then
      return place
    end
    local chunk, problem = load(source, "@" .. place, "t")
    return checked(name, chunk, problem, place)
  end
end

local function along_path(name)
  if type(package.path) ~= "string" then
    return host.complain("'package.path' must be a string")
  end
  local file, places = searchpath(name, package.path)
  if not file then
    return places
  end
  local chunk, problem = loadfile(file)
  return checked(name, chunk, problem, file)
end

package.searchers = { preload, from(host.travelled_module), from(host.folder_module), along_path }

-- The modules that each cell is loading. A cell that loads what another is loading loads it again.
local loading = setmetatable({}, { __mode = "k" })

-- Notes that this cell loads a module, until the returned variable is closed.
local Loading = {}
function Loading.__close(mark)
  mark.names[mark.name] = nil
end

local function begin(name)
  local cell = host.signals.cell
  local names = loading[cell] or {}
  if names[name] then
    return host.complain("loop or previous error loading module '" .. name .. "'")
  end
  loading[cell], names[name] = names, true
  return setmetatable({ names = names, name = name }, Loading)
end

local function run(loader, name, extra)
  local _ <close> = begin(name)
  local value = loader(name, extra)
  if value ~= nil then
    loaded[name] = value
  elseif loaded[name] == nil then
    loaded[name] = true
  end
  return loaded[name], extra
end

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
      return run(loader, name, extra)
    elseif type(loader) == "string" and loader ~= "" then
      places[#places + 1] = loader
    end
  end
  return host.complain("module '" .. name .. "' not found:\n\t" .. concat(places, "\n\t"))
end
