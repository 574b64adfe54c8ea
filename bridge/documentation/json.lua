--- JSON
---
--- Objects become tables with string keys, arrays become lists, and JSON's null becomes `json.null`, which is not nil and
--- so keeps its place in a list. An empty table is an empty object unless `json.list` marks it.

--- JSON texts and Lua values.
json = {}

--- Writes a value as JSON.
---@param value any a table, string, number, boolean, nil or `json.null`
---@param options? json.EncodeOptions how to write it
---@return string text the JSON
---@error invalid_request the value holds a function, a cycle, or a table that is neither a list nor an object
---@example print(json.encode({ name = "moon", craters = { "Tycho", "Plato" } }, { indent = true }))
function json.encode(value, options) end

--- Reads JSON.
---@param text string the JSON
---@return any value what it says
---@error invalid_request the text is no JSON; the message says where
---@example return json.decode('{"craters": ["Tycho"]}').craters[1]
function json.decode(text) end

--- Marks a table as a list, so that it is written as an array even when it is empty.
---@param table? table the table; without it a new one
---@return table list the same table
---@example print(json.encode { found = json.list() })
function json.list(table) end

--- JSON's null, as a value that a table can hold.
---@type userdata
---@example print(json.encode { 1, json.null, 3 })
json.null = nil

--- The options of `json.encode`.
---@class json.EncodeOptions
---@field indent? boolean write one value a line, indented
