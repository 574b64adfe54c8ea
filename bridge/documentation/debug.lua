--- Debugging
---
--- What cannot reach the interpreter's own functions and values; there is no `sethook`, whose place the interrupts have, and
--- no registry.

--- Looks into functions and the stack.
debug = {}

--- Returns nil: hooks are the interpreter's.
---@return nil hook nil
---@example return debug.gethook()
function debug.gethook() end

--- Tells about a function or a level of the stack.
---@param ... any a coroutine, if not this one; a function, or a level (1 the caller); what to tell: letters of "nSltufrL"
---@return table? info `source`, `short_src`, `linedefined`, `currentline`, `name`, `nparams` and so on; nil beyond the stack
---@example return debug.getinfo(function() end, "S").what
function debug.getinfo(...) end

--- Returns the name and the value of a local variable of a function of the script.
---@param ... any a coroutine, if not this one; a level or a function; the variable's number
---@return string? name nil if there is none
---@return any value its value
---@example local moon = "full"
---@example return debug.getlocal(1, 1)
function debug.getlocal(...) end

--- Returns a value's metatable, whatever its `__metatable` says.
---@param value any the value
---@return table? metatable nil if there is none
---@example return debug.getmetatable("") ~= nil
function debug.getmetatable(value) end

--- Returns the name and the value of a variable that a function uses from outside.
---@param body function a function of the script
---@param index integer the variable's number
---@return string? name nil if there is none
---@return any value its value
---@example local moon = "full"
---@example return debug.getupvalue(function() return moon end, 1)
function debug.getupvalue(body, index) end

--- Refuses: hooks are the interpreter's.
---@param ... any nothing is taken
---@error LuaError always
---@example print(pcall(debug.sethook))
function debug.sethook(...) end

--- Gives a table a metatable, whatever the present one's `__metatable` says.
---@param value table the table
---@param metatable? table its new metatable
---@return table value the table
---@example return debug.setmetatable({}, { __name = "moon" })
function debug.setmetatable(value, metatable) end

--- Sets a variable that a function of the script uses from outside.
---@param body function the function
---@param index integer the variable's number
---@param value any its new value
---@return string? name nil if there is none
---@example local moon = "new"
---@example local function phase() return moon end
---@example debug.setupvalue(phase, 1, "full")
---@example return phase()
function debug.setupvalue(body, index, value) end

--- Writes the stack as text.
---@param ... any a coroutine, if not this one; a message in front; the level to start at
---@return any text the text; a message that is no text is returned as it is
---@example print(debug.traceback("here"))
function debug.traceback(...) end

--- Identifies a variable that a function uses from outside, to see whether two share it.
---@param body function a function of the script
---@param index integer the variable's number
---@return userdata id equal for the same variable
---@example local moon = "full"
---@example return debug.upvalueid(function() return moon end, 1) ~= nil
function debug.upvalueid(body, index) end
