-- load, loadfile and dofile, for text alone: Lua does not check binary chunks, and a bad one ends the
-- process. Without a name the latter two would read the process's own standard input, which is not
-- the client's.
local host = ...
local error, type, raw_load, raw_loadfile = error, type, load, loadfile

local function text_only(mode)
  if type(mode) == "string" then
    return (mode:gsub("b", ""))
  end
  return mode == nil and "t" or mode
end

function load(chunk, name, mode, ...)
  return raw_load(chunk, name, text_only(mode), ...)
end

function loadfile(file, mode, ...)
  if file == nil then
    return host.complain("bad argument #1 to 'loadfile' (a file name is needed)")
  end
  return raw_loadfile(file, text_only(mode), ...)
end

function dofile(file)
  if file == nil then
    return host.complain("bad argument #1 to 'dofile' (a file name is needed)")
  end
  local chunk, problem = raw_loadfile(file, "t")
  if not chunk then
    return error(problem, 0)
  end
  return chunk()
end
