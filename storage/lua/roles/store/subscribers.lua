-- The base: who gets pushes. Upserts by (channel, token), keeps ids for ever, counts per channel.

local atomic = require('roles.atomic')
local subscribers = {}

local function count(channel, by)
    local row = box.space.store_counts:get(channel)
    box.space.store_counts:replace({channel, (row and row.subscribers or 0) + by})
end

-- rows: {channel, token, kind, registered_at, locale, tz, country, app_version, screen, best_minute, tags, fields}.
-- Answers how many were new and how many replaced. A re-registration keeps its id.
local function put(rows)
    local space = box.space.store_subscribers
    local target = space.index.target
    local inserted, new = 0, {}
    for _, row in ipairs(rows) do
        local known = target:get({row[1], row[2]})
        local id = box.NULL
        if known ~= nil then
            id = known.id
        else
            inserted = inserted + 1
            new[row[1]] = (new[row[1]] or 0) + 1
        end
        space:replace({id, row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10],
                       row[11], row[12]})
    end
    for channel, n in pairs(new) do
        count(channel, n)
    end
    return inserted, #rows - inserted
end

function subscribers.subscribers_put(rows)
    return atomic(put, rows)
end

-- Delete a target if it was registered at or before `bound` (ms): a later registration wins.
function subscribers.drop(channel, id, token, bound)
    local space = box.space.store_subscribers
    local row = space:get(id)
    if row == nil or row.token ~= token or row.channel ~= channel or row.registered_at > bound then
        return false
    end
    space:delete(id)
    count(channel, -1)
    return true
end

function subscribers.subscribers_remove(channel, token)
    return atomic(function()
        local row = box.space.store_subscribers.index.target:get({channel, token})
        if row == nil then
            return false
        end
        return subscribers.drop(channel, row.id, token, row.registered_at)
    end)
end

function subscribers.subscribers_count()
    local counts = setmetatable({}, {__serialize = 'map'})
    for _, row in box.space.store_counts:pairs() do
        counts[row.channel] = row.subscribers
    end
    return counts
end

-- Up to `limit` whole rows with id > after, in the order of their ids.
function subscribers.subscribers_page(after, limit)
    return box.space.store_subscribers:select({after}, {iterator = 'GT', limit = limit})
end

return subscribers
