--- Tables

--- Functions for lists.
table = {}

--- Joins the items of a list to one string.
---@param list table strings and numbers
---@param separator? string what stands between
---@param first? integer index of the first item; default 1
---@param last? integer index of the last; default `#list`
---@return string text the items, joined
---@example return table.concat({ "new", "half", "full" }, ", ")
function table.concat(list, separator, first, last) end

--- Adds an item to a list: at the end, or at a position.
---@param list table the list
---@param position any where it goes; or the item itself, if there is no third argument
---@param item? any the item
---@example local phases = { "new", "full" }
---@example table.insert(phases, 2, "half")
---@example return phases
function table.insert(list, position, item) end

--- Copies items from one place to another.
---@param source table the list to copy from
---@param first integer index of the first item
---@param last integer index of the last
---@param target integer index of the first copy
---@param destination? table the list to copy to; default the same one
---@return table destination the list that was copied to
---@example return table.move({ 1, 2, 3 }, 1, 3, 2, {})
function table.move(source, first, last, target, destination) end

--- Puts values into a table, with their number as `n`.
---@param ... any the values
---@return table packed the values, and `n`
---@example return table.pack("a", nil, "c").n
function table.pack(...) end

--- Takes an item out of a list, and closes the gap.
---@param list table the list
---@param position? integer which one; default the last
---@return any item the item
---@example return table.remove({ "new", "half", "full" }, 1)
function table.remove(list, position) end

--- Sorts a list in place.
---@param list table the list
---@param before? fun(left: any, right: any):boolean whether one item comes before another; default `<`
---@example local craters = { "Tycho", "Plato" }
---@example table.sort(craters, function(left, right) return #left < #right or left < right end)
---@example return craters
function table.sort(list, before) end

--- Returns the items of a list as values.
---@param list table the list
---@param first? integer index of the first item; default 1
---@param last? integer index of the last; default `#list`
---@return any items one value for each item
---@example return table.unpack { 1, 2, 3 }
function table.unpack(list, first, last) end
