-- The contract that the bundled module and the queue rock share: what fifottl adds to fifo. Run against both.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local queue = support.queue()
local fails, eventually = support.fails, support.eventually
local count, laws = 0, {}

local function new(kind, opts)
    count = count + 1
    return queue.create_tube('tube' .. count, kind, opts)
end

local function law(name, body)
    table.insert(laws, {name, body})
end

local function ttl(name, body)
    law(name, function(t) body(t, new('fifottl')) end)
end

local function field(tube, id, number)
    return tonumber(box.space[tube.name]:get{id}[number])
end

local function is_gone(tube, id)
    return function() return box.space[tube.name]:get{id} == nil end
end

ttl('a lower pri leaves first, then the lower id; the default is 0', function(t, tube)
    t:plan(1)
    local order = {}
    for i, pri in ipairs{2, 1, 1, 0} do
        tube:put(i, {pri = pri})
    end
    tube:put(5)
    for i = 1, 5 do
        order[i] = tube:take(0)[3]
    end
    t:is_deeply(order, {4, 5, 2, 3, 1}, 'order')
end)

law('ttl, ttr and pri of the tube serve where the task has none; ttr is the ttl by default', function(t)
    t:plan(5)
    local tube = new('fifottl', {ttl = 30, ttr = 20, pri = 4})
    tube:put('x')
    t:is(field(tube, 0, 4), 30000000, 'ttl')
    t:is(field(tube, 0, 5), 20000000, 'ttr')
    t:is(field(tube, 0, 6), 4, 'pri')
    tube:put('y', {ttl = 7, ttr = 6, pri = 5})
    t:is(field(tube, 1, 4) + field(tube, 1, 5) + field(tube, 1, 6), 13000005, 'the task\'s own')
    tube = new('fifottl', {ttl = 30})
    tube:put('x')
    t:is(field(tube, 0, 5), 30000000, 'ttr = ttl')
end)

ttl('a delayed put is ~ until its time, and lives that much longer', function(t, tube)
    t:plan(5)
    t:is(tube:put('x', {delay = 0.1, ttl = 10})[2], '~', 'state')
    t:is(field(tube, 0, 4), 10100000, 'ttl')
    t:is(queue.statistics(tube.name).tasks.delayed, 1, 'counted')
    t:is(tube:take(0), nil, 'not yet')
    t:is(tube:take(5)[3], 'x', 'then')
end)

ttl('a release with delay is ~, and its ttl grows', function(t, tube)
    t:plan(4)
    tube:put('x', {ttl = 10})
    tube:take(0)
    t:is(tube:release(0, {delay = 0.1})[2], '~', 'state')
    t:is(field(tube, 0, 4), 10100000, 'ttl')
    fails(t, 'Task was not taken', 'nobody holds it', tube.ack, tube, 0)
    t:is(tube:take(5)[3], 'x', 'then')
end)

ttl('a task whose ttl is over is not taken, and removed', function(t, tube)
    t:plan(3)
    tube:put('x', {ttl = 0.05})
    tube:put('y', {ttl = 0.05})
    tube:bury(1)
    fiber.sleep(0.06)
    t:is(tube:take(0), nil, 'not taken')
    t:ok(eventually(is_gone(tube, 0)), 'removed')
    t:ok(eventually(is_gone(tube, 1)), 'a buried one, too')
end)

ttl('take sets next_event to now + ttr; after that the task is ready again', function(t, tube)
    t:plan(4)
    tube:put('x', {ttr = 0.1})
    local now = tonumber(fiber.time64())
    tube:take(0)
    t:ok(math.abs(field(tube, 0, 3) - now - 100000) < 50000, 'next_event')
    t:is(tube:take(5)[3], 'x', 'taken again')
    t:is(queue.statistics(tube.name).calls.ttr, 1, 'counted')
    eventually(function() return queue.statistics(tube.name).calls.ttr == 2 end)
    fails(t, 'Task was not taken', 'a late ack', tube.ack, tube, 0)
end)

ttl('touch adds to next_event, ttl and ttr; nil and 0 do nothing', function(t, tube)
    t:plan(6)
    tube:put('x', {ttl = 100, ttr = 10})
    fails(t, 'Task was not taken', 'of a ready task', tube.touch, tube, 0, 1)
    tube:take(0)
    local old = {field(tube, 0, 3), field(tube, 0, 4), field(tube, 0, 5)}
    t:is(tube:touch(0), nil, 'nil')
    t:is(tube:touch(0, 0), nil, '0')
    t:is(tube:touch(0, -1), nil, 'below 0')
    t:is(tube:touch(0, 5)[2], 't', 'reply')
    t:is_deeply({field(tube, 0, 3) - old[1], field(tube, 0, 4) - old[2], field(tube, 0, 5) - old[3]},
        {5000000, 5000000, 5000000}, 'added')
end)

ttl('on_task_change hears delay, ttr and ttl', function(t, tube)
    t:plan(1)
    local heard = {}
    tube:on_task_change(function(_, event) heard[event] = true end)
    tube:put('x', {delay = 0.05, ttr = 0.05, ttl = 1})
    tube:take(5)
    t:ok(eventually(function() return heard.delay and heard.ttr and heard.ttl end), 'heard')
end)

support.run('contract: fifottl', laws)
