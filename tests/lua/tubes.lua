-- The module, its tubes and their methods, as far as one client sees them.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local early = require('queue')
local before = {state = early.state(), put = {pcall(function() return early.create_tube end)}}
local queue = support.queue()
local fails = support.fails
local count = 0

local function new(kind, opts)
    count = count + 1
    return queue.create_tube('tube' .. count, kind or 'fifo', opts)
end

-- A law for both types.
local laws = {}
local function law(name, body)
    table.insert(laws, {name, body})
end
local function both(name, body)
    for _, kind in ipairs{'fifo', 'fifottl'} do
        law(('%s (%s)'):format(name, kind), function(t) body(t, kind) end)
    end
end

local function reply(task)
    return task ~= nil and task:totable() or nil
end

law('before box.cfg the module is in INIT and says what to do', function(t)
    t:plan(4)
    t:is(before.state, 'INIT', 'state')
    t:is(before.put[1], false, 'methods refuse')
    t:like(before.put[2], 'Please configure box.cfg', 'and say why')
    t:is(queue.state(), 'RUNNING', 'afterwards it runs')
end)

law('the module names its tubes', function(t)
    t:plan(6)
    local tube = new('fifo')
    t:ok(queue.tube[tube.name] == tube, 'tube.NAME')
    t:is(queue.tube(tube.name), true, 'tube(n) of a tube')
    t:is(queue.tube('nobody'), false, 'tube(n) of none')
    t:is_deeply(queue.tube(), {tube.name}, 'tube()')
    t:is(type(queue._VERSION), 'string', '_VERSION')
    t:ok(box.space[tube.name] ~= nil, 'the space is named like the tube')
end)

both('a tube shows its name, type, id, options and driver', function(t, kind)
    t:plan(6)
    local tube = new(kind, {temporary = true})
    t:is(tube.type, kind, 'type')
    t:is(tube.name, 'tube' .. count, 'name')
    t:is(type(tube.tube_id), 'number', 'tube_id')
    t:is(tube.opts.temporary, true, 'opts')
    t:is(tube.raw.space.name, tube.name, 'raw')
    t:is(box.space[tube.name].temporary, true, 'temporary')
end)

both('a tube is created once', function(t, kind)
    t:plan(3)
    local tube = new(kind)
    t:is(queue.create_tube(tube.name, kind, {if_not_exists = true}), tube, 'if_not_exists gives the one there is')
    fails(t, ("Space '%s' already exists"):format(tube.name), 'else an error', queue.create_tube, tube.name, kind)
    t:ok(not box.is_in_txn(), 'no transaction stays open')
end)

law('a tube that the module has lost sight of is found again, and its clock goes on', function(t)
    t:plan(3)
    local tube = new('fifottl')
    queue.tube[tube.name] = nil
    local found = queue.create_tube(tube.name, 'fifottl', {if_not_exists = true})
    t:isnt(found, tube, 'another object')
    t:is(found.tube_id, tube.tube_id, 'the same tube')
    found:put('x', {delay = 0.01})
    t:is(found:take(2)[3], 'x', 'delay')
end)

law('other types name the rock', function(t)
    t:plan(2)
    local ok, failure = pcall(queue.create_tube, 'other', 'utube')
    t:ok(not ok and failure:find('Unknown tube type utube', 1, true), 'unknown')
    t:like(failure, '"queue" rock', 'and who has it')
end)

