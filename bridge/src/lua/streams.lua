-- Answers that come piece by piece. The fourth value of the iteration closes the stream when the
-- loop is left: what is not read is not generated.
local host = ...
local setmetatable = setmetatable
local next_piece, open_stream, close_stream = host.waiting(host.next_piece), host.open_stream, host.close_stream

local Closer = { __name = "stream" }
function Closer.__close(closer)
  close_stream(closer.reading)
end

-- What a generic `for` needs to iterate over a reading.
function host.iterate(reading)
  local function piece()
    return next_piece(reading)
  end
  return piece, nil, nil, setmetatable({ reading = reading }, Closer)
end

function host.stream(messages, options)
  return host.iterate(open_stream(messages, options))
end
