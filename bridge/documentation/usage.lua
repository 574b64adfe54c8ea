--- Usage
---
--- What requests to models took and may still take. Every request is written into a ledger, which all kernels of a user share and
--- which holds neither prompts nor answers; `perilune usage` shows it. Money counts as far as prices are known: those of
--- `[prices]` in the configuration, and of a few well-known models, which may be outdated.

--- What requests took, and the budgets they count against.
Usage = {}

--- Says what this run, or this notebook, has taken so far, by model.
---@return Usage.Spent[] spent one table for each model
---@example LocalLLM.generate("Hello!", { max_tokens = 5 })
---@example for _, spent in ipairs(Usage.spent()) do print(spent.model, spent.completion_tokens) end
function Usage.spent() end

--- Sums what the ledger knows, of this run and of others.
---@param options? Usage.HistoryOptions which requests, and what makes a row
---@return Usage.History history rows and their sum
---@error invalid_request an option is unknown or has a wrong value
---@example local today = Usage.history({ by = "model", since = "today" })
---@example print(today.total.requests, #today.rows)
---@example for _, row in ipairs(Usage.history({ by = "request", since = "1h" }).rows) do print(row.key, row.model, row.completion_tokens) end
function Usage.history(options) end

--- Says what may be spent and how much of that is: by this run or notebook, and by all of this user's kernels today.
---
--- What a model without a known price costs is not counted; a warning says so. Where nothing is left, requests to models raise an error of the kind `budget`. An answer under way ends with it, too.
---@return Usage.Budgets budgets empty tables where nothing is limited
---@example local tokens = Usage.budget().run.tokens
---@example if tokens then print(tokens.limit - tokens.spent) end
function Usage.budget() end

--- What one model took.
---@class Usage.Spent
---@field model ModelSpecifier which one
---@field requests integer how often it was asked
---@field untold integer requests that ended before they told their tokens, which are not in the sums
---@field prompt_tokens integer tokens of the prompts
---@field cached_tokens integer those of them that were known from an earlier request
---@field completion_tokens integer tokens of the answers
---@field thinking_tokens integer those of them that were thinking
---@field duration_ms number from request to end
---@field usd? number US dollars, where the price is known

--- The options of `Usage.history`.
---@class Usage.HistoryOptions
---@field by? "model"|"day"|"session"|"instance"|"request" what makes a row; default `"model"`. By `"request"` each is one, the newest first and at most 1000
---@field since? string from when on: `"7d"`, `"24h"`, `"30m"`, `"today"` or a local date like `"2026-01-31"`; default: all

--- What the ledger knows.
---@class Usage.History
---@field rows Usage.Row[] one for each model, day, session or instance, or for each request
---@field total Usage.Row the sum of all, also of requests that are too many to be rows
---@field lent? Usage.Row what other kernels had models of this machine answer, if they did

--- What some requests took together.
---@class Usage.Row
---@field key string the model, day, session or instance, or the local time of a request; empty for a sum of all
---@field session? string of a single request, who asked
---@field model? ModelSpecifier of a single request, the model
---@field instance? string of a single request, the provider instance
---@field outcome? string of a single request, why it ended: a finish reason, or the kind of an error
---@field requests integer attempts to have a model answer
---@field untold integer those that told no tokens, such as most that failed: only the pieces of their answers are in the sums
---@field failed integer those that failed
---@field prompt_tokens integer tokens of the prompts
---@field cached_tokens integer those of them that were known from an earlier request
---@field completion_tokens integer tokens of the answers
---@field thinking_tokens integer those of them that were thinking
---@field duration_ms number from request to end
---@field first_token_ms? number from request to the first piece of the answer, on average
---@field tokens_per_second? number after the first piece, of requests of which that can be told
---@field usd? number US dollars, where prices are known
---@field unpriced integer requests whose price is not known

--- What may be spent.
---@class Usage.Budgets
---@field run Usage.Budget by this run or notebook
---@field day Usage.Budget today, by all of this user's kernels, without what is borrowed of another kernel

--- Limits, and what is spent of them.
---@class Usage.Budget
---@field tokens? Usage.Limit of prompts and answers together
---@field usd? Usage.Limit in US dollars

--- A limit, and what is spent of it.
---@class Usage.Limit
---@field spent number what is spent
---@field limit number the most that may be
