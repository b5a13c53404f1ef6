-- The undo: restores targets that were deleted as dead within the last day.

local atomic = require('roles.atomic')
local feed = require('roles.store.feed')
local memory = require('roles.memory')
local rows = require('roles.store.dead_rows')
local subscribers = require('roles.store.subscribers')
local targets = require('roles.store.targets')
local dead_undo = {}

-- The first campaign and channel with targets that can be restored.
local function restorable(channel, campaign)
    local key = campaign ~= nil and {campaign} or nil
    for _, row in box.space.store_deaths:pairs(key) do
        if row.removed > 0 and (channel == nil or row.channel == channel) then
            return row
        end
    end
end

local function give_back(gone, now)
    local row = gone.row
    local channel, token = row[2], row[3]
    if targets.get(channel, token) ~= nil or targets.sibling(channel, row[4], token) ~= nil
        or box.space.store_subscribers:get(gone.subscriber) ~= nil then
        return false -- the phone has registered again: that row is the newer one
    end
    row[13] = setmetatable(row[13] or {}, rows.MAP)
    box.space.store_subscribers:insert(row)
    box.space.store_restored:replace({gone.subscriber, gone.removed_at, now, channel})
    return true
end

-- One step of the undo: restore targets that a channel, a campaign, or a campaign on a channel has lost within a day,
-- each under its old id. Returns how many came back, how many had registered again, and whether there is more.
function dead_undo.dead_restore(channel, campaign, now)
    memory.refuse_when_full()
    return atomic(function()
        local owner = restorable(channel, campaign)
        if owner == nil then
            return 0, 0, false
        end
        local back, returned = 0, {}
        local key = {owner.campaign, owner.channel}
        local removed = box.space.store_removed.index.campaign:select(key, {limit = rows.STEP})
        for _, gone in ipairs(removed) do
            if give_back(gone, now) then
                back = back + 1
                table.insert(returned, {gone.subscriber, gone.row[3], ''})
            end
            box.space.store_removed:delete(gone.subscriber)
        end
        feed.add('restored', owner.channel, owner.campaign, returned, now)
        subscribers.returned(owner.channel, back)
        local left = #removed < rows.STEP and 0 or math.max(0, tonumber(owner.removed) - #removed)
        rows.update(owner, {{'=', 'removed', left}})
        return back, #removed - back, true
    end)
end

-- The ids in (after, to] that were missing from the base at some time between `from` and `till` (ms), and have been
-- restored since: counts by channel, looking at no more than `limit` rows, and the id up to which they go.
function dead_undo.restored_in(after, to, from, till, limit)
    local counts, looked, last = setmetatable({}, rows.MAP), 0, to
    for _, back in box.space.store_restored:pairs({after + 1}, {iterator = 'GE'}) do
        if back.subscriber > to then
            break
        end
        looked = looked + 1
        if back.removed_at <= till and back.restored_at >= from then
            counts[back.channel] = (counts[back.channel] or 0) + 1
        end
        if looked >= limit then
            last = back.subscriber
            break
        end
    end
    return counts, last
end

return dead_undo
