-- Who is in an audience: the conditions of `where` (campaigns/where.py writes it), compiled once for each campaign from
-- data to tables, and asked of rows as they lie in memory, one condition after the other: each is a short loop over the
-- rows that are left.
--
-- So each loop has its trace, whatever the campaigns ask for. One loop that asked all conditions of a row was traced
-- anew for each order of answers, and a closure for each campaign would be traced anew for each campaign: LuaJIT keeps
-- only so many traces, and the rest is interpreted (docs/adr/0025).

local bit = require('bit')
local ffi = require('ffi')
local app_versions = require('roles.audience.app_versions')
local columns = require('roles.audience.columns')
local share = require('roles.audience.share')

local predicate = {}

local MOST_VERDICTS = 10000 -- different values whose verdicts are kept; more begin anew
local ANY, NONE = 2 ^ 30, -2 ^ 31 -- the tags' highest bits; the others are the tags that all must be there
local TEXTS = {'locales', 'zones', 'countries', 'versions', 'screens'} -- the conditions on texts, as they lie in a row
local TAGS = 6 -- behind them, and behind the best minute

local ids, at, kept, inside = columns.ids, columns.at, columns.kept, columns.inside

-- A base has few different locales, zones, versions: each is judged once, and then looked up.
local function verdicts(judge)
    return {known = {}, count = 0, judge = judge}
end

local function learn(condition, value)
    if condition.count >= MOST_VERDICTS then
        condition.known, condition.count = {}, 0
    end
    local verdict = condition.judge(value)
    condition.known[value], condition.count = verdict, condition.count + 1
    return verdict
end

local function in_set(values)
    local found = {}
    for _, value in ipairs(values) do
        found[value] = true
    end
    return verdicts(function(value)
        return found[value] == true
    end)
end

