-- How many subscribers an audience has: counted in slices, or drawn. And who is meant by a list of ids and tokens.

local fiber = require('fiber')
local columns = require('roles.audience.columns')
local plans = require('roles.store.plans')
local predicate = require('roles.audience.predicate')
local row_memory = require('roles.audience.row_memory')
local targets = require('roles.store.targets')

local audience_count = {}

local MAP = {__serialize = 'map'}
local SLICE = 1000 -- rows looked at without letting others have Tarantool's thread: half a millisecond, drawn ones two
local MOST_DRAWS = 20000 -- in one call
local CHANGED_AT, ZONE, BEST = row_memory.CHANGED_AT, row_memory.ZONE, row_memory.BEST
local best_slot, field, name_at = row_memory.best_slot, row_memory.field, row_memory.name_at
local number_at = row_memory.number_at
local tuples, ids, inside, names = columns.tuples, columns.ids, columns.inside, columns.names

-- What a row counts for: its channel; by zones, also the half hour of its best time, and its zone.
local function key_of(channel, tuple, by_zones)
    if not by_zones then
        return channel
    end
    return channel .. ' ' .. best_slot(field(tuple, BEST)) .. ' ' .. name_at(field(tuple, ZONE))
end

-- Count the first rows of the columns. counts: channel -> {in the audience, not in it, in it and changed since, not in
-- it and changed since}; by zones: see `key_of`.
local function add(counts, plan, since, rows)
    predicate.mark(plan.where, rows)
    for i = 0, rows - 1 do
        local channel = names[i]
        if plan.channels == nil or plan.channels[channel] then
            local key = key_of(channel, tuples[i], plan.by_zones)
            local sums = counts[key]
            if sums == nil then
                sums = {0, 0, 0, 0}
                counts[key] = sums
            end
            local place = inside[i] == 1 and 1 or 2
            if since ~= nil then
                local at = field(tuples[i], CHANGED_AT)
                if at ~= nil and at[0] ~= 0xc0 and number_at(at) >= since then
                    place = place + 2
                end
            end
            sums[place] = sums[place] + 1
        end
    end
end

local function count_range(iterator, to, limit, plan, since, counts)
    local rows = columns.fill(iterator, to, limit)
    add(counts, plan, since, rows)
    return rows == limit and ids[rows - 1] or to
end

local function count_listed(after, to, limit, plan, since, counts)
    local list, first = plan.listed, 1
    while list[first] ~= nil and list[first] <= after do
        first = first + 1
    end
    local some = 0
    while some < limit and list[first + some] ~= nil and list[first + some] <= to do
        some = some + 1
    end
    add(counts, plan, since, columns.fill_with(list, first, some))
    return some == limit and list[first + some - 1] or to
end

-- The subscribers with an id in (after, to] of a campaign's channels, or of `channels` (nil: all), by whether they are
-- in its audience, or keep `where`; no more than `limit` rows are looked at. `since`: ms, nil: nobody counts as changed.
-- Returns channel -> sums as `add` writes them, and the id up to which they go. `by_zones`: count by zone and best time,
-- too; only without a campaign.
function audience_count.audience_in(campaign, channels, where, listed, after, to, limit, since, by_zones)
    local plan = campaign ~= nil and plans.of(campaign) or plans.compile(channels, where or {}, listed)
    if campaign == nil then
        plan.by_zones = by_zones
    end
    local counts, looked = setmetatable({}, MAP), 0
    while after < to and looked < limit do
        if looked > 0 then
            fiber.yield()
        end
        local some = math.min(SLICE, limit - looked)
        if plan.listed ~= nil then
            after = count_listed(after, to, some, plan, since, counts)
        else
            after = row_memory.with(after, count_range, to, some, plan, since, counts)
        end
        looked = looked + some
    end
    return counts, after
end

-- The same for ids that are drawn evenly from 1 to the highest. An id that is nobody's any more counts for nothing:
-- so each subscriber is as likely as any other, however the gaps lie.
function audience_count.audience_sample(channels, where, draws, by_zones)
    local plan, counts = plans.compile(channels, where), setmetatable({}, MAP)
    plan.by_zones = by_zones
    local last = audience_count.highest_id()
    draws = last > 0 and math.min(draws, MOST_DRAWS) or 0
    for first = 1, draws, SLICE do
        if first > 1 then
            fiber.yield()
        end
        local drawn = {}
        for i = 1, math.min(SLICE, draws - first + 1) do
            drawn[i] = math.random(1, last)
        end
        add(counts, plan, nil, columns.fill_with(drawn, 1, #drawn))
    end
    return counts
end

-- The ids in the base of these ids, and of these tokens on any of `channels`, in no order; and which of them are not
-- there.
function audience_count.subscribers_find(channels, ids, tokens)
    local space, found, missing = box.space.store_subscribers, {}, {}
    for _, id in ipairs(ids) do
        table.insert(space:get(id) ~= nil and found or missing, id)
    end
    for _, token in ipairs(tokens) do
        local there = false
        for _, channel in ipairs(channels) do
            local row = targets.get(channel, token)
            if row ~= nil then
                table.insert(found, row.id)
                there = true
            end
        end
        if not there then
            table.insert(missing, token)
        end
    end
    return found, missing
end

-- The highest id of all.
function audience_count.highest_id()
    local last = box.space.store_subscribers.index.id:max()
    return last ~= nil and tonumber(last.id) or 0
end

return audience_count
