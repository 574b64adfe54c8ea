--- Language models
---
--- A model is named by a specifier, `[provider/]model[:variant][@backend]`, such as `local/moonlet@candle`; without one the
--- default model is meant. A call that fails raises an error object, a `LocalLLM.Error`, which `pcall` returns.

--- The name of a model: `[provider/]model[:variant][@backend]`, such as `local/moonlet@candle`.
---@alias ModelSpecifier string

--- What a call that fails raises. What is not known is left out.
---@class LocalLLM.Error
---@field kind "authentication"|"rate_limited"|"overloaded"|"model_not_found"|"provider_not_found"|"context_overflow"|"invalid_request"|"timeout"|"network"|"cancelled"|"content_filter"|"budget"|"invalid_config"|"invalid_model_file"|"internal" what went wrong, the same words for every provider
---@field message string what went wrong, for people
---@field location? string the line of the script
---@field retry_after? number seconds after which it is worth asking again, of `rate_limited` and `overloaded`
---@field prompt_tokens? integer tokens of the prompt, of `context_overflow`
---@field context_size? integer tokens of the context, prompt and answer together, of `context_overflow`
---@field nearest? string[] names near the one that there is not, of `model_not_found` and `provider_not_found`
---@field route? LocalLLM.RouteDecision[] which models were asked or not, and why each failed

--- The name of a configured provider instance that holds models in memory, such as `candle`.
---@alias Backend string

--- Answers of language models, and the models that there are.
LocalLLM = {}

--- Answers a prompt with one text.
---@param prompt string what the user says; with the option `raw`, the text to go on with
---@param options? LocalLLM.PromptOptions how to answer
---@return string text the whole answer
---@error model_not_found no backend has that model
---@error context_overflow the prompt is longer than the model's context; the message says both lengths
---@error invalid_request an option is unknown or has a wrong value
---@example print(LocalLLM.generate("What is the capital of France?", { temperature = 0 }))
function LocalLLM.generate(prompt, options) end

