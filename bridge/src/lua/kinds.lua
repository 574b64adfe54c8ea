-- The functions of `display`, one for each kind of value: what a script gives, in its representations.
local host = ...
local ipairs, type = ipairs, type
local concat, find, format, sub = table.concat, string.find, string.format, string.sub
local mathtype, open = math.type, io.open
local checked, described, rich = host.checked, host.described, host.rich

local function need_string(name, value)
  if type(value) ~= "string" then
    return host.complain(name .. " got " .. described(value) .. "; expected a string")
  end
  return value
end

-- Adds display.NAME for a kind of value. `known`: its options; `make(value, options)`: its
-- representations and their metadata.
local function define(name, known, make)
  local full = "display." .. name
  local function made(value, options)
    local data, metadata = make(value, host.read_options(full, options, known), full)
    return (checked(rich(data, metadata)))
  end
  display[name] = function(value, options)
    return host.present(made, value, options)
  end
end
define("html", {}, function(html, _, name)
  return { ["text/html"] = html, ["text/plain"] = host.html_text(need_string(name, html)) }
end)

define("markdown", {}, function(markdown, _, name)
  return { ["text/markdown"] = need_string(name, markdown), ["text/plain"] = markdown }
end)

-- Frontends look for formulas between dollar signs or in environments.
define("latex", {}, function(latex, _, name)
  need_string(name, latex)
  local marked = find(latex, "$", 1, true) or find(latex, "\\[", 1, true) or find(latex, "\\(", 1, true)
    or find(latex, "\\begin{", 1, true)
  return { ["text/latex"] = marked and latex or "$\\displaystyle " .. latex .. "$", ["text/plain"] = latex }
end)

-- A value that JSON can hold, or JSON text.
define("json", { expanded = "boolean" }, function(value, options)
  if type(value) == "string" then
    value = host.json.decode(value)
  end
  local data = { ["application/json"] = value, ["text/plain"] = host.json.encode(value, { indent = true }) }
  return data, { ["application/json"] = { expanded = options.expanded or false } }
end)

define("svg", {}, function(svg, _, name)
  return { ["image/svg+xml"] = svg, ["text/plain"] = checked(host.describe_svg(need_string(name, svg))) }
end)

local PNG = "\137PNG\r\n\26\n"

-- The bytes of an image, or the name of a file that holds it.
define("png", { width = "integer", height = "integer" }, function(image, options, name)
  need_string(name, image)
  local bytes = image
  if sub(image, 1, #PNG) ~= PNG then
    local file, problem = nil, "it is no PNG image, and too long for the name of a file"
    if #image < 4096 and not find(image, "\0", 1, true) then
      file, problem = open(image, "rb")
    end
    bytes = file and file:read("a")
    if file then
      file:close()
    end
    if not bytes or sub(bytes, 1, #PNG) ~= PNG then
      return host.complain(name .. " got " .. format("%q", sub(image, 1, 60)) .. ": " .. (problem or "no PNG file")
        .. "; expected the bytes of a PNG image, or the name of such a file")
    end
  end
  local metadata = (options.width or options.height)
    and { ["image/png"] = { width = options.width, height = options.height } } or nil
  return { ["image/png"] = bytes, ["text/plain"] = checked(host.describe_png(bytes)) }, metadata
end)

-- A Vega-Lite 5 specification, which JupyterLab draws without a network.
define("vegalite", {}, function(spec, _, name)
  if type(spec) == "string" then
    spec = host.json.decode(spec)
  end
  if type(spec) ~= "table" then
    return host.complain(name .. " got " .. described(spec) .. "; expected a table like {mark = \"bar\", ...}")
  end
  local mark = type(spec.mark) == "table" and spec.mark.type or spec.mark
  local about = {}
  about[#about + 1] = type(mark) == "string" and mark or nil
  about[#about + 1] = type(spec.title) == "string" and spec.title or nil
  local plain = "Vega-Lite chart" .. (#about > 0 and " (" .. concat(about, ": ") .. ")" or "")
  return { ["application/vnd.vegalite.v5+json"] = spec, ["text/plain"] = plain }
end)

local TABLE = { columns = "table", caption = "string", max_rows = "integer", max_columns = "integer" }

define("table", TABLE, function(list, options, name)
  if type(list) ~= "table" then
    return host.complain(name .. " got " .. described(list) .. "; expected a list of records or of lists")
  end
  for _, column in ipairs(options.columns or {}) do
    if type(column) ~= "string" and mathtype(column) ~= "integer" then
      return host.complain("option `columns` of " .. name .. " has " .. described(column)
        .. "; expected the names of fields, or the numbers of items")
    end
  end
  local data = {}
  host.add_table(data, list, options)
  return data
end)

local CHART = {
  kind = "string", title = "string", data = "table", x = "any", y = "any", bins = "integer", x_label = "string",
  y_label = "string", width = "integer", height = "integer",
}

-- A chart is one table; what its fields hold is checked where it is drawn.
local function make_chart(spec)
  if type(spec) ~= "table" then
    return host.complain("display.chart got " .. described(spec) .. "; expected a table like {kind = \"bar\", y = {1, 2}}")
  end
  local svg, plain = checked(host.chart(host.read_options("display.chart", spec, CHART)))
  return (checked(rich { ["image/svg+xml"] = svg, ["text/plain"] = plain }))
end

function display.chart(spec)
  return host.present(make_chart, spec)
end
