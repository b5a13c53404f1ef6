-- Campaigns: a message and an audience, from draft to done, with the sums of the ledger.

local atomic = require('roles.atomic')
local keys = require('roles.store.keys')
local repeats = require('roles.store.repeats')
local served = require('roles.store.served')
local sums = require('roles.store.sums')
local windows = require('roles.store.windows')
local campaigns = {}

local DEFAULT_PAGE = 1000
local DRILL = 'drill-' -- how the names of a drill's channels begin
local LONGEST_TTL = 30 * 86400 * 1000 -- ms

campaigns.terminal, campaigns.tally = sums.terminal, sums.tally

-- Whether nothing more happens to this campaign.
function campaigns.over(c)
    return c.state == 'done' or c.state == 'cancelled' or c.state == 'missed'
end

-- Only the store sets `done`: when all segments have ended and all pages are enqueued and settled.
function campaigns.check_done(id, now)
    local c = box.space.store_campaigns:get(id)
    if c ~= nil and c.state == 'firing' and c.segments_open == 0 and c.pages_open == 0 then
        local first = c.policy.corrects and box.space.store_campaigns:get(c.policy.corrects)
        if first and not campaigns.over(first) then
            return -- queues that are away may report late: see corrections.lua
        end
        box.space.store_campaigns:update(id, {{'=', 'state', 'done'}, {'=', 'finished_at', now}, {'+', 'version', 1}})
        campaigns.ended(id, now)
    end
end

-- A campaign is over: so may be the walk that corrects it.
function campaigns.ended(id, now)
    local correction = box.space.store_corrections:get(id)
    if correction ~= nil then
        campaigns.check_done(correction.second, now)
    end
end

-- Idempotent: the same id again changes nothing. `once`: nil, or {owner, key, request}; a key that has a campaign
-- already creates none. Returns whether a campaign was created, and {campaign, request} of a known key.
-- `listed`: nil, or the sorted ids of the only subscribers that it may go to.
function campaigns.campaign_create(id, message, audience, policy, now, once, listed)
    return atomic(function()
        local first = once ~= nil and keys.take(once, id, now) or nil
        if first ~= nil or box.space.store_campaigns:get(id) ~= nil then
            return false, first
        end
        box.space.store_campaigns:insert({id, 1, 'draft', message, audience, policy, now, 0, 0, 0, 0})
        if listed ~= nil then
            box.space.store_listed:insert({id, listed})
        end
        return true
    end)
end

-- If the base has lost many rows, equal ranges of ids would be unequal work. A sample then finds where the rows are,
-- for a few hundred random reads.
local DENSE = 0.9
local SAMPLES_A_SEGMENT = 128

-- The ids at which segments end, `end_id` the last of them.
local function bounds(segments, end_id, listed)
    if listed ~= nil then
        return {end_id} -- a page or a few
    end
    local space, rows = box.space.store_subscribers, 0
    for _, row in box.space.store_counts:pairs() do
        rows = rows + row.subscribers
    end
    local ends = {}
    if rows >= end_id * DENSE then
        for s = 1, segments - 1 do
            ends[s] = math.floor(end_id / segments * s)
        end
    else
        local ids = {}
        for i = 1, segments * SAMPLES_A_SEGMENT do
            ids[i] = tonumber(space.index.id:random(math.random(0, 2 ^ 31 - 1)).id)
        end
        table.sort(ids)
        for s = 1, segments - 1 do
            ends[s] = ids[s * SAMPLES_A_SEGMENT]
        end
    end
    ends[segments] = end_id
    return ends
end

-- channel -> how many of these ids are in the base.
local function counted(listed)
    local counts, space = {}, box.space.store_subscribers
    for _, id in ipairs(listed) do
        local row = space:get(id)
        if row ~= nil then
            counts[row.channel] = (counts[row.channel] or 0) + 1
        end
    end
    return counts
end

-- When nobody wants a campaign any more that has not started, ms UTC. `expires_at`: an instant that the editor has said.
function campaigns.expiry(policy)
    return policy.expires_at or policy.start and policy.start + policy.ttl_ms
end

