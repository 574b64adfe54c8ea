-- How a cell runs within its coroutine: under a message handler that notes where an error happened.
local host = ...
local xpcall, running = host.xpcall, coroutine.running
local cells, chunks, handler, result, signals = host.cells, host.chunks, host.handler, host.result, host.signals

-- A result gets its representations here, where a `__tostring` can be interrupted like other code.
local function finish(ok, ...)
  if ok then
    return xpcall(result, handler, ...)
  end
  return false, ...
end

-- How many cells have begun, and the number of the one whose turn it is.
local begun = 0
function host.cell_number()
  return cells[signals.cell]
end

-- true and the result in its representations, or false and a table that describes the failure.
function host.run_cell(chunk, ...)
  begun = begun + 1
  cells[running()] = begun
  chunks[chunk] = true
  return finish(xpcall(chunk, handler, ...))
end

-- What an expression cell passes its values through.
function host.results(...)
  return ...
end
