-- What nodes have learnt of their channels, for the forecast of a campaign: a text for each node, which the store does
-- not read.

local atomic = require('roles.atomic')
local experience = {}

local LARGEST = 65536 -- bytes of one text
local MOST = 100      -- nodes; of more the one that has written least lately goes

-- Keep what a node has learnt for its forecasts, as JSON, in place of what it kept before.
function experience.experience_keep(node, text, now)
    if type(text) ~= 'string' or #text > LARGEST then
        error(('an experience of more than %d bytes'):format(LARGEST), 0)
    end
    atomic(function()
        local space = box.space.store_experience
        if space:get(node) == nil and space:len() >= MOST then
            local oldest = space.index.at:min()
            space:delete(oldest.node)
        end
        space:replace({node, text, now})
    end)
end

-- {node, text, written at} each.
function experience.experience_all()
    return box.space.store_experience:select()
end

return experience
