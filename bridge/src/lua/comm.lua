-- The global `Comm`: messages between objects in Lua and in a frontend.
local host = ...
local setmetatable, type, tostring, concat, sort, pairs = setmetatable, type, tostring, table.concat, table.sort, pairs
local post, new_id, write_stderr = host.post_comm, host.new_comm_id, host.write_stderr
local fail = host.fail

-- What is open: id -> target, for others to list, and id -> object.
local comms, objects, count = {}, {}, 0
host.comms = comms

-- What frontends may open: name -> handler.
local targets = {}

-- object -> its id, whether it is open, and its handlers.
local states = setmetatable({}, { __mode = "k" })

local methods = {}
local metatable = { __name = "Comm", __index = methods }

function metatable.__tostring(comm)
  local state = states[comm]
  return "Comm(" .. state.target .. (state.open and ")" or ", closed)")
end

local function of(comm, method)
  local state = states[comm]
  if not state then
    return host.complain("comm:" .. method .. " needs its comm: call it with a colon")
  end
  return state
end

local function name_of(target, name)
  if type(target) ~= "string" or target == "" then
    return host.complain("bad argument #1 to '" .. name .. "' (the name of a target expected, got " .. type(target) .. ")")
  end
  return target
end

local function handler_of(handler, position, name)
  if handler ~= nil and type(handler) ~= "function" then
    return host.complain("bad argument #" .. position .. " to '" .. name .. "' (a function or nil expected, got "
      .. type(handler) .. ")")
  end
  return handler
end

local function adopt(id, target)
  if count >= host.most_comms then
    return fail("too_many_comms", "there are " .. count .. " open comms; close some of them with comm:close()")
  end
  local comm = setmetatable({ id = id, target = target }, metatable)
  states[comm] = { id = id, target = target, open = true }
  comms[id], objects[id], count = target, comm, count + 1
  return comm
end

local function forget(state)
  if state.open then
    state.open = false
    comms[state.id], objects[state.id], count = nil, nil, count - 1
  end
end

-- Sends a message to the other side.
function methods.send(comm, data, metadata, buffers)
  local state = of(comm, "send")
  if not state.open then
    return fail("comm_closed", "the comm to `" .. state.target .. "` is closed; open another one with Comm.open")
  end
  post("message", state.id, data, metadata, buffers)
  return comm
end

-- Closes it on both sides; once it is closed, nothing happens.
function methods.close(comm, data, metadata, buffers)
  local state = of(comm, "close")
  if state.open then
    post("close", state.id, data, metadata, buffers)
    forget(state)
  end
end

-- What sees the messages of the other side: `handler(data, metadata, buffers)`.
function methods.on_message(comm, handler)
  of(comm, "on_message").on_message = handler_of(handler, 1, "on_message")
  return comm
end

-- What sees the other side close it: `handler(data, metadata, buffers)`.
function methods.on_close(comm, handler)
  of(comm, "on_close").on_close = handler_of(handler, 1, "on_close")
  return comm
end

function methods.is_open(comm)
  return of(comm, "is_open").open
end

Comm = {}

-- Has `handler(comm, data, metadata, buffers)` see every comm that a frontend opens to `target`; nil
-- takes the handler away.
function Comm.register(target, handler)
  targets[name_of(target, "register")] = handler_of(handler, 2, "register")
end

-- Opens a comm to a target of the frontend's.
function Comm.open(target, data, metadata, buffers)
  local comm = adopt(new_id(), name_of(target, "open"))
  local state = states[comm]
  -- What cannot be said leaves nothing open.
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    if problem ~= nil then
      forget(state)
    end
  end })
  post("open", comm.id, data, metadata, buffers, target)
  return comm
end

local function registered()
  local names = {}
  for name in pairs(targets) do
    names[#names + 1] = "`" .. name .. "`"
  end
  sort(names)
  return #names > 0 and concat(names, ", ") or "none"
end

local arrived = {}

-- A comm whose handler fails, or that nobody expects, is closed at once.
function arrived.open(id, target, data, metadata, buffers)
  if comms[id] then
    return host.complain("a comm `" .. id .. "` is open already")
  end
  local handler = targets[target]
  if not handler then
    post("close", id)
    write_stderr("no target `" .. target .. "` is registered for comms; registered: " .. registered() .. "\n")
    return
  end
  if count >= host.most_comms then
    post("close", id)
  end
  local comm = adopt(id, target)
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    if problem ~= nil then
      methods.close(comm)
    end
  end })
  handler(comm, data, metadata, buffers)
end

function arrived.message(id, _, data, metadata, buffers)
  local comm = objects[id]
  local handler = comm and states[comm].on_message
  if handler then
    handler(data, metadata, buffers)
  end
end

function arrived.close(id, _, data, metadata, buffers)
  local comm = objects[id]
  if comm then
    local handler = states[comm].on_close
    forget(states[comm])
    if handler then
      handler(data, metadata, buffers)
    end
  end
end

-- Hands a message of the other side to its handler.
function host.deliver_comm(event, ...)
  arrived[event](...)
end
