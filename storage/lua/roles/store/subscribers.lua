-- The base: who gets pushes. Upserts by (channel, token), keeps ids for ever, counts per channel.

local atomic = require('roles.atomic')
local departures = require('roles.store.departures')
local fiber = require('fiber')
local targets = require('roles.store.targets')
local subscribers = {}

-- removed: by how many the count of removals changes; negative for restored ones.
local function count(channel, by, removed)
    local row = box.space.store_counts:get(channel)
    box.space.store_counts:replace({
        channel, (row and row.subscribers or 0) + by, math.max(0, tonumber(row and row.removed or 0) + removed),
    })
end

-- Milliseconds UTC by this instance's clock.
function subscribers.now()
    return math.floor(tonumber(fiber.time64()) / 1000)
end

local ATTRIBUTES = {6, 7, 8, 9, 10} -- locale, tz, country, app_version, screen
local KIND, REGISTERED_AT, TAGS, FIELDS, CHANGED_AT = 4, 5, 12, 13, 14

-- Whether a registration brings other attributes than the row has: an audience may take the phone then, or leave it.
local function changes(row, known)
    for _, field in ipairs(ATTRIBUTES) do
        if row[field] ~= known[field] then
            return true
        end
    end
    local tags, before = row[TAGS], known[TAGS]
    if #tags ~= #before then
        return true
    end
    for i, tag in ipairs(tags) do
        if tag ~= before[i] then
            return true
        end
    end
    return false
end

-- Whether a registration is the newer one of a phone that has a row under its other kind of target: the later one, and
-- of two at once the installation id, for which Google gives tokens up.
local function newer(row, sibling)
    if row[REGISTERED_AT] ~= sibling.registered_at then
        return row[REGISTERED_AT] > sibling.registered_at
    end
    return row[KIND] == 'fid'
end

-- What to write for `row`: a row, the token that it replaces, and the row that stands as long as nothing is replaced. If
-- the phone has registered under its other target later, that row stays as it is.
local function placed(row, replaced)
    if replaced ~= nil then
        return row, replaced
    end
    local channel, token = row[2], row[3]
    local known, sibling = targets.get(channel, token), targets.sibling(channel, row[KIND], token)
    if sibling == nil then
        return row, nil, known
    elseif newer(row, sibling) then
        return row, sibling.token, known
    end
    local stays = sibling:totable()
    stays[FIELDS] = setmetatable(stays[FIELDS], {__serialize = 'map'})
    return stays, known ~= nil and token or nil, sibling
end

-- Inside the caller's transaction. rows: whole tuples. Any id is replaced by the subscriber's own, and in place of
-- `changed_at` stands the token that this one replaces, or nothing: so no row is copied or shifted. `succeed(row, token)`
-- finds whose row it is if it replaces `token` (successions.lua). Returns how many were new and how many known. A
-- re-registration keeps its id.
function subscribers.put(rows, succeed)
    local now = subscribers.now()
    local space = box.space.store_subscribers
    local inserted, new = 0, {}
    for _, given in ipairs(rows) do
        local row, replaced, known = placed(given, given[CHANGED_AT])
        if replaced ~= nil then
            known = succeed(row, replaced)
        end
        if known ~= nil then
            row[1] = known[1]
            row[CHANGED_AT] = changes(row, known) and now or known[CHANGED_AT]
            space:replace(row)
        else
            row[1] = box.NULL -- so Tarantool takes the next id, and writes no second row to its log for it
            row[CHANGED_AT] = now
            space:insert(row)
            inserted = inserted + 1
            new[row[2]] = (new[row[2]] or 0) + 1
        end
    end
    for channel, n in pairs(new) do
        count(channel, n, 0)
    end
    return inserted, #rows - inserted
end

-- Inside the caller's transaction: delete a target if it was registered at or before `bound` (ms): a later registration
-- wins. Returns its row, or nil. The caller counts the deleted ones, once for all: `subscribers.left`.
function subscribers.take_out(channel, id, token, bound)
    local space = box.space.store_subscribers
    local row = space:get(id)
    if row == nil or row.token ~= token or row.channel ~= channel or row.registered_at > bound then
        return nil
    end
    return space:delete(id)
end

-- The row of this subscriber if it still has this token: else the phone has another one by now, or has left.
function subscribers.having(channel, id, token)
    local row = box.space.store_subscribers:get(id)
    return row ~= nil and row.token == token and row.channel == channel and row or nil
end

function subscribers.left(channel, n)
    if n > 0 then
        count(channel, -n, n)
    end
end

function subscribers.returned(channel, n)
    if n > 0 then
        count(channel, n, -n)
    end
end

-- Take a subscriber out of the base. Whether there was one.
function subscribers.subscribers_remove(channel, token)
    return atomic(function()
        local row = targets.get(channel, token)
        if row == nil then
            return false
        end
        departures.note(subscribers.take_out(channel, row.id, row.token, row.registered_at), 'removed', 0, subscribers.now())
        subscribers.left(channel, 1)
        return true
    end)
end

-- Channel -> its subscribers.
function subscribers.subscribers_count()
    local counts = setmetatable({}, {__serialize = 'map'})
    for _, row in box.space.store_counts:pairs() do
        counts[row.channel] = row.subscribers
    end
    return counts
end

local LARGEST_PAGE = 4 * 1024 * 1024 -- bytes

-- Up to `limit` whole rows with id > after, in the order of their ids: at least one if there is any, and else no more
-- than LARGEST_PAGE bytes. So only an empty page is the last one.
function subscribers.subscribers_page(after, limit)
    local rows, size = box.space.store_subscribers:select({after}, {iterator = 'GT', limit = limit}), 0
    for i, row in ipairs(rows) do
        size = size + row:bsize()
        if i > 1 and size > LARGEST_PAGE then
            for last = #rows, i, -1 do
                rows[last] = nil
            end
            break
        end
    end
    return rows
end

-- Up to `limit` whole rows of one channel, in the order of their tokens: a random order, and so a fair sample.
function subscribers.subscribers_some(channel, limit)
    return box.space.store_subscribers.index.target:select({channel}, {limit = limit})
end

return subscribers