-- A language range takes a locale that is the same, or goes on after it (RFC 4647, basic filtering).
local function in_ranges(ranges)
    local folded = {}
    for i, range in ipairs(ranges) do
        folded[i] = range:lower()
    end
    return verdicts(function(locale)
        local text = locale:lower()
        for _, range in ipairs(folded) do
            if text == range or text:sub(1, #range + 1) == range .. '-' then
                return true
            end
        end
        return false
    end)
end

local function in_bounds(bounds)
    return verdicts(function(version)
        return app_versions.within(version, bounds)
    end)
end

-- Each tag that is asked for -> its bits. A row's tags are joined into one number: `need` must be in it, NONE not.
local function tag_bits(any, all, none)
    local bits, sizes, need = {}, {}, 0
    local function add(tag, mask)
        bits[tag] = bit.bor(bits[tag] or 0, mask)
        sizes[#tag] = true
    end
    for _, tag in ipairs(any or {}) do
        add(tag, ANY)
        need = bit.bor(need, ANY)
    end
    for i, tag in ipairs(all or {}) do
        add(tag, bit.lshift(1, i - 1))
        need = bit.bor(need, bit.lshift(1, i - 1))
    end
    for _, tag in ipairs(none or {}) do
        add(tag, NONE)
    end
    if next(bits) == nil then
        return nil
    end
    return {bits = bits, sizes = sizes, need = need, wanted = bit.bor(need, NONE)}
end

local function compiled_if(values, compile)
    return values ~= nil and #values > 0 and compile(values) or nil
end

function predicate.compile(where)
    return {
        locales = compiled_if(where.locales, in_ranges),
        zones = compiled_if(where.zones, in_set),
        countries = compiled_if(where.countries, in_set),
        versions = compiled_if(where.app_version, function(bounds)
            return in_bounds(app_versions.compile(bounds))
        end),
        screens = compiled_if(where.screens, in_set),
        tags = tag_bits(where.tags_any, where.tags_all, where.tags_none),
        share = where.share and share.compile(where.share) or nil,
    }
end

-- The first octet of a text, and the one behind it.
local function text_at(p)
    local head = p[0]
    if head < 0xd9 then
        return p + 1, p + 1 + (head - 0xa0)
    elseif head == 0xd9 then
        return p + 2, p + 2 + p[1]
    elseif head == 0xda then
        return p + 3, p + 3 + (p[1] * 0x100 + p[2])
    end
    return p + 5, p + 5 + (((p[1] * 0x100 + p[2]) * 0x100 + p[3]) * 0x100 + p[4])
end

local function array_at(p)
    local head = p[0]
    if head < 0xa0 then
        return head - 0x90, p + 1
    elseif head == 0xdc then
        return p[1] * 0x100 + p[2], p + 3
    end
    return ((p[1] * 0x100 + p[2]) * 0x100 + p[3]) * 0x100 + p[4], p + 5
end

local function after_text(p)
    local _, to = text_at(p)
    return to
end

-- The field that lies `gap` texts behind the next one.
local function skipped(p, gap)
    if gap > 0 then
        p = after_text(p)
    end
    if gap > 1 then
        p = after_text(p)
    end
    if gap > 2 then
        p = after_text(p)
    end
    if gap > 3 then
        p = after_text(p)
    end
    if gap > 4 then
        p = after_text(p)
    end
    return p
end

local function keep_text(condition, gap, count)
    local left = 0
    for k = 0, count - 1 do
        local i = kept[k]
        local from, to = text_at(skipped(at[i], gap))
        local value = ffi.string(from, to - from)
        local verdict = condition.known[value]
        if verdict == nil then
            verdict = learn(condition, value)
        end
        at[i] = to
        if verdict then
            kept[left] = i
            left = left + 1
        end
    end
    return left
end

-- Join the bits of the tag at `p`. Returns them, and where the next tag begins.
local function joined(tags, seen, p)
    local from, to = text_at(p)
    if tags.sizes[to - from] then
        local mask = tags.bits[ffi.string(from, to - from)]
        if mask ~= nil then
            return bit.bor(seen, mask), to
        end
    end
    return seen, to
end

-- The first tags are written out: for LuaJIT a loop within a loop is a trace of its own.
local function tags_at(tags, p)
    local seen, size, next_at = 0, array_at(p)
    if size > 0 then
        seen, next_at = joined(tags, seen, next_at)
    end
    if size > 1 then
        seen, next_at = joined(tags, seen, next_at)
    end
    if size > 2 then
        seen, next_at = joined(tags, seen, next_at)
    end
    if size > 3 then
        seen, next_at = joined(tags, seen, next_at)
    end
    for _ = 5, size do
        seen, next_at = joined(tags, seen, next_at)
    end
    return seen
end

local function keep_tags(tags, gap, count)
    local left, wanted, need = 0, tags.wanted, tags.need
    for k = 0, count - 1 do
        local i = kept[k]
        local p = skipped(at[i], gap)
        local head = p[0] -- the best minute: a number up to 1,439, or nil
        local seen = tags_at(tags, p + (head == 0xcd and 3 or head == 0xcc and 2 or 1))
        if bit.band(seen, wanted) == need then
            kept[left] = i
            left = left + 1
        end
    end
    return left
end

local function keep_share(compiled, count)
    local left = 0
    for k = 0, count - 1 do
        local i = kept[k]
        if share.within(compiled, ids[i]) then
            kept[left] = i
            left = left + 1
        end
    end
    return left
end

-- Mark which of the `count` rows in the columns are inside the audience. An attribute that is empty is in no set.
function predicate.mark(compiled, count)
    if compiled.share ~= nil then
        count = keep_share(compiled.share, count)
    end
    local at_field = 1
    for number, name in ipairs(TEXTS) do
        if compiled[name] ~= nil then
            count = keep_text(compiled[name], number - at_field, count)
            at_field = number + 1
        end
    end
    if compiled.tags ~= nil then
        count = keep_tags(compiled.tags, TAGS - at_field, count)
    end
    for k = 0, count - 1 do
        inside[kept[k]] = 1
    end
end

return predicate
