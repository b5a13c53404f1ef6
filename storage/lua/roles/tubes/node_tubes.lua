-- This node's tubes: one for batons, and one for each channel.

local queue = require('queue')
local memory = require('roles.memory')
local batch_format = require('roles.tubes.batch_format')

local node_tubes = {}

node_tubes.BATONS = 'batons'

function node_tubes.of_channel(channel)
    return 'push_' .. channel
end

-- The channel whose batches lie on this tube, or nil: it is another tube.
function node_tubes.channel_of(name)
    return name:match('^push_(.*)$')
end

function node_tubes.get(name)
    local tube = queue.tube[name]
    if tube == nil then
        error(('tube %q does not exist: is the channel in this node\'s config?'):format(name), 0)
    end
    return tube
end

function node_tubes.ensure(channels)
    queue.create_tube(node_tubes.BATONS, 'fifottl', {if_not_exists = true, ttr = 60})
    for _, channel in ipairs(channels) do
        queue.create_tube(node_tubes.of_channel(channel), 'fifottl', {if_not_exists = true, ttr = 60})
    end
end

-- Recipients of batches that somebody has taken, and whose outcome is not settled.
local function unsettled()
    local recipients = 0
    for _, name in ipairs(queue.tube()) do
        if node_tubes.channel_of(name) ~= nil then
            for _, row in box.space[name].index[1]:pairs({'t'}) do
                recipients = recipients + tonumber(batch_format.of_row(row, batch_format.SIZE) or 0)
            end
        end
    end
    return recipients
end

-- Tasks by tube and state, reports not sent, marks, recipients without an outcome, parked batches, and memory.
function node_tubes.statistics()
    local tubes = setmetatable({}, {__serialize = 'map'})
    for name, s in pairs(queue.statistics()) do
        tubes[name] = s.tasks
    end
    return {tubes = tubes, outbox = box.space.tubes_outbox:len(), marks = box.space.tubes_marks:len(),
            unsettled = unsettled(), parked = box.space.tubes_parked:len(), memory = memory.usage()}
end

return node_tubes
