--- Showing things
---
--- A value is shown in several representations, and each frontend takes the one it shows best: JupyterLab a table or a picture,
--- a terminal the text, which is always there. What `display` and its functions return is a handle, by which the value is
--- replaced where it stands, also from a later cell. As a cell's result a handle is shown only if that cell did not make it.
---
--- A list of records (tables with string keys) or of lists is shown as a table, any other nested table as a tree that unfolds. A
--- metatable decides for its values: `__mimebundle(value)` returns a table from MIME types to data and, if need be, a table of
--- metadata; `__repr_html(value)` returns HTML; `__tostring` is the text. Data of a JSON type is a table, or JSON text; data of
--- images, audio, video and PDF is bytes, or base64. An error in one of them is the error of the cell.

--- Shows values in all their representations. Called itself, `display(value, options)` shows any value as it would be shown as a
--- cell's result.
---@overload fun(value: any, options?: display.Options): display.Handle
---@example local shown = display({ { moon = "Io", km = 3643 }, { moon = "Europa", km = 3122 } })
---@example shown:update("gone")
display = {}

--- Shows HTML.
---@param html string the HTML; its text is the text form
---@return display.Handle handle replaces it
---@example display.html("<b>bold</b>")
function display.html(html) end

--- Shows markdown.
---@param markdown string the markdown
---@return display.Handle handle replaces it
---@example display.markdown("# Moons\n- Io\n- **Europa**")
function display.markdown(markdown) end

--- Shows a formula or a text with formulas.
---@param latex string LaTeX; without a dollar sign or an environment all of it is one formula
---@return display.Handle handle replaces it
---@example display.latex([[\frac{1}{2} m v^2]])
function display.latex(latex) end

--- Shows a value as JSON that unfolds.
---@param value any what JSON can hold, or JSON text
---@param options? display.JsonOptions how to show it
---@return display.Handle handle replaces it
---@error invalid_request JSON cannot hold the value, or the text is no JSON
---@example display.json({ moon = "Io", tags = { "hot", "yellow" } }, { expanded = true })
function display.json(value, options) end

--- Shows an SVG picture.
---@param svg string an SVG document
---@return display.Handle handle replaces it
---@example display.svg('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="18"/></svg>')
function display.svg(svg) end

--- Shows a PNG picture.
---@param image string the bytes of the picture, or the name of a file that holds it
---@param options? display.PngOptions how large to show it
---@return display.Handle handle replaces it
---@example local file = io.open("moon.png", "rb")
---@example if file then display.png(file:read("a"), { width = 200 }) end
function display.png(image, options) end

--- Shows a chart of the Vega-Lite grammar, version 5, where the frontend draws such: JupyterLab does, without a network.
---@param spec table|string the specification
---@return display.Handle handle replaces it
---@example display.vegalite {
---@example   mark = "bar",
---@example   data = { values = { { moon = "Io", km = 3643 }, { moon = "Europa", km = 3122 } } },
---@example   encoding = { x = { field = "moon", type = "nominal" }, y = { field = "km", type = "quantitative" } },
---@example }
function display.vegalite(spec) end

--- Shows records as a table.
---@param records table a list of tables with string keys, or of lists
---@param options? display.TableOptions what to show of them
---@return display.Handle handle replaces it
---@example local moons = { { moon = "Io", km = 3643 }, { moon = "Europa", km = 3122 } }
---@example display.table(moons, { columns = { "moon", "km" }, caption = "Moons of Jupiter" })
function display.table(records, options) end

--- Draws a chart, as a picture that needs no network and as text.
---@param chart display.Chart what to draw
---@return display.Handle handle replaces it
---@example display.chart { kind = "bar", x = { "Io", "Europa" }, y = { 3643, 3122 }, title = "Moons", y_label = "km" }
---@example local runs = { { tokens = 10, ms = 31, cached = 12 }, { tokens = 20, ms = 55, cached = 20 } }
---@example display.chart { kind = "line", data = runs, x = "tokens", y = { "ms", "cached" } }
---@example display.chart { kind = "histogram", x = { 1, 2, 2, 3, 3, 3, 4, 4, 5 }, bins = 5 }
function display.chart(chart) end

--- Shows how far something is, in one line that is replaced at most 20 times a second; its last state is always shown.
---@param total? number how much there is to do; nothing if that is not known
---@param options? display.ProgressOptions how to show it
---@return display.Progress progress says how much is done
---@example local progress = display.progress(3, { label = "moons" })
---@example for _ = 1, 3 do progress:advance() end
function display.progress(total, options) end

--- Takes away what the cell has shown so far.
---@param wait? boolean only once something else is shown, so that nothing flickers
---@example display.clear(true)
function display.clear(wait) end

--- Switches the line on or off by which slow model calls show how far they are. In a notebook it is on: a call that takes longer
--- than 0.2 s shows one line, which stays as a summary. Scripts show none unless they switch it on.
---@param on boolean whether to show it
---@example display.live(false)
---@example print(LocalLLM.generate("Hello!"))
---@example display.live(true)
function display.live(on) end

--- The options of `display`.
---@class display.Options
---@field id? string a name of your own for what is shown, instead of a new one
---@field metadata? table what the frontend should know, by MIME type

--- The options of `display.json`.
---@class display.JsonOptions
---@field expanded? boolean show it unfolded

--- The options of `display.png`.
---@class display.PngOptions
---@field width? integer in pixels
---@field height? integer in pixels

--- The options of `display.table`.
---@class display.TableOptions
---@field columns? table the fields to show, in order; all of them, by name, if not given
---@field caption? string a line above the table
---@field max_rows? integer how many rows to show, 50 if not given; the rest is counted
---@field max_columns? integer how many columns to show, 20 if not given and no `columns` are; the rest is counted

--- What `display.chart` draws: the fields `x` and `y` of the records `data`, or without `data` lists of values.
---@class display.Chart
---@field kind string `"bar"`, `"line"`, `"scatter"` or `"histogram"`
---@field data? table a list of records
---@field x? any the name of a field of `data`, or a list; a histogram's numbers; 1, 2, 3 ... if not given
---@field y? any the name of a field of `data`, a list of names, a list of numbers, or a table from names to such lists
---@field bins? integer how many bars a histogram has
---@field title? string a line above
---@field x_label? string what lies along the first axis
---@field y_label? string what lies along the second axis
---@field width? integer in pixels, 560 if not given
---@field height? integer in pixels, 320 if not given

--- The options of `display.progress`.
---@class display.ProgressOptions
---@field label? string what is being done

--- How far something is.
---@class display.Progress
local progress = {}

--- Says how much is done.
---@param done number of the total
---@return display.Progress progress itself
---@example display.progress(100):update(40)
function progress:update(done) end

--- Says how much more is done.
---@param more? number 1 if not given
---@return display.Progress progress itself
---@example display.progress(10):advance():advance(2)
function progress:advance(more) end

--- Says that nothing more will be done.
---@return display.Progress progress itself
---@example display.progress(10):finish()
function progress:finish() end

--- What is shown, and can be replaced.
---@class display.Handle
local handle = {}

--- Replaces what is shown, wherever it stands, by another value of the same kind.
---@param value any the new value: HTML for a handle of `display.html`, and so on
---@param options? table new options; the old ones if not given
---@return display.Handle handle itself
---@example local shown = display.markdown("*thinking*")
---@example shown:update("**done**")
function handle:update(value, options) end
