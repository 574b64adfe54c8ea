-- `display.progress`: one line that says how far something is.
local host = ...
local setmetatable, tostring, type, huge = setmetatable, tostring, type, math.huge
local described = host.described

local bars = setmetatable({}, { __mode = "k" })
local steps = {}
local Progress = { __name = "progress", __index = steps }

local function bar_of(progress, method)
  return bars[progress] or host.complain("progress:" .. method .. " needs its progress: call it with a colon")
end

-- Whether a value is a progress, which is shown where it was opened.
function host.is_progress(value)
  return bars[value] ~= nil
end

local function amount(name, value)
  if type(value) ~= "number" or value ~= value or value < 0 or value == huge then
    return host.complain(name .. " got " .. (type(value) == "number" and tostring(value) or described(value))
      .. "; expected a number from 0 on")
  end
  return value
end

-- Shows how far something is, in one line.
function display.progress(total, options)
  options = host.read_options("display.progress", options, { label = "string" })
  local progress = setmetatable({}, Progress)
  bars[progress] = host.open_progress(total ~= nil and amount("display.progress", total) or nil, options.label)
  return progress
end

-- So much is done.
function steps.update(progress, done)
  host.set_progress(bar_of(progress, "update"), amount("progress:update", done), false)
  return progress
end

-- So much more is done: one, unless told otherwise.
function steps.advance(progress, more)
  local bar = bar_of(progress, "advance")
  host.set_progress(bar, host.progress_of(bar) + amount("progress:advance", more == nil and 1 or more), false)
  return progress
end

-- Nothing more will be done.
function steps.finish(progress)
  local bar = bar_of(progress, "finish")
  local done, total = host.progress_of(bar)
  host.set_progress(bar, total or done, true)
  return progress
end
