-- Canaries: a campaign that goes to a share first. Whether the rest gets it is decided here, once, whichever nodes ask:
-- the rest is a campaign of its own, which is due at once and started as every scheduled one. The same salt draws both, so
-- that nobody is in both.

local fiber = require('fiber')
local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local pauses = require('roles.store.pauses')
local canaries = {}

local MAP = {__serialize = 'map'}
local DAY = 86400 * 1000 -- ms for which a stopped canary is told
local LEAST = 20 -- answers of a channel before its failures are judged while the share is still under way

local function wall()
    return math.floor(fiber.time() * 1000)
end

-- The campaigns whose rest is not decided yet.
function canaries.open()
    local list = {}
    for _, row in box.space.store_canaries:pairs() do
        if row.stopped_at == 0 then
            table.insert(list, row.campaign)
        end
    end
    return list
end

-- How many are open; and those that were stopped in the last day, {id, since when (ms UTC), why} each.
function canaries.standing(now)
    local open, stopped = 0, {}
    for _, row in box.space.store_canaries:pairs() do
        if row.stopped_at == 0 then
            open = open + 1
        elseif row.stopped_at + DAY > now then
            local c = box.space.store_campaigns:get(row.campaign)
            if c ~= nil and c.state ~= 'cancelled' and c.state ~= 'cancelling' then
                table.insert(stopped, {row.campaign, row.stopped_at, c['policy.canary.why']})
            end
        end
    end
    return open, stopped
end

-- Inside the caller's transaction: those that were stopped longer ago leave.
local function expire(now)
    local old = {}
    for _, row in box.space.store_canaries:pairs() do
        if row.stopped_at ~= 0 and row.stopped_at + DAY <= now then
            table.insert(old, row.campaign)
        end
    end
    for _, id in ipairs(old) do
        box.space.store_canaries:delete(id)
    end
end

-- Why the rest should not get it, or nil: the channel with the largest share of failures, if that is above the limit.
-- final: nothing more of the share will be answered now.
local function failure(c, final)
    local worst, sums, all = nil, {0, 0}, 0
    local function judge(name, failed, ended)
        local share = ended > 0 and failed / ended or 0
        if share > c.policy.canary.limit and (worst == nil or share > worst[4]) then
            worst = {name, failed, ended, share}
        end
    end
    for _, row in box.space.store_totals:pairs({c.id}) do
        local failed = tonumber((row.tallies.rejected or 0) + (row.tallies.dead or 0))
        local ended = failed + tonumber(row.tallies.delivered or 0)
        sums = {sums[1] + failed, sums[2] + ended}
        if ended >= LEAST then
            judge(row.channel, failed, ended)
        end
    end
    if final then
        judge('all channels', sums[1], sums[2])
    end
    return worst and ('%s: %d of %d failed'):format(worst[1], worst[2], worst[3]) or nil
end

local function decide(c, state, why, rest)
    local policy = c.policy
    policy.canary.state, policy.canary.why, policy.canary.rest = state, why, rest
    box.space.store_campaigns:update(c.id, {{'=', 'policy', setmetatable(policy, MAP)}, {'+', 'version', 1}})
    expire(wall())
    if state == 'stopped' and c.state ~= 'cancelled' then
        box.space.store_canaries:replace({c.id, wall()})
    else
        box.space.store_canaries:delete(c.id)
    end
end

-- The campaign to the rest: due now. estimate: channel -> about how many are in it.
local function go_on(c, rest, estimate, why)
    local now, policy, audience = wall(), c.policy.canary.policy, c.audience
    policy.start = now
    audience.where.share.rest, audience.estimate, audience.unserved = true, setmetatable(estimate, MAP), nil
    box.space.store_campaigns:insert({
        rest, 1, 'scheduled', c.message, setmetatable(audience, MAP), setmetatable(policy, MAP), now, 0, 0, 0, 0,
    })
    local listed = campaigns.campaign_listed(c.id)
    if listed ~= nil then
        box.space.store_listed:insert({rest, listed})
    end
    decide(box.space.store_campaigns:get(c.id), 'on', why, rest)
end

-- Decide about the rest of a campaign, unless that is done. `reached`: everybody of the share who may get it now has an
-- outcome. `rest`: an id for the campaign to the rest. Returns the state: `open` (not known yet), `on`, `stopped`; and
-- the campaign to the rest. nil: there is no such campaign, or it has no rest.
function canaries.canary_decide(id, reached, rest, estimate)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil or c.policy.canary == nil then
            return nil
        elseif c.policy.canary.state ~= 'open' then
            box.space.store_campaigns:update(id, {{'=', 'state', c.state}}) -- as in campaign_fire
            return c.policy.canary.state, c.policy.canary.rest
        end
        local final = c.state == 'done' or (reached and c.state == 'firing')
        local why = failure(c, final)
        if c.state == 'cancelled' then
            decide(c, 'stopped', 'the campaign was cancelled')
        elseif why ~= nil then
            decide(c, 'stopped', why)
            pauses.begin_pause(id, wall())
        elseif final then
            go_on(c, rest, estimate)
        end
        c = box.space.store_campaigns:get(id)
        return c.policy.canary.state, c.policy.canary.rest
    end)
end

-- The rest gets it, whatever has become of the share: an editor has said so. Returns as `canary_decide`; `cancelled`: the
-- campaign was cancelled, and so is its rest.
function canaries.canary_go(id, rest, estimate)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil or c.policy.canary == nil then
            return nil
        elseif c.state == 'cancelled' or c.state == 'cancelling' then
            return 'cancelled'
        elseif c.policy.canary.state ~= 'on' and c.fired_at ~= 0 then
            go_on(c, rest, estimate, 'an editor has let it go')
        end
        c = box.space.store_campaigns:get(id)
        return c.policy.canary.state, c.policy.canary.rest
    end)
end

return canaries
