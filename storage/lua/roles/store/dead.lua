-- The dead ledger: which tokens the providers refuse, and what becomes of them (docs/adr/0012). There are three kinds
-- of refusal. Certain: deleted with the report. Likely and doubtful: kept by campaign and channel, until the share over
-- the whole ring is judged (dead_judge.lua) and, if it is too high, a person has answered. Deleted rows are kept for a
-- day (dead_undo.lua).

local atomic = require('roles.atomic')
local feed = require('roles.store.feed')
local memory = require('roles.memory')
local rows = require('roles.store.dead_rows')
local subscribers = require('roles.store.subscribers')
local targets = require('roles.store.targets')
local dead = {}

local MOST = 200000 -- kept of one campaign and channel; more are only counted
local EXAMPLES = 5
local TOLD = {'stopped', 'asked', 'confirmed', 'forgetting', 'denied'} -- sent to nodes with their heartbeat

local function is_death(channel, id, token)
    local row = subscribers.having(channel, id, token)
    return row ~= nil and targets.sibling(channel, row.kind, token) == nil
end

-- Inside the caller's transaction: note the refusals that a line reports. entries: {subscriber, token, bound, kind,
-- reason}. A refused token that is no subscriber's any more is no death: the phone has another one, or has left. Nor is one
-- whose phone is in the base under its other target as well.
function dead.note(campaign, channel, entries, now)
    if #entries == 0 then
        return
    end
    local row = rows.row_of(campaign, channel, now)
    local removed, kept, likely, doubtful, reasons, gone = 0, 0, 0, 0, {}, {}
    local room, keep = math.max(0, MOST - row.waiting), not memory.full()
    if not keep or row.state == 'forgetting' then
        room = 0
    end
    for _, entry in ipairs(entries) do
        local id, token, bound, kind, reason = unpack(entry, 1, 5)
        if kind == 'certain' then
            removed = removed + rows.remove(campaign, channel, id, token, bound, now, keep, gone, reason)
        elseif is_death(channel, id, token) then
            if kind == 'likely' then
                likely = likely + 1
            else
                doubtful = doubtful + 1
            end
            reason = reason or 'unknown'
            reasons[reason] = (reasons[reason] or 0) + 1
            if kept < room then
                if box.space.store_kept:get({campaign, channel, id}) == nil then
                    kept = kept + 1
                end
                box.space.store_kept:replace({campaign, channel, id, token, bound, kind, reason})
            end
        end
    end
    feed.add('dead', channel, campaign, gone, now)
    subscribers.left(channel, removed)
    row = rows.update(row, {
        {'+', 'removed', removed}, {'+', 'waiting', kept}, {'+', 'likely', likely}, {'+', 'doubtful', doubtful},
        {'=', 'reasons', rows.add_reasons(row.reasons, reasons)},
    })
    if likely + doubtful > 0 and (row.state == 'closed' or row.state == 'few') then
        rows.enter(row, 'collecting', now)
    end
end

-- Inside the caller's transaction: these subscribers of a channel have new tokens. So their refusals that wait for a
-- verdict were no deaths. A question that they have raised is judged again if the others would not have raised it.
function dead.succeeded(channel, ids)
    for _, row in box.space.store_deaths:pairs() do
        if row.channel == channel and row.waiting > 0 then
            local n, kinds, reasons = 0, {likely = 0, doubtful = 0}, {}
            for _, id in ipairs(ids) do
                local entry = box.space.store_kept:delete({row.campaign, channel, id})
                if entry ~= nil then
                    n, kinds[entry.kind] = n + 1, kinds[entry.kind] + 1
                    reasons[entry.reason] = (reasons[entry.reason] or 0) + 1
                end
            end
            if n > 0 then
                row = rows.update(row, {
                    {'=', 'waiting', math.max(0, tonumber(row.waiting) - n)},
                    {'=', 'likely', math.max(0, tonumber(row.likely) - kinds.likely)},
                    {'=', 'doubtful', math.max(0, tonumber(row.doubtful) - kinds.doubtful)},
                    {'=', 'reasons', rows.less_reasons(row.reasons, reasons)},
                })
                if row.state == 'asked' and not rows.too_many(row, row.limit) then
                    rows.update(row, {{'=', 'state', 'collecting'}})
                end
            end
        end
    end
end

