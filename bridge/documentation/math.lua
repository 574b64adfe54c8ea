--- Numbers

--- Functions for numbers.
math = {}

--- The ratio of a circle's circumference to its diameter.
---@type number
---@example return math.pi
math.pi = nil

--- A number greater than every other.
---@type number
---@example return -math.huge
math.huge = nil

--- The greatest integer.
---@type integer
---@example return math.maxinteger
math.maxinteger = nil

--- The least integer.
---@type integer
---@example return math.mininteger
math.mininteger = nil

--- Returns a number without its sign.
---@param number number the number
---@return number magnitude its magnitude
---@example return math.abs(-3)
function math.abs(number) end

--- Returns the arc cosine in radians.
---@param number number from -1 to 1
---@return number angle the angle
---@example return math.acos(1)
function math.acos(number) end

--- Returns the arc sine in radians.
---@param number number from -1 to 1
---@return number angle the angle
---@example return math.asin(0)
function math.asin(number) end

--- Returns the angle of a point, or the arc tangent, in radians.
---@param y number the numerator
---@param x? number the denominator; default 1
---@return number angle the angle, in the quadrant of the point
---@example return math.atan(1, -1)
function math.atan(y, x) end

--- Rounds up to an integer.
---@param number number the number
---@return integer integer the least integer that is not below it
---@example return math.ceil(1.2)
function math.ceil(number) end

--- Returns the cosine of an angle in radians.
---@param angle number the angle
---@return number cosine the cosine
---@example return math.cos(0)
function math.cos(angle) end

--- Turns radians into degrees.
---@param angle number the angle in radians
---@return number degrees the angle in degrees
---@example return math.deg(math.pi)
function math.deg(angle) end

--- Raises e to a power.
---@param power number the power
---@return number result e to that power
---@example return math.exp(0)
function math.exp(power) end

--- Rounds down to an integer.
---@param number number the number
---@return integer integer the greatest integer that is not above it
---@example return math.floor(1.8)
function math.floor(number) end

--- Returns the rest of a division that rounds towards zero.
---@param dividend number what is divided
---@param divisor number by what
---@return number rest with the sign of the dividend
---@example return math.fmod(-7, 3)
function math.fmod(dividend, divisor) end

--- Returns a logarithm.
---@param number number the number
---@param base? number the base; default e
---@return number logarithm the logarithm
---@example return math.log(8, 2)
function math.log(number, base) end

--- Returns the greatest of some numbers.
---@param first number one number
---@param ... number more of them
---@return number greatest the greatest
---@example return math.max(3, 1, 2)
function math.max(first, ...) end

--- Returns the least of some numbers.
---@param first number one number
---@param ... number more of them
---@return number least the least
---@example return math.min(3, 1, 2)
function math.min(first, ...) end

--- Splits a number into its integral and its fractional part.
---@param number number the number
---@return number integral a float without a fraction
---@return number fraction the rest
---@example return math.modf(3.75)
function math.modf(number) end

--- Turns degrees into radians.
---@param degrees number the angle in degrees
---@return number angle the angle in radians
---@example return math.rad(180)
function math.rad(degrees) end

--- Returns a random number: from 0 to 1, from 1 to a bound, or between two bounds.
---@param low? integer the least integer, or the greatest if it is the only bound; 0 gives any bits
---@param high? integer the greatest integer
---@return number random without bounds a float, else an integer
---@example return math.random(1, 6)
function math.random(low, high) end

--- Seeds the random numbers.
---@param high? integer the seed; without one, a random seed
---@param low? integer more of it
---@return integer high the seed in use
---@return integer low more of it
---@example math.randomseed(7)
function math.randomseed(high, low) end

--- Returns the sine of an angle in radians.
---@param angle number the angle
---@return number sine the sine
---@example return math.sin(0)
function math.sin(angle) end

--- Returns a square root.
---@param number number the number
---@return number root its root
---@example return math.sqrt(16)
function math.sqrt(number) end

--- Returns the tangent of an angle in radians.
---@param angle number the angle
---@return number tangent the tangent
---@example return math.tan(0)
function math.tan(angle) end

--- Turns a float into the integer of the same value.
---@param value any a number, or text that is one
---@return integer? integer nil if there is none
---@example return math.tointeger(3.0)
function math.tointeger(value) end

--- Says whether a number is an integer or a float.
---@param value any the number
---@return "integer"|"float"|nil type nil for what is no number
---@example return math.type(1), math.type(1.0)
function math.type(value) end

--- Compares two integers as if they had no sign.
---@param left integer one integer
---@param right integer the other
---@return boolean below whether the first is below the second
---@example return math.ult(1, -1)
function math.ult(left, right) end

--- Returns the hyperbolic cosine; kept from older Luas.
---@param angle number the argument
---@return number cosine the hyperbolic cosine
---@example return math.cosh(0)
function math.cosh(angle) end

--- Splits a number into a fraction and a power of two; kept from older Luas.
---@param number number the number
---@return number fraction from 0.5 to 1
---@return integer exponent of the power of two
---@example return math.frexp(8)
function math.frexp(number) end

--- Multiplies a number with a power of two; kept from older Luas.
---@param fraction number the fraction
---@param exponent integer the power of two
---@return number number the product
---@example return math.ldexp(0.5, 4)
function math.ldexp(fraction, exponent) end

--- Returns the logarithm to base 10; kept from older Luas, as `math.log(number, 10)`.
---@param number number the number
---@return number logarithm the logarithm
---@example return math.log10(1000)
function math.log10(number) end

--- Raises a number to a power; kept from older Luas, as `base ^ exponent`.
---@param base number the base
---@param exponent number the exponent
---@return number power the power
---@example return math.pow(2, 10)
function math.pow(base, exponent) end

--- Returns the hyperbolic sine; kept from older Luas.
---@param angle number the argument
---@return number sine the hyperbolic sine
---@example return math.sinh(0)
function math.sinh(angle) end

--- Returns the hyperbolic tangent; kept from older Luas.
---@param angle number the argument
---@return number tangent the hyperbolic tangent
---@example return math.tanh(0)
function math.tanh(angle) end
