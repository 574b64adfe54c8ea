--- Magics
---
--- What a notebook's cell, or a line of `perilune repl`, says to the kernel rather than to Lua. `%` lines stand at the top of a cell,
--- before its code; `%%` makes the whole cell a magic's. Scripts that `perilune run` runs have none.

--- Sends the cell's text to a model, with what this notebook's `%%chat` cells said before, and shows the answer as it comes.
---
--- The first word is the model's name; without one the notebook's model is asked. Options are `temperature`, `top_k`, `top_p`, `min_p`,
--- `typical_p`, `repeat_penalty`, `frequency_penalty`, `presence_penalty`, `max_tokens`, `seed`, `stop` and `truncate`, as of `LocalLLM.chat`; `system="..."` sets the conversation's
--- instructions from this turn on; `reset` begins a new conversation. Values with blanks stand in quotes. A turn that is interrupted
--- or fails is shown as far as it came, and is not part of the conversation.
---@magic %%chat [MODEL] [KEY=VALUE ...] [reset]

--- Shows the notebook's model and those there are; with a name, chooses the model of all requests that name none.
---@magic %model [NAME]

--- Shows the tokens, time and money that this notebook's requests to models took, and the memory of the process and its models.
---@magic %usage

--- Shows the documentation of a name in the pager; without one, lists what is documented.
---@magic %help [NAME]
