--- Comms
---
--- A comm is a line between an object in Lua and one in a frontend, such as a widget: either side opens it, both send
--- messages of JSON values and binary buffers, either side closes it. A frontend's messages are handled between cells, or,
--- where it uses a subshell for them, while a cell runs.

--- Lines to objects in a frontend.
Comm = {}

--- Has a function see every comm that a frontend opens to a target.
---@param target string the name by which frontends open it
---@param handler? fun(comm: Comm, data: any, metadata: table, buffers: string[]) nil takes the handler away; a comm whose handler fails is closed
---@example Comm.register("echo", function(comm, data)
---@example   comm:on_message(function(message, metadata, buffers) comm:send(message, metadata, buffers) end)
---@example end)
function Comm.register(target, handler) end

--- Opens a comm to a target of the frontend's.
---@param target string what the frontend is to connect it with
---@param data? table for the target to read
---@param metadata? table about the message
---@param buffers? string[] binary data beside it
---@return Comm comm open on this side
---@error invalid_request something is no JSON value
---@error too_many_comms 1024 are open
---@example local comm = Comm.open("progress", { steps = 3 })
---@example for step = 1, 3 do comm:send { done = step } end
---@example comm:close()
function Comm.open(target, data, metadata, buffers) end

--- A line to an object in a frontend. `comm.id` names it, `comm.target` says what it reaches.
---@class Comm
local comm = {}

--- Sends a message.
---@param data? any a JSON value; an empty object if there is none
---@param metadata? table about the message
---@param buffers? string[] binary data beside it
---@return Comm comm itself
---@error comm_closed either side has closed it
---@example local comm = Comm.open("image")
---@example comm:send({ width = 2, height = 1 }, nil, { "\0\255" })
function comm:send(data, metadata, buffers) end

--- Sets the function that sees the frontend's messages. What it prints belongs to the message, and an error in it is
--- shown and ends only this call.
---@param handler? fun(data: any, metadata: table, buffers: string[]) nil takes it away
---@return Comm comm itself
---@example local comm = Comm.open("slider")
---@example comm:on_message(function(data) value = data.value end)
function comm:on_message(handler) end

--- Sets the function that sees the frontend close the comm.
---@param handler? fun(data: any, metadata: table, buffers: string[]) nil takes it away
---@return Comm comm itself
---@example local comm = Comm.open("slider")
---@example comm:on_close(function() print("closed") end)
function comm:on_close(handler) end

--- Closes the comm on both sides. If it is closed already, nothing happens.
---@param data? any a last word
---@param metadata? table about the message
---@param buffers? string[] binary data beside it
---@example local comm = Comm.open("slider")
---@example comm:close()
function comm:close(data, metadata, buffers) end

--- Tells whether neither side has closed it.
---@return boolean open true until it is closed
---@example return Comm.open("slider"):is_open()
function comm:is_open() end
