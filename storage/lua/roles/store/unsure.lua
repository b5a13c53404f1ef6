-- Recipients who may have a push although the ledger has no outcome of theirs: of a page whose owner is lost, or away. What
-- a living queue knows of its own, it reports itself (roles/tubes/unsure.lua). Such sums are bounds: some have nothing.

local coverage = require('roles.store.coverage')
local sums = require('roles.store.sums')

local unsure = {}

local ROWS_A_LOOK = 5000

local function rows_of(page)
    local counts, after = {}, page.from_id
    while after < page.to_id do
        local slice
        slice, after = coverage.subscribers_in(after, page.to_id, ROWS_A_LOOK)
        for channel, n in pairs(slice) do
            counts[channel] = (counts[channel] or 0) + n
        end
    end
    return counts
end

-- channel -> how many of an unsettled page may have a push, if nothing is known of its owner. A page that is claimed may
-- have been put, and its report may be lost with the owner.
function unsure.of_page(page)
    local found = {}
    if page.state == 'claimed' then
        local c = box.space.store_campaigns:get(page.campaign)
        local rows = rows_of(page)
        for _, channel in ipairs(c and c.audience.channels or {}) do
            found[channel] = math.max(0, (rows[channel] or 0) - sums.terminal(page.tallies[channel] or {}))
        end
    end
    for channel, by in pairs(page.tallies) do
        found[channel] = math.max(found[channel] or 0, (by.enqueued or 0) - sums.terminal(by))
    end
    return found
end

-- How many of a page's recipients are counted as unsure.
function unsure.counted(page)
    local n = 0
    for _, by in pairs(page.tallies) do
        n = n + math.max(0, by.unsure or 0)
    end
    return n
end

-- Inside the caller's transaction: the page's owner is lost. Returns the page's new tallies.
function unsure.note(page)
    local tallies = page.tallies
    for channel, n in pairs(unsure.of_page(page)) do
        local by = tallies[channel] or {}
        if n > 0 or by.unsure ~= nil then
            sums.tally(page.campaign, channel, {unsure = n - (by.unsure or 0)})
            by.unsure = n
            tallies[channel] = by
        end
    end
    return setmetatable(tallies, {__serialize = 'map'})
end

-- A node's unsettled pages of a campaign: how many people may have a push, beyond those who are counted already.
function unsure.of_node(node, id)
    local n = 0
    for _, state in ipairs({'claimed', 'enqueued'}) do
        for _, page in box.space.store_pages.index.state:pairs({state, node, id}) do
            local most = 0
            for _, each in pairs(unsure.of_page(page)) do
                most = most + each
            end
            n = n + math.max(0, most - unsure.counted(page))
        end
    end
    return n
end

return unsure
