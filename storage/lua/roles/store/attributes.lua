-- Which attributes the base's subscribers have: what an editor can choose from.

local columns = require('roles.audience.columns')

local attributes = {}

local MAP = {__serialize = 'map'}
local FIELDS = {'locale', 'country', 'tz'}
local MOST = 2000 -- values that are counted; more are left out

-- Of subscribers that are drawn evenly: attribute -> value -> how many of them have it.
function attributes.attributes_drawn(draws)
    local space, found, values = box.space.store_subscribers, {tags = setmetatable({}, MAP)}, 0
    for _, name in ipairs(FIELDS) do
        found[name] = setmetatable({}, MAP)
    end
    local function add(counts, value)
        if value ~= '' and (counts[value] ~= nil or values < MOST) then
            values = values + (counts[value] == nil and 1 or 0)
            counts[value] = (counts[value] or 0) + 1
        end
    end
    local last = space.index.id:max()
    for _ = 1, last ~= nil and math.min(draws, columns.MOST) or 0 do
        local row = space:get(math.random(1, tonumber(last.id)))
        if row ~= nil then
            for _, name in ipairs(FIELDS) do
                add(found[name], row[name])
            end
            for _, tag in ipairs(row.tags) do
                add(found.tags, tag)
            end
        end
    end
    return found
end

return attributes
