-- The facts about one campaign and one subscriber: where the subscriber stands in the base and stood before, what the
-- ledger has about its page, and which of the audience's conditions it keeps. What follows from them is decided by
-- broadside/newsroom/explain.

local answers = require('roles.store.answers')
local campaigns = require('roles.store.campaigns')
local columns = require('roles.audience.columns')
local corrections = require('roles.store.corrections')
local departures = require('roles.store.departures')
local predicate = require('roles.audience.predicate')
local settled_ids = require('roles.store.settled_ids')
local targets = require('roles.store.targets')
local explain = {}

local MAP = {__serialize = 'map'}

-- Subscribers that have one of these tokens, and who had it last: {subscriber, whether it has it now, when it left or got
-- another one} each, at most two a channel.
local function holders(tokens)
    local list, known = {}, {}
    local function add(id, current, at)
        if id ~= nil and not known[tostring(id)] then
            known[tostring(id)] = true
            table.insert(list, {id, current, at})
        end
    end
    for _, count in box.space.store_counts:pairs() do
        for _, token in ipairs(tokens) do
            local row = targets.get(count.channel, token)
            add(row and row.id, true, box.NULL)
            local id, at = departures.holder(count.channel, token)
            add(id, false, at)
        end
    end
    return list
end

-- The conditions of an audience, one by one, that a row does not keep: each by the page loop's own judgement.
local function failing(where, id)
    local found = {}
    for name, wanted in pairs(where) do
        if columns.fill_with({id}, 1, 1) == 1 then
            predicate.mark(predicate.compile({[name] = wanted}), 1)
            if columns.inside[0] ~= 1 then
                table.insert(found, name)
            end
        end
    end
    table.sort(found)
    return found
end

-- The segment whose ids have this one among them, or nil: {segment, seq, after_id, end_id, ended}. And the highest id
-- that the campaign walks.
local function cursor_of(campaign, id)
    local found, last
    for _, cursor in box.space.store_cursors:pairs({campaign}) do
        if found == nil and id <= cursor.end_id then
            found = cursor
        end
        last = math.max(last or 0, tonumber(cursor.end_id))
    end
    return found, last
end

-- The page of a segment in which an id lies: the pages follow one another by their numbers and by their ids.
local function page_of(cursor, id)
    local low, high = 0, tonumber(cursor.seq)
    while low <= high do
        local middle = math.floor((low + high) / 2)
        local page = box.space.store_pages:get({cursor.campaign, cursor.segment, middle})
        if page == nil or id <= page.from_id then
            high = middle - 1
        elseif id > page.to_id then
            low = middle + 1
        else
            return page
        end
    end
end

-- Whether a page goes to somebody at all: that of a second walk has the only ids that it goes to (corrections.lua).
local function is_meant(page, id)
    local only = page.only ~= nil and (settled_ids.unpack(page.only) or {}) or nil
    return only == nil or settled_ids.has(only, id)
end

-- The page of a second walk for somebody who was reported late; nil: there is none.
local function late_page(campaign, id)
    for _, page in box.space.store_pages:pairs({campaign, corrections.LATE}) do
        if page.campaign ~= campaign then
            return nil
        elseif is_meant(page, id) then
            return page
        end
    end
end

local function of_page(page, id)
    local ended = settled_ids.unpack(page.ended)
    local found, kept = answers.of(page.campaign, page.segment, page.seq, id)
    return {
        segment = page.segment, seq = page.seq, from_id = page.from_id, to_id = page.to_id, node = page.node,
        epoch = page.epoch, state = page.state, tallies = setmetatable(page.tallies, MAP),
        first_claimed_at = page.first_claimed_at, put_at = page.put_at,
        ended = ended ~= nil and settled_ids.has(ended, id), answers = found, kept = kept, meant = is_meant(page, id),
    }
end

local function restored(id)
    local list = {}
    for _, row in ipairs(box.space.store_restored:select({id})) do
        table.insert(list, {row.removed_at, row.restored_at})
    end
    return list
end

local function is_listed(campaign, id)
    local listed = campaigns.campaign_listed(campaign)
    if listed == nil then
        return nil
    end
    for _, each in ipairs(listed) do
        if each == id then
            return true
        end
    end
    return false
end

local function facts(c, id)
    local row = box.space.store_subscribers:get(id)
    local cursor, last = cursor_of(c.id, id)
    local page = cursor ~= nil and page_of(cursor, id) or nil
    if page ~= nil and c.policy.corrects ~= nil and not is_meant(page, id) then
        page = late_page(c.id, id) or page
    end
    local where = c.audience.where
    return setmetatable({
        subscriber = id,
        -- no token leaves the store but in short: enough to compare with one that somebody has
        row = row and {
            channel = row.channel, kind = row.kind, token = targets.short(row.token), registered_at = row.registered_at,
            tz = row.tz, best_minute = row.best_minute, changed_at = row.changed_at,
        } or nil,
        departures = departures.of(id), restored = restored(id),
        failing = row ~= nil and where ~= nil and failing(where, id) or nil,
        listed = is_listed(c.id, id),
        last_id = last, highest_id = tonumber(box.space.store_subscribers.index.id:max() ~= nil
            and box.space.store_subscribers.index.id:max().id or 0),
        walked = cursor ~= nil and (cursor.ended or id <= cursor.after_id) or false,
        page = page and of_page(page, id) or nil,
    }, MAP)
end

-- Facts about each subscriber that is meant: `id`, or who has one of these `tokens`, or had it last. Nil: there is no
-- such campaign.
function explain.explain_facts(campaign, id, tokens)
    local c = box.space.store_campaigns:get(campaign)
    if c == nil then
        return nil
    end
    local list = {}
    for _, holder in ipairs(id ~= nil and {{id, true, box.NULL}} or holders(tokens)) do
        local found = facts(c, holder[1])
        found.current, found.left_at = holder[2], holder[3]
        table.insert(list, found)
    end
    return list
end

return explain
