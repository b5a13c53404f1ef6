-- Batches, the tasks on the channels' tubes: taken by consumers, given back, counted as crashed, buried for a person.

local buried = require('roles.tubes.buried')
local node_tubes = require('roles.tubes.node_tubes')
local takes = require('roles.tubes.takes')

local batches = {}

-- Clause 6. A long poll of at most `timeout` seconds. Returns {number, task}s; a task is [id, state, data]. upper: only
-- batches of the upper lane.
function batches.batch_take(channel, worker, max, poll, lost, timeout, upper)
    return takes.take(node_tubes.of_channel(channel), worker, max, poll, lost, timeout, upper)
end

function batches.batch_release(channel, leases)
    return takes.release(node_tubes.of_channel(channel), leases)
end

-- A new incarnation calls this before its first take.
function batches.batch_release_worker(channel, worker)
    return takes.release_worker(node_tubes.of_channel(channel), worker)
end

-- A batch that cannot be read, or that cannot be settled, is buried for a person.
function batches.batch_bury(channel, id, number, why, sent)
    return takes.bury(node_tubes.of_channel(channel), id, number, why, sent)
end

function batches.batch_crashed(channel, id, number, why)
    return takes.crashed(node_tubes.of_channel(channel), id, number, why)
end

function batches.tube_buried(channel, limit, pri, after)
    node_tubes.get(node_tubes.of_channel(channel))
    return buried.list(node_tubes.of_channel(channel), limit, pri, after)
end

function batches.tube_kick(channel, count)
    node_tubes.get(node_tubes.of_channel(channel))
    return buried.kick(node_tubes.of_channel(channel), count)
end

function batches.tube_end(channel, limit)
    node_tubes.get(node_tubes.of_channel(channel))
    return buried.finish(channel, limit)
end

return batches
