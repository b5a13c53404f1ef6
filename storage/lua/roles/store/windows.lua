-- A campaign's window classes: time zones in which it may reach people at the same times (campaigns/windows.py).

local windows = {}

local KNOWN = 64
local PAUSE = 2000 -- ms
local plans, count = {}, 0 -- campaign as text -> {zones, channels}: they never change

-- In the transaction that starts the campaign. `given`: {zones, channels, text, ends_at, best}.
function windows.keep(campaign, given, now)
    local map = {__serialize = 'map'}
    box.space.store_windows:replace({
        campaign, setmetatable(given[1], map), setmetatable(given[2], map), given[3], {}, 0, now, given[5] or false,
    })
end

-- At best times a zone has a list of classes, of the half hours of its day and of nobody's; zones that share a list name
-- the one that has it.
local function shared(zones)
    for zone, list in pairs(zones) do
        if type(list) == 'string' then
            zones[zone] = zones[list]
        end
    end
    return zones
end

-- zone -> class, or a list of them (see `shared`), channel -> the zone of subscribers without one, and whether it starts
-- at best times; nil: the campaign has no window classes. Where an earlier version started it at best times, a zone's
-- class has one behind it for each half hour of the day.
function windows.plan(campaign)
    local key = tostring(campaign)
    if plans[key] == nil then
        local row = box.space.store_windows:get(campaign)
        if row == nil then
            return nil
        end
        if count >= KNOWN then
            plans, count = {}, 0
        end
        plans[key], count = {zones = shared(row.zones), channels = row.channels, best = row.best}, count + 1
    end
    return plans[key]
end

-- Put the number of a page's recipients who wait for their time, {moment and zone, recipients} each, in place of `before`.
function windows.held(campaign, before, now)
    local row = box.space.store_windows:get(campaign)
    if row == nil then
        return
    end
    local sums = {}
    for _, each in ipairs(row.held) do
        sums[each[1]] = each[2]
    end
    for sign, list in pairs({[-1] = before, [1] = now}) do
        for _, each in ipairs(list) do
            sums[each[1]] = (sums[each[1]] or 0) + sign * each[2]
        end
    end
    local held = {}
    for zone, n in pairs(sums) do
        if n > 0 then
            table.insert(held, {zone, n})
        end
    end
    box.space.store_windows:update(campaign, {{'=', 'held', held}})
end

-- Lines of the campaign have come in. What lies between two reports counts as active up to PAUSE: longer pauses are those
-- in which nothing could be sent.
function windows.moved(campaign, now)
    local row = box.space.store_windows:get(campaign)
    if row ~= nil and now > row.moved_at then
        local gap = math.min(tonumber(now - row.moved_at), PAUSE)
        box.space.store_windows:update(campaign, {{'+', 'active', gap}, {'=', 'moved_at', now}})
    end
end

-- Whether every page that was claimed is on the tubes.
local function is_put(campaign)
    for _, state in ipairs({'claimed', 'open'}) do
        for _, page in box.space.store_pages.index.state:pairs({state}) do
            if page.campaign == campaign then
                return false
            end
        end
    end
    return true
end

-- The classes as JSON, how many recipients wait in which zone ({zone, recipients}), the active milliseconds, and whether
-- all claimed pages are on the tubes. Nil: there are none. `waits`: the classes are left out; at best times they are
-- hundreds of kilobytes, and who watches a campaign asks several times a second.
function windows.campaign_windows(campaign, waits)
    local row = box.space.store_windows:get(campaign)
    if row == nil then
        return nil
    end
    return waits and '' or row.text, row.held, row.active, is_put(campaign)
end

return windows
