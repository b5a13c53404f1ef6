-- Why channels stand still, as the nodes report it with their heartbeats. Kept in memory only: every node repeats its
-- report each second, so a new master has it within a second.

local utf8 = require('utf8')
local nodes = require('roles.store.nodes')
local channels = {}

local MOST = 200 -- channels of one node
local LONGEST = 500 -- characters of a text

-- node's name -> {epoch, {{node, channel, reason, sentence, since, until, remedy}...}}
local reported = {}

local function text(value)
    return type(value) == 'string' and utf8.sub(value, 1, LONGEST) or ''
end

-- `states`: channel -> {reason, sentence, since, until or nil, remedy}.
function channels.note(name, epoch, states)
    local list = {}
    for channel, state in pairs(states) do
        if #list == MOST then
            break
        end
        table.insert(list, {name, text(channel), text(state[1]), text(state[2]), tonumber(state[3]) or 0,
                            tonumber(state[4]) or box.NULL, text(state[5])})
    end
    reported[name] = {epoch = epoch, states = list}
end

-- The states of every current node that may hold a lease.
function channels.channel_states()
    local list = {}
    for name, known in pairs(reported) do
        local node = box.space.store_nodes:get(name)
        if nodes.current(name, known.epoch) and not nodes.lease_over(node) then
            for _, state in ipairs(known.states) do
                table.insert(list, state)
            end
        else
            reported[name] = nil
        end
    end
    return list
end

return channels
