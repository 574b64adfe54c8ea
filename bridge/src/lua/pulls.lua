-- Bringing a model into the store. What a script wants to hear of it is called between two waits, where it may do anything.
local host = ...
local type = type
local next_pull, open_pull = host.waiting(host.next_pull), host.open_pull

function host.pull(spec, options)
  local pulling = open_pull(spec, options)
  local on_progress = type(options) == "table" and options.on_progress
  while true do
    local done, told = next_pull(pulling)
    if done then
      return told
    end
    if on_progress then
      on_progress(told)
    end
  end
end
