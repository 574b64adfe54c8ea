--- Input, output and files
---
--- The standard streams belong to the client that sent the cell: a notebook shows what is written and asks for what is read.
--- Files are the kernel's.

--- Reads and writes the standard streams and files.
io = {}

--- The standard input: lines that the client is asked for.
---@type file
---@example return io.type(io.stdin)
io.stdin = nil

--- The standard output.
---@type file
---@example io.stdout:write("moon\n")
io.stdout = nil

--- The standard error.
---@type file
---@example io.stderr:write("the moon sets\n")
io.stderr = nil

--- Closes a file, or the default output.
---@param file? file the file; default the default output
---@return boolean? closed nil if it could not be
---@return string? problem why not
---@example local file = assert(io.tmpfile())
---@example io.close(file)
function io.close(file) end

--- Writes out what the default output holds back.
---@return file output the default output
---@example io.flush()
function io.flush() end

--- Returns or sets the default input.
---@param file? string|file a file, or a path that is opened to be read; without one nothing changes
---@return file input the default input
---@example return io.input() == io.stdin
function io.input(file) end

--- Iterates over the lines of a file, or of the default input.
---@param path? string the file's path; without one the default input
---@param ... string|integer what to read each time, as `file:read` takes it; default a line
---@return fun():string? iterator for a generic `for`
---@example local name = os.tmpname()
---@example local file = assert(io.open(name, "w")); file:write("new\nfull\n"); file:close()
---@example for line in io.lines(name) do print(line) end
---@example os.remove(name)
function io.lines(path, ...) end

--- Opens a file.
---@param path string its path, on the kernel's disk
---@param mode? "r"|"w"|"a"|"r+"|"w+"|"a+"|"rb"|"wb"|"ab" read, write anew, append; default "r"
---@return file? file nil if it cannot be opened
---@return string? problem why not
---@return integer? code the system's number of the problem
---@example print(io.open("no such file"))
function io.open(path, mode) end

--- Returns or sets the default output.
---@param file? string|file a file, or a path that is opened to be written; without one nothing changes
---@return file output the default output
---@example return io.output() == io.stdout
function io.output(file) end

--- Starts a program and returns a file to read from it or to write to it.
---@param command string a command of the shell
---@param mode? "r"|"w" read what it prints, or write what it reads; default "r"
---@return file? file nil if it cannot be started
---@return string? problem why not
---@example local file = assert(io.popen("echo moon"))
---@example print(file:read("a"))
---@example file:close()
function io.popen(command, mode) end

--- Reads from the default input; a notebook asks for it.
---@param ... string|integer "l" a line, "L" a line with its end, "n" a number, "a" everything, or a number of bytes; default "l"
---@return any values what was read; nil at the end of the input
---@example io.write("Which crater? ")
---@example print(io.read("l"))
function io.read(...) end

--- Opens a file that goes away when it is closed.
---@return file? file open to be read and written
---@return string? problem why there is none
---@example local file = assert(io.tmpfile())
---@example file:write("moon")
---@example file:close()
function io.tmpfile() end

--- Says whether a value is a file.
---@param value any the value
---@return "file"|"closed file"|nil type nil for what is no file
---@example return io.type(io.stdout), io.type("moon")
function io.type(value) end

--- Writes to the default output.
---@param ... string|number what to write, one after the other
---@return file? output the default output; nil if it cannot be written
---@return string? problem why not
---@example io.write("full ", "moon", "\n")
function io.write(...) end

--- An open file or a standard stream.
---@class file
local file = {}

--- Closes the file.
---@return boolean? closed nil if it could not be; the exit status of a program
---@return string? problem why not
---@example local file = assert(io.tmpfile())
---@example file:close()
function file:close() end

--- Writes out what is held back.
---@return file file itself
---@example io.stdout:flush()
function file:flush() end

--- Iterates over the lines.
---@param ... string|integer what to read each time, as `file:read` takes it; default a line
---@return fun():string? iterator for a generic `for`
---@example local file = assert(io.popen("printf 'new\\nfull\\n'"))
---@example for line in file:lines() do print(line) end
---@example file:close()
function file:lines(...) end

--- Reads.
---@param ... string|integer "l" a line, "L" a line with its end, "n" a number, "a" everything, or a number of bytes; default "l"
---@return any values what was read; nil at the end
---@example local file = assert(io.popen("echo 42"))
---@example print(file:read("n"))
---@example file:close()
function file:read(...) end

--- Moves the place where the file is read and written.
---@param from? "set"|"cur"|"end" the start, the present place, or the end; default "cur"
---@param offset? integer how many bytes from there; default 0
---@return integer? place the new place, from the start; nil if the file has none
---@return string? problem why not
---@example local file = assert(io.tmpfile())
---@example file:write("moon")
---@example return file:seek("set", 2)
function file:seek(from, offset) end

--- Sets how output is held back.
---@param mode "no"|"full"|"line" not at all, until there is much, or until a line ends
---@param size? integer how many bytes
---@return boolean set true
---@example local file = assert(io.tmpfile())
---@example file:setvbuf("full", 1024)
function file:setvbuf(mode, size) end

--- Writes.
---@param ... string|number what to write, one after the other
---@return file? file itself; nil if it cannot be written
---@return string? problem why not
---@example io.stdout:write("half ", "moon", "\n")
function file:write(...) end
