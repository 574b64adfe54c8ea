--- Notebooks of xeus-lua
---
--- The names by which notebooks written for the xeus-lua kernel show things work unchanged. Its widgets (`ilua.widgets`), canvas
--- and printer settings (`ilua.config`) are not available: using them raises an error that says so. For new notebooks use `display`.

--- The names of the xeus-lua kernel.
ilua = {}

--- What xeus-lua shows values with.
ilua.display = {}

--- Shows values; one with a method `display` by calling it, one with a method `mime_bundle_repr` by what that returns.
---@param ... any the values
---@example ilua.display.display("a text", { 1, 2, 3 })
function ilua.display.display(...) end

--- Shows a text.
---@param data string the text
---@return display.Handle handle replaces it
---@example ilua.display.plain_text("a text")
function ilua.display.plain_text(data) end

--- Shows HTML.
---@param data string the HTML
---@return display.Handle handle replaces it
---@example ilua.display.html("<b>bold</b>")
function ilua.display.html(data) end

--- Shows markdown.
---@param data string the markdown
---@return display.Handle handle replaces it
---@example ilua.display.markdown("**bold**")
function ilua.display.markdown(data) end

--- Shows LaTeX as it is; give formulas their dollar signs.
---@param data string the LaTeX
---@return display.Handle handle replaces it
---@example ilua.display.latex("$x^2$")
function ilua.display.latex(data) end

--- Shows a value as JSON; a string is a JSON string.
---@param data any what JSON can hold
---@return display.Handle handle replaces it
---@example ilua.display.json({ key = "value" })
function ilua.display.json(data) end

--- Shows records as a table, as `display.table` does.
---@param data table a list of tables with string keys, or of lists
---@return display.Handle handle replaces it
---@example ilua.display.table({ { moon = "Io" }, { moon = "Europa" } })
function ilua.display.table(data) end

--- Shows a value under a name of your own.
---@param data any the value
---@param metadata? table what the frontend should know, by MIME type
---@param transient? table `{display_id = "name"}`
---@example ilua.display.display_data("first", nil, { display_id = "plot" })
---@example ilua.display.update_display_data("second", nil, { display_id = "plot" })
function ilua.display.display_data(data, metadata, transient) end

--- Replaces what was shown under a name.
---@param data any the new value
---@param metadata? table what the frontend should know, by MIME type
---@param transient table `{display_id = "name"}`
---@example ilua.display.update_display_data("new", nil, { display_id = "plot" })
function ilua.display.update_display_data(data, metadata, transient) end

--- Takes away what the cell has shown so far.
---@param wait? boolean only once something else is shown
---@example ilua.display.clear_output(true)
function ilua.display.clear_output(wait) end
