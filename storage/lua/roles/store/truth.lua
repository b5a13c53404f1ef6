-- What is known of a campaign's arrival on phones: the providers' own figures, and receipts. It comes hours or days after
-- the end, and stays with the campaign, in its policy: channel -> {figures = …, receipts = …}.

local atomic = require('roles.atomic')
local truth = {}

local MAP = {__serialize = 'map'}
local LARGEST = 64 -- channels of one campaign

local function count(map)
    local n = 0
    for _ in pairs(map) do
        n = n + 1
    end
    return n
end

-- Keep what is known of a channel's pushes of a campaign: `figures` in place of those before; of `receipts` those with
-- the larger `received`, as one node may know of fewer. Nil: it stays as it is. Returns whether there is such a campaign.
function truth.campaign_truth(id, channel, figures, receipts)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil then
            return false
        end
        local policy = c.policy
        local all = policy.truth or {}
        local known = all[channel] or {}
        if all[channel] == nil and count(all) >= LARGEST then
            return false
        end
        known.figures = figures ~= nil and figures or known.figures
        if receipts ~= nil and (known.receipts == nil or known.receipts.received <= receipts.received) then
            known.receipts = receipts
        end
        all[channel] = setmetatable(known, MAP)
        policy.truth = setmetatable(all, MAP)
        box.space.store_campaigns:update(id, {{'=', 'policy', setmetatable(policy, MAP)}})
        return true
    end)
end

return truth