both('every reply is [id, state, data]', function(t, kind)
    t:plan(12)
    local tube = new(kind)
    t:is_deeply(reply(tube:put({a = 1})), {0, 'r', {a = 1}}, 'put')
    t:is_deeply(reply(tube:peek(0)), {0, 'r', {a = 1}}, 'peek')
    t:is_deeply(reply(tube:take(0)), {0, 't', {a = 1}}, 'take')
    t:is_deeply(reply(tube:release(0)), {0, 'r', {a = 1}}, 'release')
    t:is_deeply(reply(tube:bury(0)), {0, '!', {a = 1}}, 'bury')
    t:is(tube:kick(), 1, 'kick')
    t:is_deeply(reply(tube:take()), {0, 't', {a = 1}}, 'take without timeout')
    t:is_deeply(reply(tube:ack(0)), {0, '-', {a = 1}}, 'ack returns the body')
    tube:put('x')
    t:is_deeply(reply(tube:delete(0)), {0, '-', 'x'}, 'delete')
    t:is(select('#', tube:take(0)), 0, 'take of an empty tube: no values')
    t:is_deeply(reply(tube:put(nil))[2], 'r', 'no data is data')
    t:is_deeply(reply(tube:put(false)), {1, 'r', false}, 'so is false')
end)

both('ids are the highest + 1, and start again in an empty tube', function(t, kind)
    t:plan(4)
    local tube = new(kind)
    t:is(tube:put('a')[1], 0, 'first')
    t:is(tube:put('b')[1], 1, 'next')
    tube:delete(0)
    t:is(tube:put('c')[1], 2, 'gaps stay')
    tube:delete(1)
    tube:delete(2)
    t:is(tube:put('d')[1], 0, 'reused')
end)

both('tasks leave in their order, a released one to its old place', function(t, kind)
    t:plan(3)
    local tube = new(kind)
    for i = 0, 2 do
        tube:put(i)
    end
    t:is(tube:take(0)[1], 0, 'first in')
    t:is(tube:take(0)[1], 1, 'first out')
    tube:release(0)
    t:is(tube:take(0)[1], 0, 'released')
end)

both('only a taken task is acked or released', function(t, kind)
    t:plan(7)
    local tube = new(kind)
    tube:put('x')
    fails(t, 'Task was not taken', 'ack of a ready task', tube.ack, tube, 0)
    fails(t, 'Task was not taken', 'release of a ready task', tube.release, tube, 0)
    fails(t, 'Task was not taken', 'ack of none', tube.ack, tube, 99)
    tube:take(0)
    tube:bury(0)
    fails(t, 'Task was not taken', 'ack of a buried task', tube.ack, tube, 0)
    tube:kick(1)
    tube:take(0)
    local _, failure = pcall(function() fiber.create(function() error('x') end) end)
    local other = support.background(tube.ack, tube, 0)
    local ok
    ok, failure = other()
    t:ok(not ok and failure:find('Task was not taken$'), 'another session may not')
    t:like(failure, ':%d+: ', 'the text has file and line before it')
    t:is(tube:ack(0)[2], '-', 'the owner may')
end)

