--- Basic functions
---
--- Lua 5.4's own, with what is different here: `print` and `io` write to the client that sent the cell, `load` takes text
--- alone, and an interrupt ends loops that swallow errors too.

--- The table of all globals.
---@type table
---@example return _G.print == print
_G = nil

--- The version of the language.
---@type string
---@example return _VERSION
_VERSION = nil

--- A script's arguments: `arg[1]` and on, with the script's name at `arg[0]`. There is none in a notebook.
---@type string[]?
---@example return arg and arg[1]
arg = nil

--- Raises an error unless the first value is true.
---@param value any what must be neither false nor nil
---@param message? any the error; default "assertion failed!"
---@param ... any further values
---@return any values all the arguments
---@example local n = assert(tonumber("12"), "not a number")
function assert(value, message, ...) end

--- Controls the garbage collector.
---@param option? "collect"|"stop"|"restart"|"count"|"step"|"isrunning"|"incremental"|"generational" what to do; default "collect"
---@param argument? integer what the option takes
---@return any result with "count", the kilobytes in use
---@example return collectgarbage("count") > 0
function collectgarbage(option, argument) end

--- Runs a file of Lua.
---@param file string its path, on the kernel's disk
---@return any results what the file returns
---@example local name = os.tmpname()
---@example local file = assert(io.open(name, "w")); file:write("return 6 * 7"); file:close()
---@example print(dofile(name))
---@example os.remove(name)
function dofile(file) end

--- Raises an error.
---@param object any a message, or any value
---@param level? integer whose line the message is given: 1 the caller of `error`, 2 its caller, 0 nobody's
---@example print(pcall(error, "no moon tonight", 0))
function error(object, level) end

--- Returns a value's metatable, or what its `__metatable` field says.
---@param value any the value
---@return table? metatable nil if there is none
---@example return getmetatable("").__index == string
function getmetatable(value) end

--- Iterates over a list: indexes 1, 2, ... up to the first nil.
---@param list table the list
---@return fun(list: table, index: integer):(integer, any) iterator for a generic `for`
---@return table list the list
---@return integer start 0
---@example for index, crater in ipairs { "Tycho", "Plato" } do print(index, crater) end
function ipairs(list) end

--- Compiles text to a function; binary chunks are refused.
---@param chunk string|function the text, or a function that returns it piece by piece
---@param name? string what messages call it; default the text itself
---@param mode? string kept for other Luas; text alone is taken
---@param environment? table the globals that it sees
---@return function? compiled nil if it does not compile
---@return string? problem why it does not
---@example return load("return 1 + 1")()
function load(chunk, name, mode, environment) end

--- Compiles a file to a function; binary chunks are refused.
---@param file string its path, on the kernel's disk
---@param mode? string kept for other Luas; text alone is taken
---@param environment? table the globals that it sees
---@return function? compiled nil if it does not compile
---@return string? problem why it does not
---@example print(loadfile("no such file.lua"))
function loadfile(file, mode, environment) end

--- Returns the entry of a table that follows a key, in no particular order.
---@param table table the table
---@param key? any the key; without one, the first entry is returned
---@return any key nil after the last
---@return any value its value
---@example if next({}) == nil then print("empty") end
function next(table, key) end

--- Iterates over all entries of a table, in no particular order, or as its `__pairs` says.
---@param table table the table
---@return function iterator for a generic `for`
---@return table table the table
---@return nil start nil
---@example for name, value in pairs { phase = "full" } do print(name, value) end
function pairs(table) end

--- Calls a function and catches its errors. It does not catch an interrupt.
---@param body function the function
---@param ... any its arguments
---@return boolean ok whether it ended without an error
---@return any results its results, or the error
---@example local ok, problem = pcall(LocalLLM.load, "local/no-such-model@candle")
---@example print(ok, problem.kind)
function pcall(body, ...) end

--- Writes values as text, with tabs between and a newline after.
---@param ... any the values; `tostring` makes them text
---@example print("the answer is", 42)
function print(...) end

--- Compares two values without their `__eq`.
---@param left any one value
---@param right any the other
---@return boolean equal whether they are the same
---@example return rawequal({}, {})
function rawequal(left, right) end

--- Reads a field without `__index`.
---@param table table the table
---@param key any the key
---@return any value nil if there is none
---@example return rawget({ phase = "new" }, "phase")
function rawget(table, key) end

--- Returns the length of a table or string without its `__len`.
---@param value table|string the table or string
---@return integer length its length
---@example return rawlen { 1, 2, 3 }
function rawlen(value) end

--- Writes a field without `__newindex`.
---@param table table the table
---@param key any the key
---@param value any its new value
---@return table table the table
---@example return rawset({}, "phase", "new").phase
function rawset(table, key, value) end

--- Loads a module once and returns what it returned: one that travelled with the script, one of the script's folder, or one
--- along `package.path`.
---@param name string the module's name, with dots for folders
---@return any module what the module returned; true if it returned nothing
---@return any place where it was found
---@example package.preload.moon = function() return { phase = "full" } end
---@example print(require("moon").phase)
function require(name) end

--- Returns the arguments from a position on, or their number.
---@param which integer|"#" the position, from the end if negative; "#" for the number
---@param ... any the arguments
---@return any rest the arguments from there on
---@example print(select("#", 1, nil, nil), select(2, "a", "b", "c"))
function select(which, ...) end

--- Gives a table a metatable, or takes it away.
---@param table table the table
---@param metatable? table its new metatable; nil takes it away
---@return table table the table
---@example local list = setmetatable({}, { __index = function(_, key) return key * 2 end })
---@example return list[21]
function setmetatable(table, metatable) end

--- Turns text into a number.
---@param value any the text, or a number
---@param base? integer the base of an integer in the text, 2 to 36
---@return number? number nil if it is none
---@example print(tonumber("0x1p4"), tonumber("ff", 16), tonumber("moon"))
function tonumber(value, base) end

--- Turns a value into text, as its `__tostring` or `__name` says.
---@param value any the value
---@return string text the text
---@example return tostring(nil) .. tostring(1.0)
function tostring(value) end

--- Names a value's type.
---@param value any the value
---@return "nil"|"number"|"string"|"boolean"|"table"|"function"|"thread"|"userdata" type its type
---@example return type(LocalLLM)
function type(value) end

--- Writes a warning to the standard error; `warn("@off")` and `warn("@on")` switch warnings.
---@param message string the first part
---@param ... string further parts, joined to it
---@example warn("the moon ", "sets soon")
function warn(message, ...) end

--- Calls a function and hands its errors to a message handler, which sees the stack where they happened.
---@param body function the function
---@param handler fun(error: any):any what makes the result of an error
---@param ... any the function's arguments
---@return boolean ok whether it ended without an error
---@return any results its results, or the handler's
---@example print(xpcall(error, function(problem) return "caught: " .. problem end, "eclipse"))
function xpcall(body, handler, ...) end
