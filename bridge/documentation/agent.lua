--- Agents
---
--- An agent is a model with instructions, options and a conversation that it keeps. A turn joins the conversation once
--- its answer is whole: one that failed, was interrupted or was not read to its end leaves no trace.

--- Agents: models with instructions and a conversation.
Agent = {}

--- Makes an agent from a table of options.
---@param options? Agent.Options how it answers
---@return Agent agent a new agent with an empty conversation
---@error invalid_request an option is unknown or has a wrong value
---@example local agent = Agent.create { system_prompt = "Answer in one word.", temperature = 0 }
---@example print(agent:complete("What is the capital of Japan?"))
function Agent.create(options) end

--- Starts to describe an agent, one option at a time.
---@return Agent.Builder builder has a method for each option, and `build`
---@example local agent = Agent.builder():system_prompt("Be brief."):max_tokens(40):build()
---@example print(agent:complete("Hello!"))
function Agent.builder() end

--- Makes the agent that `agent:save` wrote to a file: its model, instructions, options and conversation.
---@param path string the file
---@param options? Agent.Options what is to be different
---@return Agent agent a new agent that goes on where the saved one was
---@error invalid_request the file cannot be read, or is none of `agent:save`
---@example local path = os.tmpname()
---@example Agent.create({ max_tokens = 40 }):save(path)
---@example local agent = Agent.load(path, { temperature = 0 })
---@example os.remove(path)
function Agent.load(path, options) end

--- The options of an agent.
---@class Agent.Options: LocalLLM.Options
---@field system_prompt? string instructions before the conversation

--- One turn of an agent: the prompt, and options for this turn alone.
---@class Agent.Request: LocalLLM.Options
---@field prompt string what the user says

--- An agent that is being described. Each method that sets an option returns the builder.
---@class Agent.Builder
---@setters Agent.Options
local builder = {}

--- Makes the agent.
---@return Agent agent a new agent with the options that were set
---@example local agent = Agent.builder():temperature(0):build()
function builder:build() end

--- A model with instructions, options and a conversation.
---@class Agent
local agent = {}

--- Answers a prompt with a text, and remembers both.
---@param prompt string|Agent.Request what the user says
---@return string text the answer
---@error context_overflow the conversation is longer than the model's context
---@example local agent = Agent.create { max_tokens = 40 }
---@example print(agent:complete("Hello!"))
function agent:complete(prompt) end

--- Answers a prompt, and says what the answer took.
---@param request string|Agent.Request what the user says, and options for this turn
---@return LocalLLM.Answer answer the whole answer
---@error context_overflow the conversation is longer than the model's context
---@example local agent = Agent.create()
---@example local turn = agent:execute { prompt = "What is 12 + 30?", temperature = 0 }
---@example print(turn.text, turn.usage.completion_tokens)
function agent:execute(request) end

--- Iterates over the pieces of an answer as the model finds them.
---@param prompt string|Agent.Request what the user says
---@return fun():string? pieces an iterator for `for`
---@error context_overflow the conversation is longer than the model's context
---@example local agent = Agent.create { max_tokens = 40 }
---@example for piece in agent:stream("Hello!") do io.write(piece) end
function agent:stream(prompt) end

--- Returns the conversation so far, the instructions first.
---@return LocalLLM.Message[] messages a copy
---@example local agent = Agent.create { system_prompt = "Be brief." }
---@example return #agent:messages()
function agent:messages() end

--- Forgets the conversation; the instructions stay.
---@return Agent agent itself
---@example local agent = Agent.create()
---@example agent:reset()
function agent:reset() end

--- Makes another agent with the same options and conversation. Each goes on by itself.
---
--- It costs next to nothing: the next turn of either finds what was computed of the conversation.
---@return Agent agent the other agent
---@example local agent = Agent.create { max_tokens = 40 }
---@example agent:complete("My name is Ada.")
---@example local other = agent:fork()
---@example print(agent:complete("Who am I?"), other:complete("Say hello."))
function agent:fork() end

--- Forgets the last turns of the conversation, answers included.
---@param turns? integer how many; default: 1
---@return Agent agent itself
---@error invalid_request the conversation has fewer turns
---@example local agent = Agent.create { max_tokens = 40 }
---@example agent:complete("Hello!")
---@example agent:rewind():complete("Good evening!")
function agent:rewind(turns) end

--- Writes the agent to a file, for `Agent.load`: its model, instructions, options and conversation. The file is
--- replaced whole or not at all.
---@param path string the file
---@return Agent agent itself
---@error invalid_request the file cannot be written
---@example local path = os.tmpname()
---@example Agent.create({ system_prompt = "Be brief." }):save(path)
---@example os.remove(path)
function agent:save(path) end
