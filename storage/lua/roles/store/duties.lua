-- Duties that one node of the ring does for all: to ask the newsroom's site for its load, to call webhooks. Kept in
-- memory only: after a restart the first node that asks has the duty. Two nodes may do one for as long as a node that
-- cannot reach the store does not know it; what they do may be done twice.

local clock = require('roles.clock')
local duties = {}

local HOLDS = 10 -- seconds after the last call for which a duty stays with its node

local holders = {} -- duty -> {node, since}

-- Whether this node has the duty now. Who has it asks again within HOLDS seconds.
function duties.duty_take(duty, node)
    local holder = holders[duty]
    if holder ~= nil and holder[1] ~= node and clock.now() < holder[2] + HOLDS then
        return false
    end
    holders[duty] = {node, clock.now()}
    return true
end

-- The node stops in order: another one may have the duty at once.
function duties.duty_leave(duty, node)
    if holders[duty] ~= nil and holders[duty][1] == node then
        holders[duty] = nil
    end
end

return duties
