-- The objects of the global `Agent`: the agent's methods and its builder.
local host = ...
local getmetatable, rawget, setmetatable, tostring, type = debug.getmetatable, rawget, setmetatable, tostring, type
local create, load, open_stream = host.create_agent, host.load_agent, host.open_agent_stream
local execute = host.waiting(host.execute_agent)

-- The Rust side of each agent.
local inner = setmetatable({}, { __mode = "k" })

local methods = {}
local metatable = { __name = "Agent", __index = methods }
host.class("agent", methods)

local function of(agent, method)
  local found = inner[agent]
  if not found then
    return host.complain("agent:" .. method .. " needs its agent: call it with a colon")
  end
  return found
end

-- The answer's text.
function methods.complete(agent, prompt)
  return execute(of(agent, "complete"), prompt).text
end

-- The whole answer: text, usage, finish_reason, model, duration_ms.
function methods.execute(agent, request)
  return execute(of(agent, "execute"), request)
end

-- Iterates over the answer's pieces.
function methods.stream(agent, prompt)
  return host.iterate(open_stream(of(agent, "stream"), prompt))
end

-- The conversation so far.
function methods.messages(agent)
  return host.agent_messages(of(agent, "messages"))
end

-- Forgets the conversation.
function methods.reset(agent)
  host.reset_agent(of(agent, "reset"))
  return agent
end

local function object(found)
  local agent = setmetatable({}, metatable)
  inner[agent] = found
  return agent
end

-- Another agent that goes on from here.
function methods.fork(agent)
  return object(host.fork_agent(of(agent, "fork")))
end

-- Forgets the last turns.
function methods.rewind(agent, turns)
  host.rewind_agent(of(agent, "rewind"), turns)
  return agent
end

-- Writes the agent to a file, and what its model computed beside it.
function methods.save(agent, path, options)
  host.save_agent(of(agent, "save"), path, options)
  return agent
end

function metatable.__tostring(agent)
  local found = of(agent, "tostring")
  return "Agent(" .. host.agent_model(found) .. ", " .. #host.agent_messages(found) .. " messages)"
end

Agent = {}

function Agent.create(options)
  return object(create(options))
end

function Agent.load(path, options)
  return object(load(path, options))
end

local Builder = { __name = "Agent.builder" }
host.class("builder", Builder)
local settings = setmetatable({}, { __mode = "k" })

local function build(builder)
  return Agent.create(settings[builder])
end

-- Every option is a method; a wrong one is told where it is set.
function Builder.__index(_, name)
  if name == "build" then
    return build
  end
  return function(builder, value)
    if not settings[builder] then
      return host.complain("builder:" .. tostring(name) .. " needs its builder: call it with a colon")
    end
    create({ [name] = value })
    settings[builder][name] = value
    return builder
  end
end

function Agent.builder()
  local builder = setmetatable({}, Builder)
  settings[builder] = {}
  return builder
end
