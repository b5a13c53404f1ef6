-- Priorities, delays, ttl and ttr.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local queue = support.queue()
local fails, eventually = support.fails, support.eventually
local count = 0

local function new(opts)
    count = count + 1
    return queue.create_tube('ttl' .. count, 'fifottl', opts)
end

local function is_gone(tube, id)
    return function() return box.space[tube.name]:get{id} == nil end
end

local function is_in(tube, id, state)
    return function() return tube:peek(id)[2] == state end
end

support.run('fifottl', {

{'a lower pri leaves first, then the older task', function(t)
    t:plan(2)
    local tube = new{pri = 5}
    for i, pri in ipairs{2, 1, 1, 3} do
        tube:put(i, {pri = pri})
    end
    tube:put(5)
    local order = {}
    for i = 1, 5 do
        order[i] = tube:take(0)[3]
    end
    t:is_deeply(order, {2, 3, 1, 4, 5}, 'order')
    t:is(new():put(1, {pri = -1})[2], 'r', 'below zero too')
end},

{'a delayed task is ready after its delay, and lives that much longer', function(t)
    t:plan(6)
    local tube = new()
    local events = {}
    tube:on_task_change(function(_, event) table.insert(events, event) end)
    local start = fiber.clock()
    t:is(tube:put('x', {delay = 0.05, ttl = 10})[2], '~', 'delayed')
    t:is(box.space[tube.name]:get{0}[4], 10050000, 'ttl')
    t:is(tube:take(0), nil, 'not yet')
    t:is(tube:take(2)[3], 'x', 'a waiter gets it')
    t:ok(fiber.clock() - start >= 0.05, 'after the delay')
    t:is_deeply(events, {'put', 'delay', 'take'}, 'events')
end},

{'a released task can be delayed', function(t)
    t:plan(4)
    local tube = new{ttl = 10}
    tube:put('x')
    tube:take(0)
    t:is(tube:release(0, {delay = 0.03})[2], '~', 'delayed')
    t:is(box.space[tube.name]:get{0}[4], 10030000, 'and lives longer')
    fails(t, 'Task was not taken', 'not ours any more', tube.ack, tube, 0)
    t:is(tube:take(2)[3], 'x', 'then ready')
end},

{'a task that nobody took in time is removed', function(t)
    t:plan(5)
    local tube = new{ttl = 0.2}
    local events = {}
    tube:on_task_change(function(task, event) table.insert(events, event .. task[2]) end)
    tube:put('own', {ttl = 100})
    tube:put('tube')
    t:ok(eventually(is_gone(tube, 1)), 'ttl of the tube')
    t:is(tube:peek(0)[3], 'own', 'ttl of its own')
    eventually(function() return #events == 3 end)
    t:is_deeply(events, {'putr', 'putr', 'ttl-'}, 'event')
    t:is(queue.statistics(tube.name).calls.ttl, 1, 'counted')
    tube:put('buried', {ttl = 0.2})
    tube:bury(1)
    t:ok(eventually(is_gone(tube, 1)), 'a buried one too')
end},

{'take skips what has expired before the watcher came by', function(t)
    t:plan(2)
    local tube = new()
    tube.raw:stop()
    tube:put('old', {ttl = 0.001})
    tube:put('young')
    fiber.sleep(0.005)
    t:is(tube:take(0)[3], 'young', 'the living')
    t:is(tube:take(0), nil, 'not the dead')
end},

{'take starts the ttr, and its end gives the task back', function(t)
    t:plan(7)
    local tube = new{ttr = 0.05}
    local events = {}
    tube:on_task_change(function(_, event) table.insert(events, event) end)
    tube:put('x')
    local before = tonumber(fiber.time64())
    tube:take(0)
    local stored = box.space[tube.name]:get{0}
    t:ok(stored[3] >= before + 49000 and stored[3] < before + 1050000, 'next_event = now + ttr')
    t:is(stored[5], 50000, 'ttr')
    local waiter = support.background(tube.take, tube, 2)
    t:is(select(2, waiter())[3], 'x', 'a waiter gets it')
    t:ok(tonumber(fiber.time64()) >= before + 49000, 'then')
    fails(t, 'Task was not taken', 'the late ack', tube.ack, tube, 0)
    t:is_deeply(events, {'put', 'take', 'ttr', 'take'}, 'events')
    t:is(queue.statistics(tube.name).calls.ttr, 1, 'counted')
end},

{'without a ttr the ttl serves', function(t)
    t:plan(2)
    local tube = new{ttl = 20}
    tube:put('x')
    tube:put('y', {ttl = 7})
    t:is(box.space[tube.name]:get{0}[5], 20000000, 'of the tube')
    t:is(box.space[tube.name]:get{1}[5], 7000000, 'of the task')
end},

{'touch gives a taken task more time', function(t)
    t:plan(9)
    local tube = new{ttl = 10, ttr = 0.03}
    tube:put('x')
    fails(t, 'Task was not taken', 'only a taken one', tube.touch, tube, 0, 1)
    tube:take(0)
    local old = box.space[tube.name]:get{0}
    t:is(tube:touch(0, 5)[2], 't', 'reply')
    local more = box.space[tube.name]:get{0}
    for field, name in pairs{[3] = 'next_event', [4] = 'ttl', [5] = 'ttr'} do
        t:is(tonumber(more[field] - old[field]), 5000000, name)
    end
    t:is(tube:touch(0), nil, 'nil is nothing')
    t:is(tube:touch(0, 0), nil, '0 is nothing')
    t:is(tube:touch(0, -1), nil, 'less is nothing')
    fiber.sleep(0.05)
    t:is(tube:ack(0)[2], '-', 'still ours')
end},

{'a fifo tube knows no touch and no delay', function(t)
    t:plan(3)
    local tube = queue.create_tube('plain', 'fifo')
    tube:put('x')
    tube:take(0)
    fails(t, 'fifo queue does not support touch', 'touch', tube.touch, tube, 0, 1)
    t:is(tube:touch(0, 0), nil, 'nothing is nothing here too')
    t:is(tube:release(0, {delay = 100})[2], 'r', 'release')
end},

{'a kicked task is itself again', function(t)
    t:plan(2)
    local tube = new{ttl = 100, ttr = 0.02}
    tube:put('x')
    tube:take(0)
    tube:bury(0)
    fiber.sleep(0.04)
    t:ok(is_in(tube, 0, '!')(), 'its ttr is over with the burying')
    tube:kick()
    t:is(tube:take(0)[3], 'x', 'kicked')
end},

{'an earlier event is not missed behind a later one', function(t)
    t:plan(1)
    local tube = new()
    tube:put('late', {delay = 100})
    fiber.sleep(0.01)
    tube:put('soon', {delay = 0.01})
    t:is(tube:take(2)[3], 'soon', 'the watcher wakes in time')
end},

{'a clock that is set forward makes a delayed task ready', function(t)
    t:plan(1)
    local tube, right = new(), fiber.time64
    tube:put('for the morning', {delay = 100})
    fiber.sleep(0.01)
    fiber.time64 = function() return right() + 3600000000ULL end
    local task = tube:take(5)
    fiber.time64 = right
    t:is(task and task[3], 'for the morning', 'the watcher asks the clock again')
end},

{'a clock that is set forward ends no lease, and one that is set back lengthens none', function(t)
    t:plan(2)
    local tube, right = new{ttr = 2.5}, fiber.time64
    tube:put('in hand')
    local taken = fiber.clock()
    tube:take(0)
    fiber.time64 = function() return right() + 3600000000ULL end
    local early = tube:take(1.2)
    fiber.time64 = right
    t:ok(early == nil or fiber.clock() > taken + 2.5, 'it is still in hand')
    fiber.time64 = function() return right() - 3600000000ULL end
    local late = tube:take(5)
    fiber.time64 = right
    t:is(late and late[3], 'in hand', 'it comes back after its ttr')
end},

})
