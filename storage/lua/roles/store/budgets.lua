-- How many of an audience had so many campaigns already, of a kind or of any: nothing is written for a phone, so it is worked out from
-- what is known of the campaigns. A phone had one if its id was walked, its channel was among the campaign's, and it keeps
-- its conditions now.

local fiber = require('fiber')
local audience_count = require('roles.store.audience_count')
local columns = require('roles.audience.columns')
local plans = require('roles.store.plans')
local predicate = require('roles.audience.predicate')

local budgets = {}

local MAP = {__serialize = 'map'}
local SLICE = 1000 -- rows looked at without letting others have Tarantool's thread: two milliseconds
local LOOKED = 1000 -- campaigns, the newest first
local MOST = 50 -- campaigns that count
local ids, inside, names = columns.ids, columns.inside, columns.names

local function set_of(list)
    local set = {}
    for _, each in ipairs(list) do
        set[tonumber(each) or each] = true
    end
    return set
end

-- The ids that a campaign was walked over: {after, upto} each. One that goes on will be walked to its end.
local function ranges(c)
    local found, from = {}, 0
    for _, cursor in box.space.store_cursors:pairs({c.id}) do
        local to = tonumber(cursor.end_id)
        local upto = (c.state ~= 'cancelled' or cursor.ended) and to or tonumber(cursor.after_id)
        table.insert(found, {from, upto})
        from = to
    end
    return found
end

local function walked(found, id)
    for _, range in ipairs(found) do
        if id > range[1] and id <= range[2] then
            return true
        end
    end
    return false
end

-- The campaigns of a kind (nil: of all) that were fired since a moment (ms UTC), with what `had` asks of them. No phone hears of a
-- drill, so it is none of them, also where a newsroom has a kind of this name.
local function fired(kind, since)
    local list, looked = {}, 0
    for _, c in box.space.store_campaigns.index.id:pairs(nil, {iterator = 'REQ'}) do
        looked = looked + 1
        if looked > LOOKED or #list >= MOST then
            break
        elseif c.fired_at >= since and c.fired_at > 0 and (kind == nil or c['policy.kind'] == kind) and c['policy.drill'] == nil then
            local plan = plans.of(c.id)
            table.insert(list, {
                channels = set_of(c.audience.channels or {}), where = plan and plan.where or nil,
                listed = plan and plan.listed and set_of(plan.listed) or nil, ranges = ranges(c),
            })
        end
    end
    return list
end

-- Count one for each of these ids that a campaign went to.
local function add(one, some, had)
    local rows = columns.fill_with(some, 1, #some)
    if one.where ~= nil then
        predicate.mark(one.where, rows)
    end
    for i = 0, rows - 1 do
        local id = ids[i]
        if one.channels[names[i]] and (one.where == nil or inside[i] == 1) and (one.listed == nil or one.listed[id])
            and walked(one.ranges, id) then
            had[id] = (had[id] or 0) + 1
        end
    end
end

-- Those of `list` that are in the audience, and id -> its channel; the others are counted in `counts`.
local function members(plan, list, counts)
    local rows, some, channel_of = columns.fill_with(list, 1, #list), {}, {}
    predicate.mark(plan.where, rows)
    for i = 0, rows - 1 do
        local channel = names[i]
        if plan.channels == nil or plan.channels[channel] then
            counts[channel] = counts[channel] or {0, 0}
            if inside[i] == 1 and channel_of[ids[i]] == nil then -- one that is drawn twice counts once
                table.insert(some, ids[i])
                channel_of[ids[i]] = channel
            elseif inside[i] == 0 then
                counts[channel][2] = counts[channel][2] + 1
            end
        end
    end
    return some, channel_of
end

-- Of the subscribers with an id in `looked` (nil: of so many that are drawn): channel -> {how many are in the audience and
-- had at least `budget` campaigns of this kind (nil: of any), how many others there are}. Nothing if too few were fired.
function budgets.budget_sample(channels, where, looked, draws, kind, since, budget)
    local counts, campaigns = setmetatable({}, MAP), fired(kind, since)
    if #campaigns < budget then
        return counts
    end
    local plan, last = plans.compile(channels, where), audience_count.highest_id()
    local total = looked ~= nil and #looked or last > 0 and draws or 0
    for first = 1, total, SLICE do
        local list = {}
        for i = first, math.min(first + SLICE - 1, total) do
            table.insert(list, looked ~= nil and looked[i] or math.random(1, last))
        end
        local had = {}
        local some, channel_of = members(plan, list, counts)
        for _, one in ipairs(campaigns) do
            fiber.yield()
            add(one, some, had)
        end
        for _, id in ipairs(some) do
            local place = (had[id] or 0) >= budget and 1 or 2
            local sums = counts[channel_of[id]]
            sums[place] = sums[place] + 1
        end
        fiber.yield()
    end
    return counts
end

return budgets
