-- Webhooks: every change of a campaign's state, in the order of the changes, and how far each receiver has heard them. A
-- change is written in the transaction that makes it, by a trigger, so that no change is missed, whoever makes it.

local fiber = require('fiber')
local atomic = require('roles.atomic')
local webhooks = {}

local KEEP = 30 * 86400 * 1000 -- ms
local MOST = 20000 -- changes
local A_STEP = 10
local LONGEST = 300 -- bytes of an error
local TRIGGER = 'broadside_changes'

local function note(old, new)
    if new == nil or old ~= nil and old.state == new.state or box.session.type() == 'applier' then
        return
    elseif new['policy.drill'] ~= nil then
        return -- it goes to simulators, and concerns nobody else
    end
    local space = box.space.store_changes
    local last = space.index.number:max()
    local at = math.floor(fiber.time() * 1000)
    local number = last == nil and 1 or last.number + 1
    local past = {}
    for _, row in space:pairs() do
        if #past >= A_STEP or row.at + KEEP > at and number - row.number < MOST then
            break
        end
        table.insert(past, row.number)
    end
    for _, gone in ipairs(past) do
        space:delete({gone})
    end
    space:insert({number, at, new.id, new.state})
end

local watching = false

-- Once the spaces are there. A replica watches too, for it may become the master; what it gets from the master it only
-- copies.
function webhooks.watch()
    if not watching and box.space.store_changes ~= nil then
        watching = true
        box.space.store_campaigns:on_replace(note, rawget(_G, TRIGGER)) -- in place of the one from before a reload
        rawset(_G, TRIGGER, note)
    end
end

local function newest()
    local last = box.space.store_changes.index.number:max()
    return last and last.number or 0
end

local function row_of(name)
    return box.space.store_webhooks:get({name})
        or box.space.store_webhooks:insert({name, newest(), 0, 0, 0, '', 0}) -- a new one hears what happens from now on
end

-- Up to `limit` changes, {number, at, campaign, state} each, that the receiver `name` has not heard. The cursor that
-- they are behind, how many older ones left before it heard them, since when it fails (ms; 0: it does not).
function webhooks.webhook_due(name, limit)
    return atomic(function()
        local row = row_of(name)
        local rows = box.space.store_changes:select({row.cursor}, {iterator = 'GT', limit = limit})
        local first = rows[1]
        local missed = first ~= nil and first.number - row.cursor - 1 or 0
        return rows, row.cursor, missed, row.failing_since
    end)
end

-- The receiver has heard all changes up to `number`. A call that comes late changes nothing.
function webhooks.webhook_heard(name, number, missed, now)
    return atomic(function()
        local row = row_of(name)
        if row.cursor < number then
            box.space.store_webhooks:update({name}, {
                {'=', 'cursor', number}, {'=', 'heard_at', now}, {'=', 'failing_since', 0}, {'=', 'tries', 0},
                {'=', 'error', ''}, {'+', 'missed', missed},
            })
        end
    end)
end

-- A call has failed. Returns since when, ms.
function webhooks.webhook_failed(name, err, now)
    return atomic(function()
        local row = row_of(name)
        local since = row.failing_since > 0 and row.failing_since or now
        box.space.store_webhooks:update({name}, {
            {'=', 'failing_since', since}, {'+', 'tries', 1}, {'=', 'error', err:sub(1, LONGEST)},
        })
        return since
    end)
end

-- {name, cursor, heard_at, failing_since, tries, error, missed, changes that wait} each.
function webhooks.webhook_list()
    local list = {}
    for _, row in box.space.store_webhooks:pairs() do
        local whole = row:totable()
        table.insert(whole, math.max(0, newest() - tonumber(row.cursor)))
        table.insert(list, whole)
    end
    return list
end

return webhooks
