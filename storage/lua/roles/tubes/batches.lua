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

-- Give batches back untouched: {id, number} each.
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

-- The batch's handler crashed: how often it has, and whether the batch is buried for it.
function batches.batch_crashed(channel, id, number, why)
    return takes.crashed(node_tubes.of_channel(channel), id, number, why)
end

-- Up to `limit` buried batches behind the one with `pri` and `after`: see `buried.list`.
function batches.tube_buried(channel, limit, pri, after)
    node_tubes.get(node_tubes.of_channel(channel))
    return buried.list(node_tubes.of_channel(channel), limit, pri, after)
end

-- Bring up to `count` buried batches back, without their poison counters. How many.
function batches.tube_kick(channel, count)
    node_tubes.get(node_tubes.of_channel(channel))
    return buried.kick(node_tubes.of_channel(channel), count)
end

-- End buried batches: their recipients are rejected. How many batches and recipients.
function batches.tube_end(channel, limit)
    node_tubes.get(node_tubes.of_channel(channel))
    return buried.finish(channel, limit)
end

return batches
