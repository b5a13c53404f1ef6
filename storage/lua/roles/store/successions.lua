-- A phone gets a new token, and its app names the old one: the subscriber keeps id and attributes, under the new token
-- (docs/adr/0024). A push that was refused under the old token is no death.

local atomic = require('roles.atomic')
local dead = require('roles.store.dead')
local departures = require('roles.store.departures')
local feed = require('roles.store.feed')
local fiber = require('fiber')
local memory = require('roles.memory')
local msgpack = require('msgpack')
local subscribers = require('roles.store.subscribers')
local targets = require('roles.store.targets')
local successions = {}

local UNDER_WAY = {'firing', 'pausing', 'paused'}

-- Attributes that `row` does not give are those of `known`.
local function inherit(row, known)
    for field = 6, 10 do -- locale to screen
        row[field] = row[field] ~= '' and row[field] or known[field]
    end
    if row[11] == nil then
        row[11] = known.best_minute or box.NULL
    end
    if next(row[12]) == nil then
        row[12] = known.tags
    end
    if next(row[13]) == nil then
        row[13] = setmetatable(known.fields, {__serialize = 'map'})
    end
end

-- The highest id that every campaign under way walks; nil: none is under way.
local function walked_by_all()
    local least
    for _, state in ipairs(UNDER_WAY) do
        for _, c in ipairs(box.space.store_campaigns.index.state:select({state})) do
            local last = box.space.store_cursors:select({c.id}, {iterator = 'REQ', limit = 1})[1]
            if last ~= nil then
                least = math.min(least or math.huge, tonumber(last.end_id))
            end
        end
    end
    return least
end

-- Two subscribers are one phone: `old` has the token that is replaced, `new` the one that replaces it. Returns who
-- stays and who goes. The old id stays; but while campaigns are under way that walk both of them, the new one: there it
-- may have been reached already, under the token that it keeps. A campaign that began before `new` came walks `old`
-- alone.
local function of_two(old, new)
    local end_id = walked_by_all()
    if end_id ~= nil and new.id <= end_id then
        return new, old
    end
    return old, new
end

-- `succeed(row, replaced)` for one call: gives the row what it inherits, and returns the subscriber whose row it is, or
-- nil if it is a new one. And the counts of what it found, who had the replaced tokens (channel -> ids), and how many
-- have left (channel -> number): they are counted behind those who came, for some came in the same call.
local function begin()
    local space = box.space.store_subscribers
    local counts = {moved = 0, merged = 0, unknown = 0}
    local succeeded, left, moves = {}, {}, {}

    local function succeed(row, replaced)
        local channel, token = row[2], row[3]
        local old, new = targets.get(channel, replaced), targets.get(channel, token)
        for _, known in ipairs({new or old, old}) do
            inherit(row, known)
        end
        if old == nil then
            counts.unknown = counts.unknown + 1
            return new
        elseif new ~= nil and new.id == old.id then
            return old -- it replaces itself
        end
        succeeded[channel] = succeeded[channel] or {}
        table.insert(succeeded[channel], old.id)
        moves[channel] = moves[channel] or {}
        if new == nil then
            counts.moved = counts.moved + 1
            departures.note(old, 'replaced', 0, subscribers.now())
            table.insert(moves[channel], {old.id, replaced, token})
            return old
        end
        counts.merged = counts.merged + 1
        local stays, goes = of_two(old, new)
        departures.note(goes, 'merged', stays.id, subscribers.now())
        if stays == old then
            departures.note(old, 'replaced', 0, subscribers.now())
        end
        space:delete(goes.id)
        table.insert(moves[channel], {stays.id, replaced, token})
        left[channel] = (left[channel] or 0) + 1
        return stays
    end
    return succeed, counts, succeeded, left, moves
end

local function put(rows)
    local succeed, counts, succeeded, left, moves = begin()
    local inserted, known = subscribers.put(rows, succeed)
    for channel, n in pairs(left) do
        subscribers.left(channel, n)
    end
    for channel, entries in pairs(moves) do
        feed.add('replaced', channel, 0, entries, math.floor(fiber.time() * 1000))
    end
    for channel, ids in pairs(succeeded) do
        dead.succeeded(channel, ids)
    end
    return inserted, known, counts.moved, counts.merged, counts.unknown
end

-- Upsert by (channel, token), in the order given. `packed`: MessagePack of an array of whole tuples with any id, and in
-- place of `changed_at` the token that is replaced, if any: such a row keeps what it does not give. Returns how many
-- subscribers were new and known; of the known how many have a new token, and how many were two before; and how many
-- replaced tokens were in no row.
-- A node of an older version sends the rows themselves, without the id.
function successions.subscribers_put(packed)
    memory.refuse_when_full()
    local rows = packed
    if type(packed) == 'string' then
        rows = msgpack.decode(packed)
    else
        for _, row in ipairs(rows) do
            table.insert(row, 1, 0)
        end
    end
    return atomic(put, rows)
end

-- pairs: {channel, token} each. The first pair (from 0) whose token is unknown on its channel and known on another, and
-- that channel; or nil.
function successions.subscribers_elsewhere(pairs)
    for n, pair in ipairs(pairs) do
        local channel, token = pair[1], pair[2]
        if targets.get(channel, token) == nil then
            for _, other in box.space.store_counts:pairs() do
                if targets.get(other.channel, token) ~= nil then
                    return n - 1, other.channel
                end
            end
        end
    end
    return nil
end

-- refused: {subscriber, token} each. Those who have another token by now: {subscriber, token, kind, registered_at,
-- locale} each, as a batch has them.
function successions.subscribers_successors(channel, refused)
    local found = {}
    for _, entry in ipairs(refused) do
        local row = box.space.store_subscribers:get(entry[1])
        if row ~= nil and row.channel == channel and row.token ~= entry[2] then
            table.insert(found, {row.id, row.token, row.kind, row.registered_at, row.locale})
        end
    end
    return found
end

return successions
