-- Takes: the tasks that a worker has in hand, each from the long poll that took it until it is finished, given back or
-- buried. Built on Tarantool Queue's tubes, in one transaction with our own spaces.

local fiber = require('fiber')
local log = require('log')
local queue = require('queue')
local atomic = require('roles.atomic')
local buried = require('roles.tubes.buried')
local lanes = require('roles.tubes.lanes')
local node_tubes = require('roles.tubes.node_tubes')
local paced_campaigns = require('roles.tubes.paced_campaigns')
local paused_campaigns = require('roles.tubes.paused_campaigns')
local poison_counters = require('roles.tubes.poison_counters')
local state = require('roles.tubes.state')
local texts = require('roles.tubes.texts')
local unsure = require('roles.tubes.unsure')
local workers = require('roles.tubes.workers')

local takes = {}

local AFTER_CRASH = 1 -- seconds until a task is handed out again

-- Tasks looked at in one transaction: any number of paused campaigns' tasks may come before one that may go out.
local LOOKED_AT = 50

local function take_one(tube, worker, poll, task)
    local number = state.draw('take')
    box.space.tubes_taken:replace({tube.name, task[1], number, worker, poll, false, workers.life(worker)})
    return {number, task} -- as a tuple: as a Lua object each batch would be 80 KB for the collector
end

-- Inside the caller's transaction, which has just taken this task. Returns the task to hand out; nil: it is off the tube.
local function to_hand_out(tube, task)
    if box.space.tubes_taken:get({tube.name, task[1]}) ~= nil and unsure.mark(tube.name, task[1]) then
        task = tube:peek(task[1]) -- an earlier take of it ended without a result: its recipients are now counted as unsure
    end
    if paused_campaigns.any() and tube.name ~= node_tubes.BATONS and paused_campaigns.park(tube, task) then
        return nil
    elseif paced_campaigns.any() and tube.name ~= node_tubes.BATONS and paced_campaigns.park(tube, task) then
        return nil
    end
    local known = poison_counters.over_limit(tube.name, task[1])
    if known ~= nil then
        known.why = ('%d takes of it ended without a result; the first: %s'):format(known.ends, known.why)
        log.error('task %s of %s is buried: %s', task[1], tube.name, known.why)
        buried.bury(tube.name, task[1], known, true)
        return nil
    end
    return texts.note(tube, task)
end

-- Inside the caller's transaction: take up to `max` tasks that are ready now. Also returns whether there may be more.
-- upper: only tasks of the upper lane, which come first.
local function take_ready(tube, worker, max, poll, tasks, upper)
    for _ = 1, LOOKED_AT do
        if #tasks >= max or (upper and not lanes.upper_ready(tube.name)) then
            return tasks, false
        end
        local task = tube:take(0)
        if task == nil then
            return tasks, false
        end
        task = to_hand_out(tube, task)
        if task ~= nil then
            table.insert(tasks, take_one(tube, worker, poll, task))
        end
    end
    return tasks, true
end

-- Inside the caller's transaction, with the task that a long poll has just got.
local function take_first(tube, worker, max, poll, first)
    local task = to_hand_out(tube, first)
    return take_ready(tube, worker, max, poll, task ~= nil and {take_one(tube, worker, poll, task)} or {})
end

local function is_taken(name, id, number)
    local row = box.space.tubes_taken:get({name, id})
    return row ~= nil and row.number == number
end

-- Whether this is the tubes' error for a task that this session has lost: its ttr ran out, or its session has ended.
local function is_lost(err)
    return type(err) == 'string' and (err:find('Task was not taken', 1, true) or err:find('Task .* not found')) ~= nil
end

-- One transaction over taken tasks. Only the tube knows whether this session still has a task, and raises an error in
-- the middle of the transaction if not: then all of it is rolled back, and done again without that task. `f(mine)`:
-- mine(name, id, number) returns whether that take of that task is still ours.
function takes.with_taken(f)
    local lost, at = {}, nil
    local function mine(name, id, number)
        at = name .. ' ' .. tostring(id)
        return not lost[at] and is_taken(name, id, number)
    end
    while true do
        at = nil
        local ok, first, second = pcall(atomic, f, mine)
        if ok then
            return first, second
        elseif at == nil or lost[at] or not is_lost(first) then
            error(first, 0)
        end
        lost[at] = true
    end
end

-- Give tasks back: {id, number}s. Tasks that are not ours any more are skipped.
function takes.release(name, leases)
    return takes.with_taken(function(mine)
        local n = 0
        for _, lease in ipairs(leases) do
            if mine(name, lease[1], lease[2]) then
                queue.tube[name]:release(lease[1])
                box.space.tubes_taken:delete({name, lease[1]})
                n = n + 1
            end
        end
        return n
    end)
