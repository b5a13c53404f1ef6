-- Retention: the pages and cursors of a campaign that ended long ago leave the store, once a node has written them to an
-- archive. The campaign itself and its totals stay. Ids grow with time, so the oldest ledger is the first.

local answers = require('roles.store.answers')
local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local clock = require('roles.clock')
local reach = require('roles.store.reach')
local retention = {}

local ROWS_A_STEP = 100
local PAGES_AT_ONCE = 500 -- of the ledgers that a node gets at once, for it has them in memory: three or more small ones
local CLAIM = 120 -- seconds for which one node writes an archive alone: afterwards another takes over

-- campaign as text -> {node, since when} of the archives that are being written. Not stored: after a restart two nodes
-- may write the same one, and the first to report counts.
local claims = {}

local function over(c, age, now)
    return campaigns.over(c) and c.finished_at + age < now
end

-- Whether the node is the one that writes the campaign's archive now.
local function claim(id, node)
    local known = claims[tostring(id)]
    if known ~= nil and known[1] ~= node and clock.now() < known[2] + CLAIM then
        return false
    end
    claims[tostring(id)] = {node, clock.now()}
    return true
end

local function pages_of(id)
    local pages = 0
    for _, cursor in box.space.store_cursors:pairs({id}) do
        pages = pages + tonumber(cursor.seq) + 1
    end
    return pages
end

-- What a node has to do: the oldest campaigns that ended more than `age` ms ago and still have a ledger, of which no
-- other node is writing the archive. {id, whether its archive is written already, so that its ledger only has to leave}
-- each; at least one, if there is any.
function retention.retention_due(node, age, now)
    local list, pages = {}, 0
    local cursor = box.space.store_cursors.index.id:min()
    while cursor ~= nil and pages < PAGES_AT_ONCE do
        local c = box.space.store_campaigns:get(cursor.campaign)
        if c ~= nil and over(c, age, now) then
            local archived = c.policy.archive ~= nil
            if archived or claim(c.id, node) then
                table.insert(list, {c.id, archived})
                pages = pages + pages_of(c.id)
            end
        elseif c ~= nil and c.created_at + age >= now then
            break
        end
        cursor = box.space.store_cursors:select({cursor.campaign}, {iterator = 'GT', limit = 1})[1]
    end
    return list
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
        claims[tostring(id)] = nil
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
        local room = ROWS_A_STEP - #pages
        room = room - answers.drop(id, room)
        room = room - reach.drop(id, room)
        local cursors = box.space.store_cursors:select({id}, {limit = room})
        for _, cursor in ipairs(cursors) do
            box.space.store_cursors:delete({id, cursor.segment})
        end
        if #cursors < room then
            box.space.store_windows:delete(id)
            box.space.store_listed:delete(id)
        end
        return #cursors == room
    end)
end

return retention
