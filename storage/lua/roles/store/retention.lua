-- Retention: the pages and cursors of a campaign that ended long ago leave the store, once a node has written them to an
-- archive. The campaign itself and its totals stay. Ids grow with time, so the oldest ledger is the first.

local atomic = require('roles.atomic')
local clock = require('roles.clock')
local retention = {}

local ROWS_A_STEP = 100
local CLAIM = 120 -- seconds for which one node writes an archive alone: afterwards another takes over

-- {campaign, node, since when} of the archive that is being written. Not stored: after a restart two nodes may write
-- the same one, and the first to report counts.
local claim

local function over(c, age, now)
    return (c.state == 'done' or c.state == 'cancelled') and c.finished_at + age < now
end

-- The oldest campaign that ended more than `age` ms ago and still has a ledger, or nil.
local function oldest(age, now)
    local cursor = box.space.store_cursors.index.id:min()
    while cursor ~= nil do
        local c = box.space.store_campaigns:get(cursor.campaign)
        if c ~= nil and over(c, age, now) then
            return c
        elseif c ~= nil and c.created_at + age >= now then
            return nil
        end
        cursor = box.space.store_cursors:select({cursor.campaign}, {iterator = 'GT', limit = 1})[1]
    end
end

-- What a node has to do: nil (nothing, or another node is at it), or the oldest such campaign's id, and whether its
-- archive is written already, so that its ledger only has to leave.
function retention.retention_due(node, age, now)
    local c = oldest(age, now)
    if c == nil then
        return nil
    elseif c.policy.archive ~= nil then
        return c.id, true
    elseif claim ~= nil and claim[1] == c.id and claim[2] ~= node and clock.now() < claim[3] + CLAIM then
        return nil
    end
    claim = {c.id, node, clock.now()}
    return c.id, false
end

-- A node has written a campaign's archive, and its file is on disk. Returns whether it is the first.
function retention.retention_archived(id, node, sha256, now)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        local policy = c.policy
        local first = policy.archive == nil
        if first then
            policy.archive = {node = node, sha256 = sha256, at = now}
        end
        -- written, though a repeat changes nothing: so the answer waits until it is on disk and with the quorum
        box.space.store_campaigns:update(id, {{'=', 'policy', setmetatable(policy, {__serialize = 'map'})}})
        return first
    end)
end

-- One step: delete some rows of a ledger that is archived, the cursors last. Returns whether there may be more.
function retention.retention_drop(id)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil or c.policy.archive == nil then
            return false
        end
        local pages = box.space.store_pages:select({id}, {limit = ROWS_A_STEP})
        for _, page in ipairs(pages) do
            box.space.store_pages:delete({id, page.segment, page.seq})
        end
        if #pages > 0 then
            return true
        end
        local cursors = box.space.store_cursors:select({id}, {limit = ROWS_A_STEP})
        for _, cursor in ipairs(cursors) do
            box.space.store_cursors:delete({id, cursor.segment})
        end
        box.space.store_windows:delete(id)
        return #cursors == ROWS_A_STEP
    end)
end

return retention
