-- Several calls in one transaction of the caller, and what a rollback leaves.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local queue = support.queue()
local fails = support.fails
local count = 0

local function new(opts)
    count = count + 1
    return queue.create_tube('tube' .. count, 'fifottl', opts)
end

local function leased(tube)
    return #box.space._queue_leases:select{tube.tube_id}
end

support.run('transactions', {

{'many calls make one transaction, and none of them yields', function(t)
    t:plan(4)
    local tube, other = new(), new()
    tube:put('old')
    tube:take(0)
    box.begin()
    for i = 1, 10 do
        other:put(i)
    end
    local task = other:take(0)
    other:release(task[1], {delay = 0.01})
    other:take(0)
    other:bury(1)
    other:kick()
    other:take(5)
    other:touch(1, 1)
    other:delete(5)
    tube:ack(0)
    local ok = pcall(box.commit)
    t:ok(ok, 'committed')
    t:is(tube:take(0), nil, 'acked')
    t:is_deeply(queue.statistics(other.name).tasks,
        {ready = 7, taken = 1, buried = 0, delayed = 1, done = 1, total = 9}, 'done')
    t:is(leased(other), 1, 'one lease')
end},

{'take in a transaction does not wait', function(t)
    t:plan(3)
    local tube = new()
    local start = fiber.clock()
    box.begin()
    t:is(tube:take(10), nil, 'nothing')
    t:ok(pcall(box.commit), 'the transaction lives')
    t:ok(fiber.clock() - start < 1, 'at once')
end},

{'a rollback takes back what was put, taken and acked, ownership included', function(t)
    t:plan(9)
    local tube = new()
    tube:put('a')
    tube:put('b')
    tube:take(0)
    box.begin()
    tube:ack(0)
    tube:take(0)
    tube:put('c')
    box.rollback()
    t:is(tube:peek(0)[2], 't', 'not acked')
    t:is(tube:peek(1)[2], 'r', 'not taken')
    fails(t, 'Task 2 not found', 'not put', tube.peek, tube, 2)
    fails(t, 'Task was not taken', 'the take gave no right', tube.ack, tube, 1)
    t:is(leased(tube), 1, 'one lease')
    box.begin()
    tube:release(0)
    box.rollback()
    t:is(tube:ack(0)[2], '-', 'the release took no right')
    tube:take(0)
    box.begin()
    tube:truncate()
    box.rollback()
    t:is(leased(tube), 1, 'a truncate is taken back')
    t:is(tube:ack(1)[2], '-', 'whole')
    t:is(leased(tube), 0, 'no lease')
end},

{'a failing call leaves no transaction open, and the caller\'s alone', function(t)
    t:plan(4)
    local tube = new()
    fails(t, 'Task was not taken', 'error', tube.ack, tube, 0)
    t:ok(not box.is_in_txn(), 'none open')
    box.begin()
    tube:put('x')
    pcall(tube.ack, tube, 0)
    t:ok(box.is_in_txn(), 'still the caller\'s')
    box.commit()
    t:is(tube:peek(0)[3], 'x', 'with what it did')
end},

{'waiters wake when the transaction commits, one for each task', function(t)
    t:plan(5)
    local tube = new()
    local waiters = {}
    for i = 1, 3 do
        waiters[i] = support.background(tube.take, tube, 100 + i)
    end
    box.begin()
    tube:put('x')
    tube:put('y')
    t:is(#tube.waiters, 3, 'nobody yet')
    box.commit()
    t:is(select(2, waiters[1]())[3], 'x', 'first')
    t:is(select(2, waiters[2]())[3], 'y', 'second')
    t:is(#tube.waiters, 1, 'the third waits on')
    tube:put('z')
    t:is(select(2, waiters[3]())[3], 'z', 'for his')
end},

{'a rollback wakes for nothing: the waiter waits on to its deadline', function(t)
    t:plan(3)
    local tube = new()
    local start = fiber.clock()
    local waiter = support.background(tube.take, tube, 0.1)
    box.begin()
    tube:put('x')
    tube:take(0)
    box.rollback()
    fiber.sleep(0.01)
    t:is(#tube.waiters, 1, 'waits')
    local ok, task = waiter()
    t:ok(ok and task == nil, 'nothing')
    t:ok(fiber.clock() - start >= 0.1, 'at the deadline')
end},

{'a task that is ready again because its taker could not commit finds a waiter', function(t)
    t:plan(3)
    local tube = new()
    tube:put('x')
    -- A memtx transaction that yields is aborted at once, and rolled back at its commit.
    local taker = support.background(function()
        box.begin()
        tube:take(0)
        fiber.sleep(0.02)
        box.commit()
    end)
    local waiter = support.background(tube.take, tube, 100)
    local ok = taker()
    t:ok(not ok, 'the taker fails')
    t:is(select(2, waiter())[3], 'x', 'the waiter has it')
    t:is(leased(tube), 1, 'one lease')
end},

{'a take that is undone, by its caller or by a refused write, wakes those who found nothing meanwhile', function(t)
    t:plan(3)
    local tube = new()
    local woken = 0
    local wake = tube.waiters.wake
    tube.waiters.wake = function(...)
        woken = woken + 1
        return wake(...)
    end
    box.begin()
    tube:put('x')
    tube:take(0)
    box.rollback()
    t:ok(woken > 0, 'by the caller')
    tube:put('x')
    woken = 0
    local commit = box.commit
    box.commit = function()
        box.rollback()
        error('the disk is full')
    end
    fails(t, 'the disk is full', 'refused', tube.take, tube, 0)
    box.commit = commit
    t:is(woken, 1, 'by the write')
end},

{'on_task_change is told within the caller\'s transaction', function(t)
    t:plan(2)
    local log = box.schema.space.create('told')
    log:create_index('id', {sequence = true})
    local tube = new{on_task_change = function(_, event) log:insert{box.NULL, event} end}
    box.begin()
    tube:put('x')
    box.rollback()
    t:is(log:len(), 0, 'what it writes is rolled back too')
    tube:put('x')
    t:is(log:len(), 1, 'or kept')
end},

{'random transactions leave as many leases as taken tasks, and no ready task beside a waiter', function(t)
    t:plan(3)
    local tube = new{ttr = 100}
    local stop, served = false, 0
    local fibers = {}
    for i = 1, 8 do
        fibers[i] = support.background(function()
            while not stop do
                local task = tube:take(0.02)
                if task ~= nil then
                    served = served + 1
                    if math.random(4) == 1 then
                        tube:release(task[1])
                    elseif math.random(2) == 1 then
                        tube:ack(task[1])
                    else
                        box.begin()
                        tube:ack(task[1])
                        tube:put('rest')
                        if math.random(3) == 1 then
                            box.rollback()
                            tube:release(task[1])
                        else
                            box.commit()
                        end
                    end
                end
            end
        end)
    end
    for i = 1, 300 do
        box.begin()
        for _ = 1, math.random(3) do
            tube:put(i)
        end
        if math.random(3) == 1 then box.rollback() else box.commit() end
    end
    support.eventually(function() return queue.statistics(tube.name).tasks.total == 0 end)
    t:is(queue.statistics(tube.name).tasks.total, 0, 'all served')
    stop = true
    for i = 1, 8 do
        fibers[i]()
    end
    t:is(leased(tube), 0, 'no lease left')
    t:ok(served > 300, 'served')
end},

})
