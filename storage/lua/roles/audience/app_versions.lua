-- Versions of apps, compared by their numbers: 4.10 is later than 4.9, and 4.2 is 4.2.0. What follows the numbers
-- (`-beta`, ` (77)`) is not compared.

local app_versions = {}

local MOST = 8 -- numbers of a version that are compared
local LONGEST = 15 -- digits of a number: a double holds them exactly

-- The numbers at a version's front; nil: there is none.
function app_versions.numbers(text)
    local numbers, at = {}, text:match('^[vV]?()')
    while #numbers < MOST do
        local digits, after = text:match('^(%d+)()', at)
        if digits == nil or #digits > LONGEST then
            break
        end
        table.insert(numbers, tonumber(digits))
        at = text:match('^%.()', after)
        if at == nil then
            break
        end
    end
    return #numbers > 0 and numbers or nil
end

-- Negative, zero or positive, as the first is earlier than the second, the same, or later.
local function compared(a, b)
    for i = 1, math.max(#a, #b) do
        local difference = (a[i] or 0) - (b[i] or 0)
        if difference ~= 0 then
            return difference
        end
    end
    return 0
end

local HOLDS = {
    ['<'] = function(d) return d < 0 end,
    ['<='] = function(d) return d <= 0 end,
    ['>'] = function(d) return d > 0 end,
    ['>='] = function(d) return d >= 0 end,
    ['='] = function(d) return d == 0 end,
    ['!='] = function(d) return d ~= 0 end,
}

-- {{operator, {number...}}...} as `within` wants it: large numbers come as 64-bit integers, whose differences wrap.
function app_versions.compile(bounds)
    local compiled = {}
    for i, bound in ipairs(bounds) do
        local numbers = {}
        for n, number in ipairs(bound[2]) do
            numbers[n] = tonumber(number)
        end
        compiled[i] = {bound[1], numbers}
    end
    return compiled
end

-- Whether a version keeps all of the compiled `bounds`.
function app_versions.within(text, bounds)
    local numbers = app_versions.numbers(text)
    if numbers == nil then
        return false
    end
    for _, bound in ipairs(bounds) do
        if not HOLDS[bound[1]](compared(numbers, bound[2])) then
            return false
        end
    end
    return true
end

return app_versions