-- A worker postpones the refused pushes of a campaign, because hardly any is delivered. postponed: how many phones;
-- reasons: their reasons; examples: some of their ids. Returns 'sound' (the ring's deliveries prove the key), 'few' or
-- 'confirmed' (settle them), 'stopped' (now a question to a person) or 'denied' (a person has said that the key is
-- wrong).
function dead.dead_doubt(campaign, channel, postponed, reasons, examples, limit, now)
    return atomic(function()
        local row = rows.row_of(campaign, channel, now)
        if row.state == 'confirmed' then
            return 'confirmed'
        end
        local bad = rows.refused(row) + postponed
        if rows.sound(rows.delivered(row), bad) then
            if row.state == 'stopped' then
                rows.enter(row, 'collecting', now)
            end
            return 'sound'
        elseif bad < rows.ENOUGH then
            return 'few'
        elseif row.state == 'denied' or row.state == 'forgetting' then
            return 'denied'
        elseif row.state ~= 'stopped' then
            row = rows.update(rows.enter(row, 'stopped', now), {{'=', 'postponed', 0}, {'=', 'limit', limit}})
        end
        if postponed > row.postponed then
            row = rows.update(row, {{'=', 'postponed', postponed}, {'=', 'examples', {unpack(examples, 1, EXAMPLES)}}})
            if rows.refused(row) == 0 then
                rows.update(row, {{'=', 'reasons', rows.add_reasons({}, reasons)}})
            end
        end
        return 'stopped'
    end)
end

local function standing(row)
    local top, most
    for reason, n in pairs(row.reasons) do
        if most == nil or n > most or (n == most and reason < top) then
            top, most = reason, n
        end
    end
    local state = row.state == 'forgetting' and 'denied' or row.state
    local bad = math.max(rows.refused(row), tonumber(row.postponed))
    return {row.campaign, row.channel, state, row.answered_at, bad, rows.delivered(row), row.limit, top or ''}
end

-- What nodes get with their heartbeat: {campaign, channel, state, answered_at, refused, delivered, limit, the most
-- frequent reason} of every open question, and of every answer about a campaign that has not ended.
function dead.standing()
    local list = {}
    for _, state in ipairs(TOLD) do
        for _, row in ipairs(box.space.store_deaths.index.state:select({state}, {limit = 100})) do
            table.insert(list, standing(row))
        end
    end
    return list
end

local function examples(row)
    local ids = {}
    for _, entry in ipairs(box.space.store_kept:select({row.campaign, row.channel}, {limit = EXAMPLES})) do
        table.insert(ids, entry.subscriber)
    end
    return #ids > 0 and ids or row.examples
end

-- Up to `limit` rows, the newest first, behind the one of `campaign` and `channel` (nil: all): {campaign, channel,
-- state, since, likely, doubtful, postponed, waiting, removed, delivered, limit, reasons, examples} each. No token
-- leaves the store.
function dead.dead_list(limit, campaign, channel)
    local list = {}
    local from = campaign ~= nil and {campaign, channel} or nil
    for _, row in box.space.store_deaths:pairs(from, {iterator = from and 'LT' or 'REQ'}) do
        if #list >= limit then
            break
        end
        if row.state ~= 'closed' or row.removed > 0 then
            table.insert(list, {
                row.campaign, row.channel, row.state, row.since, row.likely, row.doubtful, row.postponed, row.waiting,
                row.removed, rows.delivered(row), row.limit, setmetatable(row.reasons, rows.MAP), examples(row),
            })
        end
    end
    return list
end

-- A person's answer. campaign: nil for all of the channel. answer: 'confirmed' (kept targets are deleted, and postponed
-- pushes may be settled) or 'denied' (the key was wrong: kept targets are forgotten, postponed pushes are tried again).
-- Returns the campaigns that had asked, and how many of their targets were kept.
function dead.dead_answer(channel, campaign, answer, now)
    return atomic(function()
        local found, kept = {}, 0
        for _, state in ipairs({'stopped', 'asked', 'few'}) do
            for _, row in ipairs(box.space.store_deaths.index.state:select({state})) do
                if row.channel == channel and (campaign == nil or row.campaign == campaign) then
                    table.insert(found, row.campaign)
                    kept = kept + tonumber(row.waiting)
                    row = rows.update(row, {{'=', 'answered_at', now}, {'=', 'postponed', 0}})
                    if answer == 'denied' then
                        local none = setmetatable({}, rows.MAP)
                        rows.update(row, {{'=', 'likely', 0}, {'=', 'doubtful', 0}, {'=', 'reasons', none}})
                        rows.enter(row, row.waiting > 0 and 'forgetting' or 'denied', now)
                    else
                        rows.enter(row, 'confirmed', now)
                    end
                end
            end
        end
        return found, kept
    end)
end

return dead
