--- Input
---
--- Lines that the person or program in front of the script is asked for. `io.read` asks too, without a prompt of its own.

--- How to ask for input.
---@class input.Options
---@field password? boolean whether what is typed must not be seen

--- Shows a prompt and returns the line that is typed.
---@param prompt? string what to show
---@param options? input.Options how to ask
---@return string? line the line without its end; nil at the end of the input
---@error input_not_allowed the client that sent the cell answers no questions
---@error input the answer was lost
---@example print("Hello, " .. (input("Your name: ") or "stranger"))
function input(prompt, options) end
