-- Which channels the ring serves: each node reports at its join which ones its configuration has.

local nodes = require('roles.store.nodes')
local served = {}

local function as_set(list)
    local set = {}
    for _, name in ipairs(list) do
        set[name] = true
    end
    return set
end

-- {name, channels as a set, living} of every current node.
local function current()
    local list = {}
    for _, node in ipairs(box.space.store_nodes:select()) do
        if node.status == 'current' then
            table.insert(list, {
                name = node.name, channels = as_set(node.channels), seen_at = node.seen_at, living = not nodes.lease_over(node),
            })
        end
    end
    return list
end

local function covers(node, channels)
    for _, name in ipairs(channels) do
        if not node.channels[name] then
            return false
        end
    end
    return true
end

-- Names of living nodes that serve all of these channels: each of them can walk a campaign's pages.
function served.nodes_serving(channels)
    local names = {}
    for _, node in ipairs(current()) do
        if node.living and covers(node, channels) then
            table.insert(names, node.name)
        end
    end
    return names
end

-- All channels that a current node serves, sorted; nil: no node has joined yet.
function served.channels_served()
    local all, list = {}, {}
    local ring = current()
    for _, node in ipairs(ring) do
        for name in pairs(node.channels) do
            all[name] = true
        end
    end
    for name in pairs(all) do
        table.insert(list, name)
    end
    table.sort(list)
    return #ring > 0 and list or nil
end

-- Whom a Fire reaches. wanted: channels, or nil for all that have subscribers. Returns the channels to send to; channel
-- -> subscribers for channels that no node serves; and whether one node serves all that remain: a page has subscribers
-- of all channels, so the node that walks it needs every one.
function served.audience(wanted)
    local counts, names = {}, {}
    for _, row in box.space.store_counts:pairs() do
        counts[row.channel] = row.subscribers
        if row.subscribers > 0 then
            table.insert(names, row.channel)
        end
    end
    local known = served.channels_served()
    local set = known ~= nil and as_set(known) or nil
    local channels, unserved = setmetatable({}, {__serialize = 'seq'}), setmetatable({}, {__serialize = 'map'})
    for _, name in ipairs(wanted == nil and names or wanted) do -- a nil from outside is box.NULL
        if set == nil or set[name] then
            table.insert(channels, name)
        else
            unserved[name] = counts[name] or 0
        end
    end
    local together = set == nil
    for _, node in ipairs(current()) do
        together = together or covers(node, channels)
    end
    return channels, unserved, together
end

-- The sentence with which such a Fire is refused, or nil.
function served.refusal(wanted, channels, unserved, together)
    local names = {}
    for name, n in pairs(unserved) do
        table.insert(names, ('%s: %d phones'):format(name, tonumber(n)))
    end
    table.sort(names)
    if #names > 0 and (wanted ~= nil or #channels == 0) then
        return ('no node serves %s'):format(table.concat(names, ', '))
    elseif not together then
        return ('no node serves all of %s'):format(table.concat(channels, ', '))
    end
end

-- The channels that keep a firing campaign from being walked, because no living node serves all of its channels:
-- channel -> {whether no living node serves it at all, since when}.
function served.channels_missing()
    local missing, ring = setmetatable({}, {__serialize = 'map'}), current()
    if #ring == 0 then
        return missing
    end
    for _, c in box.space.store_campaigns.index.state:pairs({'firing'}) do
        local channels = c.audience.channels or {}
        if #channels > 0 and #served.nodes_serving(channels) == 0 then
            local alone = {} -- the channels that no living node serves at all
            for _, name in ipairs(channels) do
                if #served.nodes_serving({name}) == 0 then
                    table.insert(alone, name)
                end
            end
            local since = tonumber(c.fired_at)
            for _, node in ipairs(ring) do
                if not node.living and covers(node, channels) then
                    since = math.max(since, tonumber(node.seen_at)) -- until then that node was alive
                end
            end
            for _, name in ipairs(#alone > 0 and alone or channels) do
                missing[name] = {#alone > 0, since}
            end
        end
    end
    return missing
end

return served
