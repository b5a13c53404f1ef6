-- Scheduled campaigns: which of them are due, and the start of one, once, whichever nodes ask for it.
--
-- The wall clock of the store's own server decides: the nodes' clocks may differ, and a node whose clock is ahead would
-- start a campaign before its time. A clock that is set forward makes the campaigns due that its new time is past; one
-- that is set back lets a campaign wait that has not started, and changes nothing for one that has.

local fiber = require('fiber')
local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local canaries = require('roles.store.canaries')
local schedule = {}

local DAY = 86400 * 1000 -- ms after which a missed campaign is no longer reported
local MISSED = 100 -- at most as many missed campaigns are looked at, the newest first
local LONGEST = 500 -- characters of the reason why a campaign was missed

local function wall()
    return math.floor(fiber.time() * 1000)
end

-- Inside the caller's transaction. why: '' if the campaign expired before any node started it.
local function miss(c, why, now)
    local policy = c.policy
    policy.missed = why:sub(1, LONGEST)
    box.space.store_campaigns:update(c.id, {
        {'=', 'state', 'missed'}, {'=', 'finished_at', now}, {'+', 'version', 1},
        {'=', 'policy', setmetatable(policy, {__serialize = 'map'})},
    })
end

-- Returns the ids of the campaigns that are due; the ms until the next is due, or nil if none is; the campaigns that were
-- missed in the last day as {id, start, why}; how many are armed; how many
-- canaries are under way; and which were stopped in the last day, {id, since, why} each. Asked every second by every node, so it reads no more of a row
-- than it needs.
function schedule.campaigns_due()
    local now, due, wait, missed = wall(), {}, nil, {}
    for _, c in box.space.store_campaigns.index.state:pairs({'scheduled'}) do
        local left = c['policy.start'] - now
        if left <= 0 then
            table.insert(due, c.id)
        else
            wait = math.min(wait or left, left)
        end
    end
    for _, c in ipairs(box.space.store_campaigns.index.state:select({'missed'}, {iterator = 'REQ', limit = MISSED})) do
        if c.finished_at + DAY > now then
            table.insert(missed, {c.id, c['policy.start'], c['policy.missed']})
        end
    end
    return due, wait, missed, box.space.store_campaigns.index.state:count({'armed'}), canaries.standing(now)
end

-- scheduled -> firing, or -> missed if it has expired or no node can walk it. audience, policy: as the node that starts
-- it has computed them now. given: its window classes, or nil. Returns the state, and the batons to put: none for all but the one caller that started it.
-- nil: there is no such campaign.
function schedule.campaign_start(id, segments, audience, policy, given)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil then
            return nil
        end
        local now = wall()
        if c.state ~= 'scheduled' or now < c.policy.start then
            -- written, though nothing changes: so the answer waits until the start is on disk and with the quorum
            box.space.store_campaigns:update(id, {{'=', 'state', c.state}})
            return c.state, {}
        elseif campaigns.expiry(c.policy) <= now then
            miss(c, '', now)
            return 'missed', {}
        end
        policy.start, policy.expires_at = c.policy.start, c.policy.expires_at
        audience.where, audience.estimate = c.audience.where, c.audience.estimate -- as the editor has said
        local batons, refusal = campaigns.begin(c, audience, policy, segments, now, given)
        if batons == nil then
            miss(c, refusal, now)
        end
        return box.space.store_campaigns:get(id).state, batons or {}
    end)
end

-- scheduled -> missed, for a campaign that is due and does not pass the checks any more. Returns the state, unchanged
-- if it was started or cancelled meanwhile; nil: there is no such campaign.
function schedule.campaign_miss(id, why)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        local now = wall()
        if c ~= nil and c.state == 'scheduled' and c.policy.start <= now then
            miss(c, campaigns.expiry(c.policy) > now and why or '', now)
        end
        return c and box.space.store_campaigns:get(id).state
    end)
end

return schedule
