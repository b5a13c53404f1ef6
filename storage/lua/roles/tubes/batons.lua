-- Batons: the small tasks that travel from node to node. This node and its neighbours put them, its walkers take them.

local atomic = require('roles.atomic')
local buried = require('roles.tubes.buried')
local lanes = require('roles.tubes.lanes')
local node_tubes = require('roles.tubes.node_tubes')
local state = require('roles.tubes.state')
local takes = require('roles.tubes.takes')

local batons = {}

local BURIED_BATONS = 20 -- kept for a person: the shepherd makes a lost baton again, so there may be many
local BATONS_A_CALL = 1000

-- Upper bounds of {campaign, segment, seq, after_id}.
local BATON = {2 ^ 64, 2 ^ 20, 2 ^ 40, 2 ^ 63}

local function is_baton(baton)
    if type(baton) ~= 'table' or #baton ~= #BATON then
        return false
    end
    for i, most in ipairs(BATON) do
        local part = baton[i]
        local whole = (type(part) == 'number' and part == math.floor(part)) or tostring(part):find('^%d+ULL$') ~= nil
        if not whole or part < 0 or tonumber(part) >= most then
            return false
        end
    end
    return true
end

-- Put batons {campaign, segment, seq, after_id} of this node's walkers or a neighbour's. They are checked, since a
-- neighbour may run another version. lane: their campaign's; nil for the middle one.
function batons.baton_put(list, lane)
    if type(list) ~= 'table' or #list > BATONS_A_CALL then
        error(('baton_put: a list of at most %d batons is accepted'):format(BATONS_A_CALL), 0)
    end
    for i = 1, #list do
        if not is_baton(list[i]) then
            error(('baton_put: number %d is no baton {campaign, segment, seq, after_id}: four whole numbers, none below 0, ' ..
                   'segment below 2^20, seq below 2^40'):format(i), 0)
        end
    end
    atomic(function()
        for _, baton in ipairs(list) do
            node_tubes.get(node_tubes.BATONS):put(baton, {pri = lanes.pri(lane)})
        end
    end)
    return #list
end

-- Clause 2. A long poll of at most `timeout` seconds. Returns the epoch and {number, task}s: see `batch_take`.
function batons.baton_take(worker, poll, lost, timeout)
    local tasks = takes.take(node_tubes.BATONS, worker, 1, poll, lost, timeout)
    return state.get('epoch'), tasks
end

-- Clause 5.
function batons.baton_ack(id, number)
    return takes.with_taken(function(mine) return takes.finish(mine, node_tubes.BATONS, id, number) end) ~= nil
end

-- Give batons back untouched: {id, number} each.
function batons.baton_release(leases)
    return takes.release(node_tubes.BATONS, leases)
end

-- A new incarnation calls this before its first take.
function batons.baton_release_worker(worker)
    return takes.release_worker(node_tubes.BATONS, worker)
end

-- Bury a baton that cannot be walked. Whether it was still ours.
function batons.baton_bury(id, number, why)
    local was_ours = takes.bury(node_tubes.BATONS, id, number, why, false)
    buried.keep(node_tubes.BATONS, BURIED_BATONS)
    return was_ours
end

-- The baton's handler crashed: how often it has, and whether the baton is buried for it.
function batons.baton_crashed(id, number, why)
    local crashes, over = takes.crashed(node_tubes.BATONS, id, number, why)
    buried.keep(node_tubes.BATONS, BURIED_BATONS)
    return crashes, over
end

return batons
