--- The operating system

--- Time, files, the environment and commands.
os = {}

--- Returns the processor time that this program has used.
---@return number seconds seconds
---@example return os.clock() >= 0
function os.clock() end

--- Writes a date.
---@param form? string as C's strftime takes it, with "!" in front for UTC; "*t" gives a table
---@param time? integer seconds since 1970; default now
---@return string|table date text, or a table with year, month, day, hour, min, sec, wday, yday and isdst
---@example return os.date("!%Y-%m-%d", 0)
function os.date(form, time) end

--- Returns the seconds between two times.
---@param later integer one time, from `os.time`
---@param earlier integer the other
---@return number seconds the difference
---@example return os.difftime(60, 0)
function os.difftime(later, earlier) end

--- Runs a command of the shell; what it prints appears as it comes, and an interrupt ends it.
---@param command? string the command; without one, says whether there is a shell
---@return boolean? ok whether it ended well
---@return "exit"|"signal" how how it ended
---@return integer code its exit code, or the signal
---@example print(os.execute("echo moon"))
function os.execute(command) end

--- Ends the script or the cell; a notebook's kernel goes on.
---@param code? boolean|integer the exit code; true is 0, false is 1; default 0
---@example os.exit(0)
function os.exit(code) end

--- Reads a variable of the environment.
---@param name string its name
---@return string? value nil if there is none
---@example return os.getenv("PATH") ~= nil
function os.getenv(name) end

--- Removes a file or an empty folder.
---@param path string its path, on the kernel's disk
---@return boolean? removed nil if it could not be
---@return string? problem why not
---@return integer? code the system's number of the problem
---@example os.remove(os.tmpname())
function os.remove(path) end

--- Renames a file or a folder.
---@param from string its path
---@param to string its new path
---@return boolean? renamed nil if it could not be
---@return string? problem why not
---@return integer? code the system's number of the problem
---@example local name = os.tmpname()
---@example os.rename(name, name .. ".moon")
---@example os.remove(name .. ".moon")
function os.rename(from, to) end

--- Names the locale, which is always "C": it belongs to the whole process.
---@param locale? string the locale that is wished for
---@param category? string of what
---@return string? locale nil if another than "C" is wished for
---@example return os.setlocale()
function os.setlocale(locale, category) end

--- Returns a time.
---@param date? table year, month and day, perhaps hour, min, sec and isdst; without one, now
---@return integer time seconds since 1970
---@example return os.time { year = 1969, month = 7, day = 20, hour = 20 }
function os.time(date) end

--- Makes an empty file in the folder of temporary files.
---@return string path its path
---@example local name = os.tmpname()
---@example os.remove(name)
function os.tmpname() end
