--- Strings
---
--- Strings are bytes; positions count from 1, and from the end if negative. Each function is a method too: `("moon"):upper()`.
--- Patterns are Lua's own: `%a` a letter, `%d` a digit, `.` anything, `[set]`, and `*`, `+`, `-`, `?` after one of these.

--- Functions for strings.
string = {}

--- Returns the numbers of bytes.
---@param text string the text
---@param first? integer position of the first byte; default 1
---@param last? integer position of the last; default `first`
---@return integer bytes one number for each byte
---@example return ("moon"):byte(1, -1)
function string.byte(text, first, last) end

--- Makes a string of bytes.
---@param ... integer the bytes' numbers
---@return string text the string
---@example return string.char(109, 111, 111, 110)
function string.char(...) end

--- Turns a function into bytes, which nothing here can load again.
---@param body function a function of the script
---@param strip? boolean leave out what is there for messages alone
---@return string bytes the compiled function
---@example return #string.dump(function() end) > 0
function string.dump(body, strip) end

--- Looks for a pattern.
---@param text string where to look
---@param pattern string what to look for
---@param start? integer where to begin; default 1
---@param plain? boolean take the pattern as it is, without special characters
---@return integer? first where it starts; nil if it is not there
---@return integer? last where it ends
---@return any captures what its parentheses matched
---@example print(("full moon"):find("moon", 1, true))
function string.find(text, pattern, start, plain) end

--- Fills a form with values, such as `%d` integers, `%s` anything, `%.2f` numbers, `%x` and `%q`.
---@param form string the form
---@param ... any the values
---@return string text the form, filled
---@example return ("%-8s %5.1f km"):format("Tycho", 85.3)
function string.format(form, ...) end

--- Iterates over the matches of a pattern.
---@param text string where to look
---@param pattern string what to look for
---@param start? integer where to begin; default 1
---@return fun():(string, ...) iterator gives the captures of each match, or the whole match
---@example for word in ("new moon"):gmatch("%a+") do print(word) end
function string.gmatch(text, pattern, start) end

--- Replaces the matches of a pattern.
---@param text string where to look
---@param pattern string what to look for
---@param replacement string|table|function the new text (`%1` is the first capture), a table to look up, or a function to ask
---@param limit? integer how many to replace at most
---@return string text the new text
---@return integer count how many were replaced
---@example return ("full moon"):gsub("full", "half")
function string.gsub(text, pattern, replacement, limit) end

--- Returns the number of bytes.
---@param text string the text
---@return integer length its length
---@example return ("moon"):len()
function string.len(text) end

--- Turns capital letters of ASCII into small ones.
---@param text string the text
---@return string lower the new text
---@example return ("Moon"):lower()
function string.lower(text) end

--- Matches a pattern and returns what it captured.
---@param text string where to look
---@param pattern string what to look for
---@param start? integer where to begin; default 1
---@return any captures the captures, or the whole match; nil if there is none
---@example return ("crater: Tycho"):match("crater: (%a+)")
function string.match(text, pattern, start) end

--- Packs values into bytes.
---@param form string what to write: `i4` an integer of four bytes, `d` a double, `z` a string that ends with a zero, ...
---@param ... any the values
---@return string bytes the bytes
---@example return #string.pack("<i4d", 7, 1.5)
function string.pack(form, ...) end

--- Returns how many bytes a form of fixed size takes.
---@param form string the form, as of `string.pack`
---@return integer size the number of bytes
---@example return string.packsize("<i4d")
function string.packsize(form) end

--- Repeats a string.
---@param text string the text
---@param count integer how often
---@param separator? string what stands between
---@return string text the text, repeated
---@example return ("moon"):rep(3, ", ")
function string.rep(text, count, separator) end

--- Reverses the bytes.
---@param text string the text
---@return string reversed the new text
---@example return ("moon"):reverse()
function string.reverse(text) end

--- Returns a part.
---@param text string the text
---@param first integer position of its first byte
---@param last? integer position of its last; default the end
---@return string part the part
---@example return ("moonlight"):sub(1, 4)
function string.sub(text, first, last) end

--- Unpacks values from bytes.
---@param form string what to read, as of `string.pack`
---@param bytes string the bytes
---@param start? integer where to begin; default 1
---@return any values the values, then the position after them
---@example return string.unpack("<i4", string.pack("<i4", 7))
function string.unpack(form, bytes, start) end

--- Turns small letters of ASCII into capital ones.
---@param text string the text
---@return string upper the new text
---@example return ("moon"):upper()
function string.upper(text) end