--- Answers a conversation, and says what the answer took.
---@param messages string|LocalLLM.Message[] the conversation so far; a string is what the user says
---@param options? LocalLLM.ChatOptions how to answer
---@return LocalLLM.Answer answer the whole answer
---@error model_not_found no backend has that model
---@error context_overflow the conversation is longer than the model's context
---@error invalid_request an option or a message is wrong
---@error rate_limited the model's server wants to be asked later
---@example local answer = LocalLLM.chat({ { role = "user", content = "Hello!" } }, { max_tokens = 50 })
---@example print(answer.text, answer.usage.completion_tokens)
---@example local chosen = LocalLLM.chat("Hello!", { max_tokens = 1, logprobs = 3 }).logprobs[1]
---@example print(chosen.token, math.exp(chosen.logprob), #chosen.top)
---@example local answered, problem = pcall(LocalLLM.chat, "Hello!", { model = "local/moonlit@candle" })
---@example if not answered then print(problem.kind, problem.retry_after, problem.nearest and problem.nearest[1]) end
function LocalLLM.chat(messages, options) end

--- Iterates over the pieces of an answer as the model finds them; what is not read is not generated.
---
--- While a model thinks before it answers, the pieces are empty, and what it thinks comes as a second value.
---@param messages string|LocalLLM.Message[] the conversation so far; a string is what the user says
---@param options? LocalLLM.PromptOptions how to answer
---@return fun():(string?, string?) pieces an iterator for `for`: more of the answer, or more of the thinking
---@error model_not_found no backend has that model
---@error cancelled the cell that started the stream has ended
---@example for piece in LocalLLM.stream("Write a haiku about the moon.", { max_tokens = 50 }) do
---@example   io.write(piece)
---@example end
---@example for piece, thinking in LocalLLM.stream("Is the moon larger than Mars?", { max_tokens = 50 }) do
---@example   io.write(thinking and "> " .. thinking or piece)
---@example end
function LocalLLM.stream(messages, options) end

--- Turns texts into vectors, by which their meanings can be compared: texts that say alike lie in like directions.
---
--- A model that runs in this process gives the mean of its hidden states after the final norm over the text's tokens, divided
--- by its length, as llama.cpp's mean pooling does; other backends give what their servers do. Vectors of different models
--- cannot be compared, so of several models only the first is asked.
---@param texts string|string[] one text, or a list of them
---@param options? LocalLLM.EmbedOptions which model, and how long it may take
---@return number[]|number[][] vectors the vector of one text, or a list of one for each
---@return LocalLLM.EmbedUsage usage the tokens it took
---@error model_not_found no backend has that model
---@error context_overflow a text is longer than the model's context
---@error invalid_request the backend makes no embeddings, or an option is wrong
---@example local moon, sun = table.unpack((LocalLLM.embed({ "the moon", "the sun" })))
---@example local likeness = 0
---@example for i = 1, #moon do likeness = likeness + moon[i] * sun[i] end
---@example print(likeness)
function LocalLLM.embed(texts, options) end

--- Lists the models that the backends could serve.
---@param backend? Backend only this one's; without it, those of every backend that answers
---@return LocalLLM.ModelEntry[] models one table for each model
---@error provider_not_found no backend has that name
---@example for _, model in ipairs(LocalLLM.list()) do print(model.specifier, model.size_bytes) end
function LocalLLM.list(backend) end

--- Says how the backends are and what they hold in memory.
---@param backend? Backend only this one; the result is then its table alone
---@return LocalLLM.BackendStatus[]|LocalLLM.BackendStatus status one table for each backend
---@error provider_not_found no backend has that name
---@example return LocalLLM.status("candle").status
function LocalLLM.status(backend) end

--- Tells the facts of a model from its file's header; it need not be loaded.
---@param model? ModelSpecifier which one; without it the default model
---@return LocalLLM.ModelInfo info its shape and sizes
---@error model_not_found no backend has that model
---@example return LocalLLM.info("local/moonlet@candle").parameters
function LocalLLM.info(model) end

--- Lists the models that can be pulled by a short name, and whether this machine has the memory for them.
---@param options? LocalLLM.AvailableOptions which ones
---@return LocalLLM.AvailableModel[] models one table for each
---@error provider_not_found no backend has that name
---@error invalid_request it is not known what could be pulled for that backend
---@example for _, model in ipairs(LocalLLM.available({ recommended = true })) do print(model.name, model.size_bytes, model.fits) end
function LocalLLM.available(options) end

--- Tells what model files take on disk, folder by folder, and how much room there is.
---@param backend? Backend only this one's; without it, those of every backend that answers
---@return LocalLLM.StoragePlace[] places one table for each folder
---@error provider_not_found no backend has that name
---@example for _, place in ipairs(LocalLLM.storage()) do print(place.collection, place.bytes, place.disk.free_bytes) end
function LocalLLM.storage(backend) end

--- Deletes a model that was pulled, or, named with its backend, one of an Ollama. Files of other programs, and a model that is in
--- memory, are left alone.
---@param model ModelSpecifier which one
---@return LocalLLM.RemovedModel removed what that did
---@error model_not_found no backend has that model
---@error invalid_request the model is in memory, or was not pulled
---@example local removed, problem = pcall(LocalLLM.remove, "local/tinyllama:Q4_K_M@candle")
---@example if not removed then print(problem.kind, problem.message) end
function LocalLLM.remove(model) end

--- Gives a model that was pulled another name; both mean one file, which goes with the last of its names.
---@param model ModelSpecifier which one
---@param name string the other name
---@return ModelSpecifier copied how to ask for it by that name
---@error model_not_found no backend has that model
---@error invalid_request another model has that name, or the model was not pulled
---@example local copied, problem = pcall(LocalLLM.copy, "local/tinyllama:Q4_K_M@candle", "small")
---@example if not copied then print(problem.kind, problem.message) end
function LocalLLM.copy(model, name) end

--- Loads a model into memory, or waits for the load that is under way.
--- Where the backend's memory budget does not allow it, idle models go first, those used longest ago before others.
---@param model? ModelSpecifier which one; without it the default model
---@param options? LocalLLM.LoadOptions how long it stays
---@return LocalLLM.LoadedModel loaded what it takes
---@error model_not_found no backend has that model
---@error budget models that are pinned or in use leave no room for it; the message says how much is needed and allowed
---@error invalid_model_file the file is damaged or of a kind that does not run here
---@example print(LocalLLM.load("local/moonlet@candle").memory_bytes)
---@example LocalLLM.load("local/moonlet@candle", { keep_alive = 300 })
function LocalLLM.load(model, options) end

--- Lists the models in memory.
---@param backend? Backend only this one's; without it, those of every backend that answers
---@return LocalLLM.LoadedModel[] models one table for each, with its `backend`
---@error provider_not_found no backend has that name
---@example for _, model in ipairs(LocalLLM.ps()) do print(model.backend, model.name, model.resident_bytes) end
function LocalLLM.ps(backend) end

--- Drops a model from memory once nobody uses it.
---@param model? ModelSpecifier which one; without it the default model
---@return boolean unloaded true
---@error invalid_request the model is not loaded, or stays in use
---@example LocalLLM.load("local/moonlet@candle")
---@example LocalLLM.unload("local/moonlet@candle")
function LocalLLM.unload(model) end

--- Brings a model file into the store: whole and checked, or not at all. What is interrupted goes on where it ended.
---
--- Known names such as `tinyllama:Q4_K_M` mean repositories of the Hugging Face Hub; `hf:OWNER/REPOSITORY:QUANTIZATION` names one,
--- an `https://` address or a path a file. Of several pulls of one file, one brings it. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and
--- `HF_HUB_OFFLINE` mean what they mean elsewhere. `"NAME@ollama"` has that server get a model from its own registry.
---@param spec string what to bring
---@param options? LocalLLM.PullOptions how
---@return LocalLLM.PulledModel model what is in the store now; its `specifier` is asked for it
---@error model_not_found there is no such known name, repository or file
---@error network the far side cannot be reached, or what came is damaged
---@error budget the disk has no room for it
---@error invalid_request an option is wrong, an address is refused, or another model has the name
---@example local pulled, model = pcall(LocalLLM.pull, "tinyllama:Q4_K_M", {
---@example   on_progress = function(progress) print(progress.stage, progress.completed_bytes, progress.total_bytes) end,
---@example })
---@example if pulled then print(model.specifier) else print(model.kind, model.message) end
function LocalLLM.pull(spec, options) end

--- The options of `LocalLLM.pull`.
---@class LocalLLM.PullOptions
---@field quantization? string how its weights shall be written, such as `Q8_0`, where several files differ in that
---@field name? string store it under this name
---@field force? boolean fetch it although it is there, and replace another model of its name
---@field on_progress? fun(progress: LocalLLM.PullProgress) called a few times a second; without it, a line shows how far it is

--- How far a pull is.
---@class LocalLLM.PullProgress
---@field stage "waiting"|"downloading"|"verifying"|"copying" what is done; `waiting` is for another pull of the same file
---@field file string what it is done to
---@field completed_bytes integer bytes that are done; what came in an earlier pull counts
---@field total_bytes? integer bytes of the file, where they are known
---@field bytes_per_second? number how many come, as lately
---@field seconds_left? number until the end, if it goes on so

--- A model that was pulled.
---@class LocalLLM.PulledModel
---@field name string the name that it is stored under
---@field specifier? ModelSpecifier the name by which it is asked
---@field size_bytes integer bytes of its file
---@field location? string its file; this and what follows are of the store's models alone, and not of an Ollama's
---@field sha256? string the SHA-256 of its file, in hexadecimal digits
---@field source? string where it came from
---@field revision? string the commit of the repository that it came from
---@field quantization? string such as `Q4_K_M`
---@field license? string such as `apache-2.0`
---@field was_there boolean whether it was there before, so that nothing came

--- The options of `LocalLLM.embed`.
---@class LocalLLM.EmbedOptions
---@field model? ModelSpecifier the model
---@field timeout_seconds? number the longest it may take, waiting and loading included; then an error of the kind `timeout`

--- What embeddings took.
---@class LocalLLM.EmbedUsage
---@field prompt_tokens? integer tokens of all texts together, where the backend tells them

--- The options of `LocalLLM.load`. What is left out stays as it was.
---@class LocalLLM.LoadOptions
---@field pin? boolean keep it however long nobody uses it and whatever needs its place
---@field keep_alive? integer let it go after so many seconds without a request; by default `keep_alive_seconds` of the configuration

--- The options that every call of a model takes. One that a backend does not know is an error, never left out: a backend of the type
--- `openai` with a `preset` knows what that API has.
---@class LocalLLM.Options
---@field model? ModelSpecifier|ModelSpecifier[] the model that answers; of several, the first that can: the next one is asked where one is unavailable, overloaded, limits its requests, takes too long or cannot be reached
---@field fallback_after_text? boolean ask the next model also when one fails after part of its answer came; the answer then begins anew. Default: that is an error
---@field temperature? number randomness: 0 always takes the likeliest token; default 0.8
---@field top_k? integer keep so many of the likeliest tokens, 0 keeps all; default 40
---@field top_p? number keep the likeliest tokens until their probabilities sum to this; default 0.95
---@field min_p? number keep tokens at least this times as likely as the likeliest; default 0.05
---@field typical_p? number keep the tokens that say about as much as expected, until their probabilities sum to this; default 1, which is off
---@field repeat_penalty? number divide the logits of the last 64 tokens by this, multiply those below 0; default 1, which is off
---@field frequency_penalty? number taken from a token's logit for each time that it is among the last 64; default 0
---@field presence_penalty? number taken from a token's logit if it is among the last 64; default 0
---@field logit_bias? table<string|integer, number> added to the logits of tokens, by their numbers or the texts that they are; -100 forbids one, and `" word"` and `"word"` are different ones
---@field logprobs? integer tell how likely each token was, and so many of the likeliest in its place, 0 to 20; default: do not
---@field max_tokens? integer the longest answer, in tokens; default: until the model ends it or the context is full
---@field seed? integer the same seed gives the same answer
---@field stop? string|string[] texts before which the answer ends
---@field schema? table JSON schema of the answer, as a table; backends of the types `openai` and `ollama` keep to it, on others it is an error
---@field think? boolean|"low"|"medium"|"high" whether, or how much, a model thinks before it answers, where its backend can say so: of the type `ollama`, or of the type `openai`, which knows the three words only
---@field extra_body? table more members for the body of a request to a backend of the type `openai` or `ollama`, as its documentation names them
---@field timeout_seconds? number the longest it may take, waiting and loading included; then an error of the kind `timeout`
---@field truncate? boolean cut a prompt that is longer than the context, instead of raising an error; backends of the type `openai` cannot, so there it is one

--- The options of `LocalLLM.chat`.
---@class LocalLLM.ChatOptions: LocalLLM.Options
---@field system? string instructions before the conversation
---@field tools? LocalLLM.Tool[] what the model may call

--- The options of `LocalLLM.generate` and `LocalLLM.stream`.
---@class LocalLLM.PromptOptions: LocalLLM.Options
---@field raw? boolean give the prompt to the model as it is, without its chat template
---@field system? string instructions before the conversation

--- One message of a conversation.
---@class LocalLLM.Message
---@field role "system"|"user"|"assistant"|"tool" who speaks
---@field content? string what is said
---@field images? string[] pictures that belong to it, each the bytes of its file; models that see are on backends of the types `ollama` and `openai`
---@field name? string a name for the speaker; for a tool's message, the tool's
---@field tool_call_id? string for a tool's message: the call it answers
---@field tool_calls? LocalLLM.ToolCall[] the tools that an assistant's message calls

--- A tool that a model may call.
---@class LocalLLM.Tool
---@field name string what the model calls it by
---@field description? string what it does, for the model to read
---@field parameters table JSON schema of its arguments

--- A tool that a model asks for.
---@class LocalLLM.ToolCall
---@field id string what the tool's answer refers to
---@field name string the tool
---@field arguments table what it is called with

--- What a model answered.
---@class LocalLLM.Answer
---@field text string the answer
---@field thinking? string what the model thought before it answered
---@field usage LocalLLM.Usage the tokens it took
---@field finish_reason "stop"|"length"|"tool_calls" why it ended
---@field model ModelSpecifier the model that answered
---@field route LocalLLM.RouteDecision[] how that model was come by; the last one `chosen` is the model that answered
---@field duration_ms integer milliseconds from the call to the end
---@field tool_calls LocalLLM.ToolCall[] the tools the model asks for
---@field logprobs? LocalLLM.TokenLogprobs[] with the option `logprobs`: one for each token of the answer, its end left out

--- How likely a token was, as the model gave it: before biases, penalties, temperature and filters.
---@class LocalLLM.TokenLogprob
---@field token string its text; part of a character is U+FFFD
---@field id? integer its number in the vocabulary, where the backend tells it
---@field logprob number natural logarithm of its probability; -9999 for none

--- How likely a token of an answer was, and which were the likeliest in its place.
---@class LocalLLM.TokenLogprobs: LocalLLM.TokenLogprob
---@field top LocalLLM.TokenLogprob[] likeliest first; the chosen one may be among them

--- What an answer took: tokens, time and money.
---@class LocalLLM.Usage
---@field prompt_tokens integer tokens of the prompt
---@field completion_tokens integer tokens of the answer
---@field total_tokens integer both together
---@field cached_tokens integer tokens of the prompt that were not computed again
---@field truncated_tokens integer tokens cut from the prompt, with the option `truncate`
---@field thinking_tokens integer those of the answer's tokens that were thinking, where that is told
---@field untold? boolean true where a server did not tell the tokens: then only the pieces of the answer are counted, as its tokens
---@field first_token_ms? number milliseconds from the request to the first piece of the answer
---@field tokens_per_second? number after the first piece; left out where fewer than two pieces came, or all within 10 ms
---@field cost? LocalLLM.Cost what that costs, where the price is known

--- Money.
---@class LocalLLM.Cost
---@field usd number US dollars

--- One decision on the way from a request to the model that answers it.
---@class LocalLLM.RouteDecision
---@field action "chosen"|"retry"|"fallback"|"skipped"|"breaker_opened"|"breaker_closed"|"failed" it is asked; it failed and is asked again; it failed and the next one is asked; it is not asked; its backend failed so often that it is left alone for a while; that answers again; it failed and no other is asked
---@field model ModelSpecifier the model it is about
---@field reason string why
---@field kind? string the kind of the error that led to it
---@field wait_ms? integer milliseconds until it is asked again
---@field by? string the backend on whose far side, in another kernel, this was decided

--- A model that a backend could serve.
---@class LocalLLM.ModelEntry
---@field specifier? ModelSpecifier how to ask for it
---@field name string its name on that backend
---@field backend Backend the backend
---@field size_bytes integer bytes of its file
---@field loaded boolean whether it is in memory
---@field location string where it lies
---@field collection? "folder"|"store"|"path"|"hugging_face"|"ollama"|"lm_studio" whose files it is among
---@field facts? LocalLLM.Facts what its header tells, where that was read
---@field problem? string why it cannot be asked for

--- The options of `LocalLLM.available`.
---@class LocalLLM.AvailableOptions
---@field recommended? boolean only those that answer well for their size
---@field backend? Backend the one that is to run them, of type `candle`

--- A model that can be pulled by a short name.
---@class LocalLLM.AvailableModel
---@field name string the short name
---@field repository string the repository of the Hugging Face Hub that has its files
---@field quantization string the one that is pulled when none is named
---@field size_bytes? integer about how many bytes that file has
---@field sizes table<string, integer> about how many bytes its files have, by quantization
---@field parameters integer how many weights it has
---@field license string its licence
---@field recommended boolean whether it answers well for its size
---@field fits? boolean whether the backend's memory budget holds it
---@field stored string[] the names by which it is in the store already

--- What the model files of one folder take on disk.
---@class LocalLLM.StoragePlace
---@field backend Backend the backend
---@field collection "folder"|"store"|"path"|"hugging_face"|"ollama"|"lm_studio" whose files they are
---@field path string the folder
---@field models integer how many models are there
---@field bytes integer bytes of their files, each counted once
---@field part_bytes integer bytes of what is on its way or was left unfinished
---@field unfinished LocalLLM.UnfinishedDownload[] which downloads that is; `perilune model remove --unfinished` deletes them
---@field ours boolean whether `LocalLLM.remove` deletes them
---@field disk? LocalLLM.DiskSpace the room on its disk

--- A download that is not whole; the same pull goes on where it ended.
---@class LocalLLM.UnfinishedDownload
---@field source string where it comes from
---@field bytes integer bytes of disk that it takes
---@field completed_bytes? integer bytes that came for certain
---@field total_bytes? integer bytes of the whole file
---@field idle_seconds integer seconds since the last of it was written
---@field under_way boolean whether somebody brings it now

--- The room on a disk.
---@class LocalLLM.DiskSpace
---@field free_bytes integer what may still be written
---@field total_bytes integer what there is altogether

--- What a removal did.
---@class LocalLLM.RemovedModel
---@field name string the name that is gone
---@field freed_bytes integer bytes of disk that are free now; none while another name means the same file
---@field kept_as string[] the other names of the same file

--- What the header of a model file tells at a glance.
---@class LocalLLM.Facts
---@field architecture string the family its layers are of
---@field parameters integer how many weights it has
---@field quantization string the type that holds most of them
---@field context_length? integer tokens it was trained on at a time
---@field problem? string why it does not run here

--- How a backend is.
---@class LocalLLM.BackendStatus
---@field backend Backend its name
---@field type string what kind of provider it is
---@field status "ready"|"degraded"|"unavailable" whether it answers
---@field detail string more about that
---@field loaded LocalLLM.LoadedModel[] what it holds in memory
---@field dropped LocalLLM.DroppedModel[] what left memory lately without being asked to, the last one first

--- A model that left memory without being asked to.
---@class LocalLLM.DroppedModel
---@field name string its name on its backend
---@field reason string why: idle for its time, or to make room
---@field memory_bytes integer bytes that it was reckoned to take
---@field seconds_ago integer seconds since then

--- A model in memory.
---@class LocalLLM.LoadedModel
---@field specifier? ModelSpecifier its whole name, from `LocalLLM.load`
---@field name string its name on its backend
---@field backend? Backend the backend, from `LocalLLM.ps`
---@field memory_bytes integer bytes it takes as reckoned before it was loaded: weights, and the keys and values that are kept
---@field resident_bytes? integer bytes by which the process grew while it was loaded
---@field context_size integer tokens that one request may hold, prompt and answer together
---@field load_ms integer milliseconds its load took
---@field steps integer forward passes since then
---@field active_requests integer requests that use it now
---@field unloading boolean whether it goes once nobody uses it
---@field pinned boolean whether it stays however long nobody uses it and whatever needs its place
---@field keep_alive_seconds? integer seconds without a request after which it goes; without it, when its place is needed
---@field idle_seconds integer seconds since its last request ended
---@field made_room? LocalLLM.DroppedModel[] from `LocalLLM.load`: what had to go for it

--- The facts of a model.
---@class LocalLLM.ModelInfo
---@field specifier ModelSpecifier its whole name
---@field name string its name in the file
---@field architecture string the family its layers are of
---@field parameters integer how many weights it has
---@field quantization string the type that holds most of them
---@field layers integer transformer blocks
---@field hidden integer width of the residual stream
---@field heads integer query heads
---@field kv_heads integer key and value heads
---@field vocabulary integer tokens it knows
---@field context_length integer tokens it was trained on at a time
---@field context_size integer tokens that one request may hold here
---@field file_bytes integer bytes of its file
---@field memory_bytes integer bytes it takes once loaded, as reckoned: weights, and the keys and values that are kept
---@field kv_cache_type string in which form it keeps keys and values: `kv_cache_type` of the configuration, `f16` or `q8_0`
---@field kv_bytes_per_token integer bytes that the keys and values of one token take
---@field executor string what runs it
---@field has_chat_template boolean whether it knows conversations
---@field supports_tools boolean whether it can be given tools

--- What a failed call of a model raises; `tostring` gives its place and message.
---@class perilune.Error
---@field kind string a word to branch on: `model_not_found`, `context_overflow`, `invalid_request`, ...
---@field message string what went wrong and what would have worked
---@field location? string the script's line that called
