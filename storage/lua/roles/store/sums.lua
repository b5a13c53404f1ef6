-- The ledger's sums: word -> number, by channel, of a page and of a whole campaign.

local sums = {}

local REASONS = 50 -- different reasons for one channel of a campaign; more are counted as `other`
local LONGEST = 100 -- bytes of a reason
local TERMINAL = {'delivered', 'dead', 'rejected', 'expired', 'dropped', 'cancelled'} -- campaigns/outcome.py has them too

sums.DELIVERED = TERMINAL[1]

-- How many recipients have a terminal outcome in these tallies.
function sums.terminal(tallies)
    local n = 0
    for _, outcome in ipairs(TERMINAL) do
        n = n + (tallies[outcome] or 0)
    end
    return n
end

-- Add to a campaign's sums.
function sums.tally(id, channel, tallies, reasons)
    local totals = box.space.store_totals
    local row = totals:get({id, channel})
    local sum = row and row.tallies or {}
    local why = row and row.reasons or {}
    for outcome, n in pairs(tallies) do
        sum[outcome] = (sum[outcome] or 0) + n
    end
    if sum.unsure == 0 then -- it rises and falls, and most campaigns never have it
        sum.unsure = nil
    end
    if next(reasons or {}) ~= nil then
        local known = 0
        for _ in pairs(why) do
            known = known + 1
        end
        for reason, n in pairs(reasons) do
            if #reason > LONGEST or (why[reason] == nil and known >= REASONS) then
                reason = 'other'
            end
            known = known + (why[reason] == nil and 1 or 0)
            why[reason] = (why[reason] or 0) + n
        end
    end
    totals:replace({id, channel, setmetatable(sum, {__serialize = 'map'}), setmetatable(why, {__serialize = 'map'})})
end

return sums
