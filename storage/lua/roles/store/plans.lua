-- The plan of a campaign: what the page loop asks of each row, compiled once for each version of the campaign.

local campaigns = require('roles.store.campaigns')
local predicate = require('roles.audience.predicate')
local plans = {}

local MOST = 32 -- compiled plans that are kept

local compiled, count = {}, 0 -- campaign -> {version, plan}

-- `channels`: the channels of the audience as a set, nil for all; `where`: see campaigns/where.py; `listed`: sorted ids
-- to look up, where the audience is a list of subscribers.
function plans.compile(channels, where, listed)
    local set
    if channels ~= nil then
        set = {}
        for _, name in ipairs(channels) do
            set[name] = true
        end
    end
    return {channels = set, where = predicate.compile(where), listed = listed}
end

-- nil: the campaign goes to whole channels, and its rows are not looked at.
function plans.of(campaign)
    local c = box.space.store_campaigns:get(campaign)
    if c == nil then
        error(('there is no campaign %s'):format(tostring(campaign)), 0)
    end
    local key = tostring(campaign)
    local known = compiled[key]
    if known ~= nil and known.version == c.version then
        return known.plan
    end
    if known == nil and count == MOST then
        compiled, count = {}, 0
    end
    local audience, plan = c.audience
    if audience.where ~= nil then
        plan = plans.compile(audience.channels, audience.where, campaigns.campaign_listed(c.id))
    end
    count = count + (compiled[key] == nil and 1 or 0)
    compiled[key] = {version = c.version, plan = plan}
    return plan
end

return plans
