-- The cancelled campaigns of which a queue that was away may still have batches. Every heartbeat asks for them, and a store
-- keeps thousands of cancelled campaigns, so the few that matter are remembered.

local fiber = require('fiber')
local campaigns = require('roles.store.campaigns')
local replication = require('replication')

local cancelled_campaigns = {}

local ROWS_A_STEP = 200
local LATE = 86400 * 1000 -- ms for which one is remembered beyond its end: the nodes' clocks may differ from this one

-- Campaign as text -> {id, ends_at}: `ends_at` of a cancelled campaign never changes. Not stored: an instance that becomes
-- master in another term has not seen what its predecessor cancelled, and looks at all of them once.
local remembered, looked_in = {}, nil

local function term()
    local master = replication.master()
    return master ~= nil and master[2] or 0
end

-- In the transaction that cancels it. If that is undone, the campaign's state says so.
function cancelled_campaigns.note(c)
    local ends_at = campaigns.ends_at(c)
    if ends_at + LATE > fiber.time() * 1000 then
        remembered[tostring(c.id)] = {c.id, ends_at}
    end
end

-- In small steps.
local function look()
    local now = term()
    local key = {'cancelled', 0}
    repeat
        local rows = box.space.store_campaigns.index.state:select(key, {iterator = 'GT', limit = ROWS_A_STEP})
        for _, c in ipairs(rows) do
            if c.state ~= 'cancelled' then
                break
            end
            cancelled_campaigns.note(c)
            key[2] = c.id
        end
        fiber.yield()
    until #rows < ROWS_A_STEP or rows[#rows].state ~= 'cancelled'
    looked_in = now
end

-- Those that end after `now`: ms UTC by the clock of the node that asks, whose workers drop what has expired by it.
function cancelled_campaigns.standing(now)
    if looked_in ~= term() then
        look()
    end
    local list, wall = {}, fiber.time() * 1000
    for key, each in pairs(remembered) do
        local c = box.space.store_campaigns:get(each[1])
        if each[2] + LATE <= wall or c == nil or c.state ~= 'cancelled' then
            remembered[key] = nil
        elseif each[2] > now then
            table.insert(list, c)
        end
    end
    return list
end

return cancelled_campaigns
