--- Coroutines
---
--- A coroutine may wait for a model: what resumed it waits with it, and iterators over a model's stream can be written as usual.

--- Functions that stop in the middle and go on later.
coroutine = {}

--- Ends a coroutine that waits, and closes its variables.
---@param co thread the coroutine
---@return boolean ok whether nothing failed
---@return any problem the error, if something did
---@example return coroutine.close(coroutine.create(print))
function coroutine.close(co) end

--- Makes a coroutine of a function.
---@param body function what it runs
---@return thread co the coroutine, which has not begun
---@example local co = coroutine.create(function(moon) coroutine.yield(moon .. " rises") end)
---@example print(coroutine.resume(co, "the moon"))
function coroutine.create(body) end

--- Says whether a coroutine can yield.
---@param co? thread which one; default the one that runs
---@return boolean yieldable whether it can
---@example return coroutine.isyieldable()
function coroutine.isyieldable(co) end

--- Begins a coroutine, or goes on with it.
---@param co thread the coroutine
---@param ... any its arguments, or what its `yield` returns
---@return boolean ok whether it went without an error
---@return any values what it yielded or returned, or the error
---@example return coroutine.resume(coroutine.create(function() return "full" end))
function coroutine.resume(co, ...) end

--- Returns the coroutine that runs.
---@return thread co the coroutine
---@return boolean main whether it is a cell's own
---@example return select(2, coroutine.running())
function coroutine.running() end

--- Says how a coroutine is.
---@param co thread the coroutine
---@return "running"|"suspended"|"normal"|"dead" status how it is
---@example return coroutine.status(coroutine.create(print))
function coroutine.status(co) end

--- Makes a function that goes on with a coroutine at each call; errors pass through.
---@param body function what the coroutine runs
---@return function resume call it to go on
---@example local phase = coroutine.wrap(function() coroutine.yield("new") coroutine.yield("full") end)
---@example print(phase(), phase())
function coroutine.wrap(body) end

--- Stops the coroutine that runs until it is resumed.
---@param ... any what its resumer is given
---@return any values what it is resumed with
---@example local double = coroutine.wrap(function(n) while true do n = coroutine.yield(n * 2) end end)
---@example print(double(1), double(21))
function coroutine.yield(...) end