-- Fire a campaign now, inside the caller's transaction, with one cursor a segment. The audience is fixed and counted
-- here: the channels that a node serves, and the ids up to end_id; higher ids belong to newcomers. Returns the batons
-- {campaign, segment, seq, after_id} to put; or nil, with nothing written, and the reason why no node can walk it.
-- `given`: its window classes, see windows.lua, and the last moment at which anything of it may be begun; nil: no quiet
-- hours hold for it.
function campaigns.begin(c, audience, policy, segments, now, given)
    local channels, unserved, together = served.audience(audience.channels)
    local refusal = served.refusal(audience.channels, channels, unserved, together)
    if refusal ~= nil then
        return nil, refusal
    end
    audience.channels, audience.unserved = channels, next(unserved) ~= nil and unserved or nil
    local last = box.space.store_subscribers.index.id:max()
    local end_id = last and tonumber(last.id) or 0
    segments = math.max(1, math.min(segments, end_id))
    local id, batons, open, from = c.id, {}, 0, 0
    local listed = campaigns.campaign_listed(id)
    for s, to in ipairs(end_id > 0 and bounds(segments, end_id, listed) or {}) do
        if to > from then
            box.space.store_cursors:insert({id, s - 1, 0, from, to, false, now})
            table.insert(batons, {id, s - 1, 0, from})
            open, from = open + 1, to
        end
    end
    local counts = listed and counted(listed)
    for _, name in ipairs(channels) do
        -- a drill's channels stand for those of the base (campaigns/drill.py)
        local row = box.space.store_counts:get(policy.drill ~= nil and name:sub(#DRILL + 1) or name)
        if row ~= nil and audience.where == nil then
            campaigns.tally(id, name, {audience = row.subscribers, removed_before = row.removed})
        elseif row ~= nil then -- who of them is in the audience, the walk finds out
            local rows = counts and (counts[name] or 0) or row.subscribers
            campaigns.tally(id, name, {rows = rows, removed_before = row.removed})
        end
    end
    if policy.canary ~= nil then
        box.space.store_canaries:replace({id, 0})
    end
    if given ~= nil then
        windows.keep(id, given, now)
        policy.ends_at = given[4]
    end
    box.space.store_campaigns:update(id, {
        {'=', 'state', 'firing'}, {'=', 'fired_at', now}, {'=', 'segments_open', open}, {'+', 'version', 1},
        {'=', 'audience', setmetatable(audience, {__serialize = 'map'})},
        {'=', 'policy', setmetatable(policy, {__serialize = 'map'})},
    })
    campaigns.check_done(id, now)
    return batons
end

-- Inside the caller's transaction: a draft, or an armed campaign, -> firing; or -> scheduled if the editor has said when
-- it starts: schedule.lua starts it. Returns the batons to put. `guard`: nil, or what repeats.lua is asked: if the
-- campaign is a repeat nothing is written, and the second value says what it repeats, {campaign, at}.
function campaigns.let_go(c, segments, now, given, guard)
    local first = guard ~= nil and repeats.first(c, guard, now) or nil
    if first ~= nil then
        return nil, first
    elseif guard ~= nil then
        repeats.note(c, guard, now)
    end
    if c.policy.start ~= nil then
        box.space.store_campaigns:update(c.id, {{'=', 'state', 'scheduled'}, {'+', 'version', 1}})
        return {}
    end
    local batons, refusal = campaigns.begin(c, c.audience, c.policy, segments, now, given)
    return batons or error(refusal, 0)
end

-- Let a draft go. Returns the batons to put: none if it is scheduled or was fired before, nil if there is no such
-- campaign. `guard`: see `let_go`, with the `owner` and the `key` of the campaign: a repeat goes, and its key is free.
function campaigns.campaign_fire(id, segments, now, given, guard)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil then
            return nil
        elseif c.state ~= 'draft' then
            -- written, though nothing changes: so the answer waits until the first Fire is on disk and with the quorum
            box.space.store_campaigns:update(id, {{'=', 'state', c.state}})
            return {}
        end
        local batons, first = campaigns.let_go(c, segments, now, given, guard)
        if first ~= nil then
            keys.forget_unfired(id, guard.owner, guard.key)
        end
        return batons, first
    end)
end

-- The last moment at which anything of a campaign may be begun, ms UTC.
function campaigns.ends_at(c)
    if c.fired_at == 0 then
        return 0
    end
    return c.policy.ends_at or campaigns.expiry(c.policy) or c.fired_at + (c.policy.ttl_ms or LONGEST_TTL)
end

-- The sorted ids of an audience that is a list of subscribers, or nil.
function campaigns.campaign_listed(id)
    local row = box.space.store_listed:get(id)
    return row and row.ids
end

function campaigns.page_size(c)
    return c.policy.page_size or DEFAULT_PAGE
end

local function correction(id)
    local row = box.space.store_corrections:get(id)
    return row and {row.texts, row.second, row.copied, row.former}
end

local function report(c)
    local channels = {}
    for _, row in box.space.store_totals:pairs({c.id}) do
        table.insert(channels, {row.channel, row.tallies, row.reasons})
    end
    return {c, channels, correction(c.id)}
end

-- {row, {{channel, tallies, reasons}...}, correction} or nil; correction: {version of the texts, second walk, whether that
-- is complete, {when, earlier message}s}, or nil.
function campaigns.campaign_get(id)
    local c = box.space.store_campaigns:get(id)
    return c and report(c)
end

-- The newest first; `before`: only older ones than this.
function campaigns.campaign_list(limit, before)
    local list = {}
    local from = before ~= nil and {before} or nil
    for _, c in box.space.store_campaigns.index.id:pairs(from, {iterator = from and 'LT' or 'REQ'}) do
        if #list >= limit then
            break
        end
        table.insert(list, report(c))
    end
    return list
end

-- Which of these campaigns ended more than `age` ms ago, so that no lease of theirs is left.
function campaigns.campaigns_over(ids, now, age)
    local over = {}
    for _, id in ipairs(ids) do
        local c = box.space.store_campaigns:get(id)
        if c == nil or (campaigns.over(c) and c.finished_at + age < now) then
            table.insert(over, id)
        end
    end
    return over
end

return campaigns
