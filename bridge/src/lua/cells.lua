-- How a cell runs within its coroutine: under a message handler that notes where an error happened.
local host = ...
local xpcall, running = host.xpcall, coroutine.running
local cells, chunks, handler, render = host.cells, host.chunks, host.handler, host.render

-- A result is turned into its text here, where a `__tostring` can be interrupted like other code.
local function finish(ok, ...)
  if ok then
    return xpcall(render, handler, ...)
  end
  return false, ...
end

-- true and the result's text, or false and a table that describes the failure.
function host.run_cell(chunk, ...)
  cells[running()] = true
  chunks[chunk] = true
  return finish(xpcall(chunk, handler, ...))
end

-- What an expression cell passes its values through.
function host.results(...)
  return ...
end
