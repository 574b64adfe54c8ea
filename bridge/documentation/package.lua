--- Modules

--- Where `require` finds modules.
package = {}

--- Five lines: the separator of folders, of patterns, the mark of a name, and two for libraries, which are not loaded here.
---@type string
---@example return package.config:sub(1, 1)
package.config = nil

--- Empty: there are no C modules.
---@type string
---@example return package.cpath
package.cpath = nil

--- Modules that are loaded, by name.
---@type table<string, any>
---@example return package.loaded.string == string
package.loaded = nil

--- Where files are looked for after the modules that travelled with the script and its folder; `?` is the module's name.
---@type string
---@example package.path = "./?.lua;" .. package.path
package.path = nil

--- Functions that load a module, by name; they come before files.
---@type table<string, function>
---@example package.preload.moon = function() return "full" end
package.preload = nil

--- The functions that `require` asks one after the other.
---@type function[]
---@example return #package.searchers
package.searchers = nil

--- Looks for a file along a path.
---@param name string the module's name
---@param path string patterns with `?`, separated by ";"
---@param separator? string what stands for a folder in the name; default "."
---@param replacement? string what it becomes in the path; default "/"
---@return string? file nil if there is none
---@return string? problem where it was looked for
---@example print(package.searchpath("moon", "./?.lua"))
function package.searchpath(name, path, separator, replacement) end
