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
---
--- If it was saved with its state, its model takes that up, which loads the model: the next turn begins where the saved
--- agent was, without computing the conversation again, and answers the same to the bit. A state that cannot be used (the
--- model's file has changed, the state's is damaged, it does not fit `kv_cache_mib`) is an error; `state = false` goes
--- without it.
---@param path string the file
---@param options? Agent.LoadOptions what is to be different
---@return Agent agent a new agent that goes on where the saved one was
---@error invalid_request the file cannot be read, or is none of `agent:save`; or its state cannot be used
---@example local path = os.tmpname()
---@example Agent.create({ max_tokens = 40 }):save(path)
---@example local agent = Agent.load(path, { temperature = 0 })
---@example os.remove(path)
function Agent.load(path, options) end

--- The options of an agent.
---@class Agent.Options: LocalLLM.Options
---@field system_prompt? string instructions before the conversation

--- What is to be different in a loaded agent.
---@class Agent.LoadOptions: Agent.Options
---@field state? boolean whether to take up the state it was saved with; default: true

--- How an agent is saved.
---@class Agent.SaveOptions
---@field state? boolean whether to write what the model computed, too; default: false

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
---
--- While a model thinks before it answers, the pieces are empty, and what it thinks comes as a second value.
---@param prompt string|Agent.Request what the user says
---@return fun():(string?, string?) pieces an iterator for `for`: more of the answer, or more of the thinking
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

--- Writes the agent to a file, for `Agent.load`: its model, instructions, options and conversation, but not its tools.
--- The file is replaced whole or not at all, and only its owner may read it.
---
--- With `state = true` a second file beside it, `PATH.state`, gets what the model computed of the conversation (its keys
--- and values), so that an agent loaded in another process, or after the model left memory, answers at once. What is no
--- longer in memory is computed first. For every token the file takes 4 bytes for each layer and each dimension of its
--- key heads (about half with `kv_cache_type = "q8_0"`): 22 KiB with TinyLlama 1.1B, 128 KiB with Llama 3 8B. It belongs to the model's file, by a SHA-256 of that
--- file's length, its header and three samples of 4 KiB of every tensor; the name does not matter. It is as private as
--- the conversation, which can be read from it. Only models that run in the kernel's own process (providers of type
--- `candle`) can do it, and paths mean that kernel's disk.
---@param path string the file
---@param options? Agent.SaveOptions whether to write the state
---@return Agent agent itself
---@error invalid_request a file cannot be written, or the provider cannot tell what it computed
---@example local path = os.tmpname()
---@example Agent.create({ system_prompt = "Be brief." }):save(path, { state = true })
---@example print(Agent.load(path):complete("Hello!"))
---@example os.remove(path)
---@example os.remove(path .. ".state")
function agent:save(path, options) end
