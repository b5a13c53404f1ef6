-- Live reach: how soon after Fire pushes were accepted, as counts by class of time, and how many ended in the last
-- seconds. A report of a node adds to one row for each campaign and channel, whatever the number of its lines.

local clock = require('roles.clock')
local reach = {}

local FIRST = 10    -- ms: the upper bound of class 0
local STEPS = 4     -- classes to each doubling of the time: campaigns/reach.py has both, too
local LAST = 120    -- 124 days: later ones count as this
local RECENT = 5    -- seconds whose pushes make the rate of now
local MOST = 64     -- campaigns whose last seconds are known

-- campaign as text -> 'channel node' -> {second -> pushes that have ended}. In memory only: after RECENT seconds a new
-- master knows it too. `since`: the second of the first of them.
local recent, campaigns = {}, 0

-- What the lines of one report add.
local sums = {}

local function class(ms)
    return ms <= FIRST and 0 or math.min(LAST, math.ceil(STEPS * math.log(ms / FIRST) / math.log(2)))
end

-- Before the lines of a report.
function reach.begin()
    sums = {}
end

-- A line that its page has taken. `ended`: how many of its recipients have an outcome by it.
function reach.add(line, ended)
    local key = tostring(line.campaign) .. ' ' .. line.channel
    local sum = sums[key]
    if sum == nil then
        local c = box.space.store_campaigns:get(line.campaign)
        sum = {campaign = line.campaign, channel = line.channel, fired_at = c.fired_at, counts = {}, ended = 0}
        sums[key] = sum
    end
    local accepted = line.tallies.delivered or 0
    if accepted > 0 and line.at ~= nil then
        local number = tostring(class(tonumber(line.at) - tonumber(sum.fired_at)))
        sum.counts[number] = (sum.counts[number] or 0) + accepted
    end
    sum.ended = sum.ended + ended
end

local function note_recent(sum, node)
    local campaign, second = tostring(sum.campaign), math.floor(clock.now())
    if recent[campaign] == nil then
        if campaigns >= MOST then
            recent, campaigns = {}, 0
        end
        recent[campaign], campaigns = {}, campaigns + 1
    end
    local key = sum.channel .. ' ' .. node
    local counts = recent[campaign][key]
    if counts == nil then
        counts = {since = second}
        recent[campaign][key] = counts
    end
    counts[second] = (counts[second] or 0) + sum.ended
    for old in pairs(counts) do
        if old ~= 'since' and old < second - 2 * RECENT then
            counts[old] = nil
        end
    end
end

-- After the lines of a report, in its transaction.
function reach.write(node)
    for _, sum in pairs(sums) do
        if next(sum.counts) ~= nil then
            local row = box.space.store_reach:get({sum.campaign, sum.channel, node})
            local counts = row and row.counts or {}
            for number, n in pairs(sum.counts) do
                counts[number] = (counts[number] or 0) + n
            end
            box.space.store_reach:replace({
                sum.campaign, sum.channel, node, setmetatable(counts, {__serialize = 'map'}),
            })
        end
        if sum.ended > 0 then
            note_recent(sum, node)
        end
    end
    sums = {}
end

-- Pushes that have ended a second, over the last seconds.
local function rate(counts)
    local now, ended = clock.now(), 0
    for second, n in pairs(counts) do
        if second ~= 'since' and second >= math.floor(now) - RECENT then
            ended = ended + n
        end
    end
    return ended / math.max(1, now - math.max(counts.since, math.floor(now) - RECENT))
end

-- {channel, node, {class -> accepted pushes}} each, and {channel, node, pushes that have ended a second} each.
function reach.campaign_reach(campaign)
    local rows, rates = {}, {}
    for _, row in box.space.store_reach:pairs({campaign}) do
        table.insert(rows, {row.channel, row.node, setmetatable(row.counts, {__serialize = 'map'})})
    end
    for key, counts in pairs(recent[tostring(campaign)] or {}) do
        local channel, node = key:match('^(%S+) (.*)$')
        table.insert(rates, {channel, node, rate(counts)})
    end
    return rows, rates
end

-- Up to `limit` rows of a campaign leave the store. Returns how many.
function reach.drop(campaign, limit)
    local rows = box.space.store_reach:select({campaign}, {limit = limit})
    for _, row in ipairs(rows) do
        box.space.store_reach:delete({row.campaign, row.channel, row.node})
    end
    return #rows
end

return reach
