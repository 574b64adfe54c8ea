--- Text in UTF-8

--- Functions for text in UTF-8; positions are those of bytes.
utf8 = {}

--- A pattern that matches one character.
---@type string
---@example for character in ("mööñ"):gmatch(utf8.charpattern) do print(character) end
utf8.charpattern = nil

--- Makes text of code points.
---@param ... integer the code points
---@return string text the text
---@example return utf8.char(0x1F319)
function utf8.char(...) end

--- Returns the code points of characters.
---@param text string the text
---@param first? integer position of the first character; default 1
---@param last? integer position of the last; default `first`
---@param lax? boolean take code points beyond Unicode's
---@return integer points one number for each character
---@example return utf8.codepoint("🌙")
function utf8.codepoint(text, first, last, lax) end

--- Iterates over the characters.
---@param text string the text
---@param lax? boolean take code points beyond Unicode's
---@return fun():(integer, integer) iterator gives the position and the code point of each
---@example for position, point in utf8.codes("möon") do print(position, point) end
function utf8.codes(text, lax) end

--- Counts the characters.
---@param text string the text
---@param first? integer position of the first; default 1
---@param last? integer position of the last; default -1
---@param lax? boolean take code points beyond Unicode's
---@return integer? count nil if the text is no UTF-8
---@return integer? position of the first wrong byte
---@example return utf8.len("möon")
function utf8.len(text, first, last, lax) end

--- Returns the position of a character.
---@param text string the text
---@param number integer which character, counted from `start`
---@param start? integer where counting starts; default the beginning, or the end for a negative number
---@return integer? position nil if there is none
---@example return utf8.offset("möon", 3)
function utf8.offset(text, number, start) end