both('bury, delete and peek ask for no ownership, but for a task', function(t, kind)
    t:plan(6)
    local tube = new(kind)
    for _, method in ipairs{'bury', 'delete', 'peek'} do
        fails(t, 'Task 7 not found', method, tube[method], tube, 7)
    end
    tube:put('x')
    tube:take(0)
    t:is(select(2, support.background(tube.bury, tube, 0)())[2], '!', 'bury what another has taken')
    tube:kick()
    tube:take(0)
    t:is(select(2, support.background(tube.delete, tube, 0)())[2], '-', 'delete it')
    t:is(#box.space._queue_leases:select{tube.tube_id}, 0, 'nothing is held')
end)

both('kick says how many it kicked', function(t, kind)
    t:plan(4)
    local tube = new(kind)
    for i = 0, 4 do
        tube:put(i)
        tube:bury(i)
    end
    t:is(tube:kick(), 1, 'one by default')
    t:is(tube:kick(2), 2, 'n')
    t:is(tube:kick(10), 2, 'no more than there are')
    t:is(tube:kick(10), 0, 'none')
end)

both('release_all gives back what every session has taken', function(t, kind)
    t:plan(3)
    local tube = new(kind)
    tube:put(1)
    tube:put(2)
    tube:take(0)
    support.background(tube.take, tube, 0)()
    t:is(queue.statistics(tube.name).tasks.taken, 2, 'taken')
    tube:release_all()
    t:is(queue.statistics(tube.name).tasks.ready, 2, 'ready')
    fails(t, 'Task was not taken', 'and not ours any more', tube.ack, tube, 0)
end)

both('a waiter is woken by put, release, kick; the earliest deadline first', function(t, kind)
    t:plan(6)
    local tube = new(kind)
    local order = {}
    local function wait(name, seconds)
        return support.background(function()
            local task = tube:take(seconds)
            table.insert(order, name)
            return task
        end)
    end
    local late, soon = wait('late', 101), wait('soon', 100)
    tube:put('x')
    t:is(select(2, soon())[3], 'x', 'one gets it')
    t:is_deeply(order, {'soon'}, 'the one with the earliest deadline')
    tube:put('y')
    t:is(select(2, late())[3], 'y', 'the other gets the next')
    tube:release_all()
    tube:take(0)
    tube:take(0)
    local third = wait('third', 100)
    tube:release(0)
    t:is(select(2, third())[1], 0, 'a released one')
    tube:bury(0)
    local fourth = wait('fourth', 100)
    tube:kick()
    t:is(select(2, fourth())[1], 0, 'a kicked one')
    local start = fiber.clock()
    tube:take(0.02)
    local took = fiber.clock() - start
    t:ok(took >= 0.02 and took < 1, 'and who gets none waits his time')
end)

both('a waiter that is cancelled hands its task on', function(t, kind)
    t:plan(2)
    local tube = new(kind)
    local first = fiber.new(function() tube:take(99) end)
    fiber.sleep(0)
    local second = support.background(tube.take, tube, 100)
    tube:put('x')
    first:cancel()
    t:is(select(2, second())[3], 'x', 'to the next')
    t:is(#tube.waiters, 0, 'nobody is left in the line')
end)

both('drop refuses while the tube is in use', function(t, kind)
    t:plan(5)
    local tube = new(kind)
    local waiter = support.background(tube.take, tube, 0.05)
    fails(t, 'There are consumers connected the tube', 'waiters', tube.drop, tube)
    waiter()
    tube:put('x')
    tube:take(0)
    fails(t, 'There are taken tasks in the tube', 'taken tasks', tube.drop, tube)
    tube:ack(0)
    t:is(tube:drop(), true, 'else it drops')
    t:is(queue.tube(tube.name), false, 'the tube')
    t:is(box.space[tube.name], nil, 'and the space')
end)

both('truncate empties the tube and frees who held its tasks', function(t, kind)
    t:plan(4)
    local tube = new(kind)
    tube:put(1)
    tube:put(2)
    tube:take(0)
    tube:truncate()
    t:is(queue.statistics(tube.name).tasks.total, 0, 'empty')
    fails(t, 'Task was not taken', 'the old task is gone', tube.ack, tube, 0)
    tube:put('new')
    fails(t, 'Task was not taken', 'a new one with its id is not ours', tube.ack, tube, 0)
    t:is(tube:drop(), true, 'nothing is taken')
end)

both('on_task_change hears every event, an ack as a delete', function(t, kind)
    t:plan(6)
    local heard = {}
    local function listen(task, event)
        table.insert(heard, ('%s %s %s'):format(task[1], task[2], event))
    end
    local tube = new(kind, {on_task_change = listen})
    tube:put('x')
    tube:take(0)
    tube:release(0)
    tube:bury(0)
    tube:kick()
    tube:take(0)
    tube:ack(0)
    tube:put('y')
    tube:delete(0)
    t:is_deeply(heard, {'0 r put', '0 t take', '0 r release', '0 ! bury', '0 r kick', '0 t take', '0 - delete',
        '0 r put', '0 - delete'}, 'events')
    local function other() error('broken') end
    t:is(tube:on_task_change(other), listen, 'the old one comes back')
    t:is(tube:put('z')[3], 'z', 'a broken callback breaks nothing')
    t:is(tube:take(0)[3], 'z', 'at all')
    local seen = {}
    tube:on_task_change(function(task, event)
        fiber.sleep(0)
        table.insert(seen, task:totable())
        table.insert(seen, event)
    end)
    tube:ack(0)
    t:is_deeply(seen, {{0, '-', 'z'}, 'delete'}, 'it may yield')
    t:is(type(new(kind):on_task_change(listen)), 'function', 'there is always an old one')
end)

both('statistics count tasks and calls', function(t, kind)
    t:plan(5)
    local tube = new(kind)
    for i = 1, 5 do
        tube:put(i)
    end
    for _ = 1, 3 do
        tube:take(0)
    end
    tube:ack(0)
    tube:bury(1)
    local shown = queue.statistics(tube.name)
    t:is_deeply(shown.tasks, {ready = 2, taken = 1, buried = 1, delayed = 0, done = 1, total = 4}, 'tasks')
    t:is(shown.calls.put, 5, 'put')
    t:is(shown.calls.take, 3, 'take')
    t:is(shown.calls.ack, 1, 'ack')
    t:is_deeply(queue.statistics()[tube.name], shown, 'all tubes')
end)

law('cfg knows its options', function(t)
    t:plan(5)
    local ok, failure = pcall(queue.cfg, {nonsense = 1})
    t:ok(not ok and failure:find('Unknown option nonsense$'), 'unknown')
    ok, failure = pcall(queue.cfg, {ttr = -1})
    t:ok(not ok and failure:find('Invalid value of ttr: %-1$'), 'ttr')
    ok, failure = pcall(queue.cfg, {in_replicaset = 'yes'})
    t:ok(not ok and failure:find('Invalid value of in_replicaset: yes$'), 'in_replicaset')
    queue.cfg{ttr = 5, in_replicaset = false}
    t:is(queue.cfg.ttr, 5, 'set')
    queue.cfg{ttr = 0}
    t:is(queue.cfg.ttr, 0, 'reset')
end)

law('a registered driver makes tubes of its own type', function(t)
    t:plan(5)
    local fifo = queue.driver.fifo
    local driver = {create_space = fifo.create_space}
    function driver.new(...)
        local raw = fifo.new(...)
        local methods = getmetatable(raw).__index
        return setmetatable({plain = false, take = function(self)
            local task = self.space.index.task_id:max()
            return task and task[2] == 'r' and methods.move(self, task, 't', 'take') or nil
        end}, {__index = raw})
    end
    queue.register_driver('lifo', driver)
    local tube = new('lifo')
    tube:put('a')
    tube:put('b')
    t:is_deeply(reply(tube:take(0)), {1, 't', 'b'}, 'its take')
    t:is(tube:ack(1)[2], '-', 'our ownership')
    fails(t, 'overriding registered driver "fifo"', 'a name once', queue.register_driver, 'fifo', driver)
    fails(t, 'tube control methods must contain functions "create_space" and "new"', 'whole', queue.register_driver,
        'half', {})
    queue.register_driver('poor', {create_space = fifo.create_space, new = function() return {} end})
    local ok, failure = pcall(queue.create_tube, 'poor', 'poor')
    t:ok(not ok and failure:find('does not have an implementation of method'), 'complete')
end)

law('vinyl tubes work too, one operation after another', function(t)
    t:plan(4)
    local tube = new('fifottl', {engine = 'vinyl', on_task_change = function() end})
    for i = 0, 9 do
        tube:put(i)
    end
    local takers = {}
    for i = 1, 10 do
        takers[i] = support.background(tube.take, tube, 1)
    end
    local seen = {}
    for _, taker in ipairs(takers) do
        seen[select(2, taker())[1]] = true
    end
    t:is(#seen, 9, 'ten takers, ten tasks')
    t:is(tube:put('x', {ttl = 0.01})[2], 'r', 'ttl')
    t:ok(support.eventually(function() return box.space[tube.name]:get{10} == nil end), 'expires')
    tube:release_all()
    t:is(queue.statistics(tube.name).tasks.ready, 10, 'released')
end)

support.run('tubes', laws)