end

local function taken_by(name, worker)
    return box.space.tubes_taken.index.worker:select({worker, name})
end

-- Give back the tasks of one of a worker's polls, because its answer was lost.
local function release_poll(name, worker, poll)
    local leases = {}
    for _, row in ipairs(taken_by(name, worker)) do
        if row.poll == poll then
            table.insert(leases, {row.id, row.number})
        end
    end
    return takes.release(name, leases)
end

-- Give back all that an earlier incarnation of this worker held of a tube, and count these takes as without a result.
function takes.release_worker(name, worker)
    return takes.with_taken(function(mine)
        local n, apart = 0, 0
        for _, row in ipairs(taken_by(name, worker)) do
            local delay = 0
            unsure.mark(name, row.id)
            if not row.excused then
                local ends = poison_counters.count_end(name, row.id, worker .. ' ended with it in hand')
                apart = apart + (ends > 1 and 1 or 0)
                delay = poison_counters.delay(ends, apart)
            end
            if mine(name, row.id, row.number) then
                queue.tube[name]:release(row.id, delay > 0 and {delay = delay} or nil)
                n = n + 1
            end
            box.space.tubes_taken:delete({name, row.id})
        end
        return n
    end)
end

-- `poll`: this poll's number; `lost`: the numbers of this worker's polls that got no answer. Their tasks go back,
-- because nobody knows of them. `upper`: take only from the upper lane.
function takes.take(name, worker, max, poll, lost, timeout, upper)
    local deadline = fiber.clock() + timeout
    for _, gone in ipairs(lost) do
        release_poll(name, worker, gone)
    end
    if not state.wait_leased(timeout) or workers.is_replaced() then
        return {}
    end
    local tube = node_tubes.get(name)
    local tasks, more = atomic(take_ready, tube, worker, max, poll, {}, upper)
    while #tasks == 0 do
        if more then
            fiber.yield()
            if not state.leased() or workers.is_replaced() then
                return {}
            end
            tasks, more = atomic(take_ready, tube, worker, max, poll, {}, upper)
        elseif upper then
            local left = deadline - fiber.clock()
            -- ready, and yet not taken: the client has gone, or a task came meanwhile; the next poll will find it
            if left <= 0 or lanes.upper_ready(name) or not lanes.wait_upper(name, left)
                or not state.leased() or workers.is_replaced() then
                return {}
            end
            tasks, more = atomic(take_ready, tube, worker, max, poll, {}, upper)
        else
            local left = deadline - fiber.clock()
            local first = left > 0 and tube:take(left) or nil
            if first == nil then
                return {}
            end
            if not state.leased() or workers.is_replaced() then
                tube:release(first[1])
                return {}
            end
            tasks, more = atomic(take_first, tube, worker, max, poll, first)
        end
    end
    return tasks
end

-- Ack a task. Take numbers are never given twice, so number and id together name one take of one task. Inside the
-- caller's transaction; `mine`: see `takes.with_taken`.
function takes.finish(mine, name, id, number)
    if not mine(name, id, number) then
        return nil
    end
    local task = queue.tube[name]:ack(id)
    if task ~= nil then
        poison_counters.forget(name, id)
    end
    return task
end

-- A worker is being stopped in order: tasks that it cannot settle in time are not counted as poison.
function takes.worker_stopping(worker)
    atomic(function()
        for _, name in ipairs({worker, worker .. '/walker'}) do
            poison_counters.excuse(name)
        end
    end)
end

-- `sent`: whether pushes of it may have gone out.
function takes.bury(name, id, number, why, sent)
    return takes.with_taken(function(mine)
        if not mine(name, id, number) then
            return false
        end
        local known = poison_counters.get(name, id)
        known.why = why
        buried.bury(name, id, known, sent)
        return true
    end)
end

-- The handler of this take of this task crashed. The task comes again a second later; at its third crash it is buried.
-- Returns how often it has crashed, and whether it is buried.
function takes.crashed(name, id, number, why)
    return takes.with_taken(function(mine)
        if not mine(name, id, number) then
            return 0, false
        end
        local known = poison_counters.get(name, id)
        known.crashes, known.why = known.crashes + 1, why
        poison_counters.excuse(box.space.tubes_taken:get({name, id}).worker, name)
        if known.crashes >= poison_counters.CRASHES then
            buried.bury(name, id, known, true)
            return known.crashes, true
        end
        unsure.mark(name, id)
        queue.tube[name]:release(id, {delay = AFTER_CRASH})
        box.space.tubes_taken:delete({name, id})
        poison_counters.put(name, id, known)
        return known.crashes, false
    end)
end

return takes
